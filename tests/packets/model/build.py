"""The bytes of frames that leave: what of a packet changes, and what is put around it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from pylvs.model import IPAddress, Tunnel, TunnelChecksum, TunnelType
from tests.packets.model.parse import ETHERNET, ICMP, TCP, UDP, Packet

KIND = {4: b"\x08\x00", 6: b"\x86\xdd"}
HEADER = {4: 20, 6: 40}
_IN_IP = {4: 4, 6: 41}
_GRE, _GUE_PORTS = 47, 0xC000
_CHECK_AT = {TCP: 16, UDP: 6}
_TOA, _MSS, _MOST_TCP_HEADER = 254, 2, 60
_ERROR_TTL, _QUOTED = 64, {4: 576 - 28, 6: 1280 - 48}
_ERRORS = {
    "no_server": {4: (3, 3), 6: (1, 4)},
    "no_route": {4: (3, 1), 6: (1, 3)},
    "ttl_exceeded": {4: (11, 0), 6: (3, 0)},
    "too_big": {4: (3, 4), 6: (2, 0)},
}


class Ends(NamedTuple):
    """Addresses and ports as they are to be."""

    source: IPAddress
    destination: IPAddress
    ports: tuple[int, int]


def ones_sum(*parts: bytes) -> int:
    """The ones' complement sum: 0 and 0xffff are one number, here 0. Each part is padded to an even length."""
    return sum(sum(struct.unpack(f"!{(len(part) + 1) // 2}H", part + bytes(len(part) % 2))) for part in parts) % 0xFFFF


def checksum(*parts: bytes) -> int:
    """Over what is surely not all zeros."""
    return -ones_sum(*parts) % 0xFFFF


def still(check: int, before: int, after: int) -> int:
    """A checksum is as right or as wrong as it was, when the sum of what it is over changes."""
    return (check + before - after) % 0xFFFF


def pseudo_header(source: IPAddress, destination: IPAddress, protocol: int, length: int) -> bytes:
    return source.packed + destination.packed + struct.pack("!II", protocol, length)


def next_hop(packet: Packet) -> bytes:
    """The IP header one hop on."""
    return with_hop(packet.header, packet.version)


def with_hop(header: bytes, version: int) -> bytes:
    made = bytearray(header)
    made[8 if version == 4 else 7] -= 1
    return _with_ip_check(header, made) if version == 4 else bytes(made)


def _with_ip_check(before: bytes, after: bytearray) -> bytes:
    """`after` has the checksum of `before`, and other values."""
    check = int.from_bytes(before[10:12], "big")
    after[10:12] = bytes(2)
    rest = ones_sum(before[:10], before[12:])
    after[10:12] = still(check, rest, ones_sum(bytes(after))).to_bytes(2, "big")
    return bytes(after)


def forwarded(packet: Packet) -> bytes:
    """DR: only the TTL is another."""
    return packet.frame[:ETHERNET] + next_hop(packet) + packet.segment + packet.tail


def translated(packet: Packet, to: Ends, *, told: bool = False, offered: bool = False) -> bytes:
    """NAT and FULLNAT. `told`: the client's address is put in; `offered`: room for that is left in what comes back."""
    segment = bytearray(packet.segment)
    if not packet.later:
        segment[0:4] = struct.pack("!HH", *to.ports)
    if offered:
        _lower_mss(segment, packet.tcp_header, option_length(to.destination))
    if told:
        _tell(segment, packet)
    if not packet.later:
        _mend(packet, segment, to)
    header = _translated_header(packet, to, len(segment))
    ethernet = packet.frame[: ETHERNET - 2] + KIND[to.source.version]
    return ethernet + header + bytes(segment) + (b"" if told else packet.tail)


def _mend(packet: Packet, segment: bytearray, to: Ends) -> None:
    """The checksum of layer 4 follows. UDP's may be none, but not when IPv4 becomes IPv6."""
    at, protocol = _CHECK_AT[packet.network.protocol], packet.network.protocol
    check = int.from_bytes(segment[at : at + 2], "big")
    none = protocol == UDP and not check
    if none and to.source.version <= packet.version:
        return
    old = packet.segment
    segment[at : at + 2] = bytes(2)
    ends = (packet.network.source, packet.network.destination)
    before = 0 if none else ones_sum(pseudo_header(*ends, protocol, len(old)), old[:at], old[at + 2 :])
    after = ones_sum(pseudo_header(to.source, to.destination, protocol, len(segment)), bytes(segment))
    made = still(check, before, after)
    segment[at : at + 2] = (made or (0xFFFF if protocol == UDP else 0)).to_bytes(2, "big")


def _translated_header(packet: Packet, to: Ends, payload: int) -> bytes:
    version = to.source.version
    if version != packet.version:
        return _other_family(packet, to, payload)
    made = bytearray(packet.header)
    made[8 if version == 4 else 7] -= 1
    if version == 4:
        made[2:4] = (len(made) + payload).to_bytes(2, "big")
        made[12:20] = to.source.packed + to.destination.packed
        return _with_ip_check(packet.header, made)
    made[4:6] = (len(made) - HEADER[6] + payload).to_bytes(2, "big")
    made[8:40] = to.source.packed + to.destination.packed
    return bytes(made)


def _other_family(packet: Packet, to: Ends, payload: int) -> bytes:
    """Without options; an IPv4 packet that was one of IPv6 is not to be cut."""
    network = packet.network
    ends = (to.source, to.destination)
    if to.source.version == 6:
        return ipv6_header(ends, network.protocol, payload, network.ttl - 1, network.tos)
    return ipv4_header(ends, network.protocol, payload, network.ttl - 1, network.tos, dont_fragment=True)


def ipv4_header(
    ends: tuple[IPAddress, IPAddress],
    protocol: int,
    payload: int,
    ttl: int = 64,
    tos: int = 0,
    *,
    id: bytes = bytes(2),
    dont_fragment: bool = False,
) -> bytes:
    """`ends` are source and destination, `payload` is the length of what follows."""
    start = struct.pack("!BBH2sHBB", 0x45, tos, 20 + payload, id, 0x4000 if dont_fragment else 0, ttl, protocol)
    addresses = b"".join(one.packed for one in ends)
    return start + checksum(start, addresses).to_bytes(2, "big") + addresses


def ipv6_header(ends: tuple[IPAddress, IPAddress], protocol: int, payload: int, ttl: int = 64, tos: int = 0) -> bytes:
    """The same, without a flow label."""
    start = struct.pack("!IHBB", 0x60000000 | tos << 20, payload, protocol, ttl)
    return start + b"".join(one.packed for one in ends)


# -- what FULLNAT tells the server


def option_length(client: IPAddress) -> int:
    return 4 + len(client.packed)


def has_room(packet: Packet, mtu: int) -> bool:
    """Whether the option fits into the TCP header, and the packet with it into the way out."""
    more = option_length(packet.network.source)
    return packet.tcp_header + more <= _MOST_TCP_HEADER and packet.network.length + more <= mtu


def _tell(segment: bytearray, packet: Packet) -> None:
    """Behind the options that are there."""
    client = packet.network.source
    more = option_length(client)
    option = struct.pack("!BBH", _TOA, more, packet.ports[0]) + client.packed
    segment[packet.tcp_header : packet.tcp_header] = option
    segment[12] += more // 4 << 4


def _lower_mss(segment: bytearray, header: int, less: int) -> None:
    at = 20
    while at + 4 <= header and segment[at]:
        kind, length = segment[at], segment[at + 1]
        if kind == _MSS:
            mss = int.from_bytes(segment[at + 2 : at + 4], "big")
            if length == 4 and mss > 2 * less:
                segment[at + 2 : at + 4] = (mss - less).to_bytes(2, "big")
            return
        if kind != 1 and length < 2:
            return
        at += 1 if kind == 1 else length


# -- tunnels


def overhead(tunnel: Tunnel, version: int) -> int:
    """How much longer a packet gets."""
    return HEADER[version] + _tunnel_header(tunnel)


def _tunnel_header(tunnel: Tunnel) -> int:
    match tunnel.type:
        case TunnelType.GUE:
            return 8 + 4
        case TunnelType.GRE:
            return 4 if tunnel.checksum is TunnelChecksum.NONE else 8
    return 0


def wrapped(packet: Packet, tunnel: Tunnel, source: IPAddress, destination: IPAddress, seen: bytes) -> bytes:
    """TUN. What is free to be chosen (the outer identification, GUE's source port) is taken from the frame seen."""
    network, version = packet.network, destination.version
    inner = next_hop(packet) + packet.segment
    between, protocol = _between(packet, tunnel, inner, (source, destination), seen)
    tos = network.tos & 0xFC | 0x02 if network.tos & 3 == 3 else network.tos
    payload = len(between) + len(inner)
    if version == 6:
        outer = ipv6_header((source, destination), protocol, payload, network.ttl - 1, tos)
    else:
        fixed = network.dont_fragment
        id = bytes(2) if fixed else seen[18:20]
        outer = ipv4_header((source, destination), protocol, payload, network.ttl - 1, tos, id=id, dont_fragment=fixed)
    return packet.frame[: ETHERNET - 2] + KIND[version] + outer + between + inner + packet.tail


def _between(
    packet: Packet, tunnel: Tunnel, inner: bytes, ends: tuple[IPAddress, IPAddress], seen: bytes
) -> tuple[bytes, int]:
    """The tunnel's own header, and the outer protocol."""
    summed = tunnel.checksum is not TunnelChecksum.NONE
    if tunnel.type is TunnelType.GRE:
        start = (b"\x80\x00" if summed else bytes(2)) + KIND[packet.version]
        check = checksum(start, inner).to_bytes(2, "big") + bytes(2) if summed else b""
        return start + check, _GRE
    if tunnel.type is TunnelType.GUE:
        return _gue(packet, tunnel, inner, ends, gue_source(seen, ends[0].version)), UDP
    return b"", _IN_IP[packet.version]


def gue_source(seen: bytes, version: int) -> int:
    """Any of a quarter of all ports."""
    at = ETHERNET + HEADER[version]
    return int.from_bytes(seen[at : at + 2], "big") | _GUE_PORTS


def _gue(packet: Packet, tunnel: Tunnel, inner: bytes, ends: tuple[IPAddress, IPAddress], port: int) -> bytes:
    length = 12 + len(inner)
    udp = struct.pack("!HHH", port, tunnel.port, length)
    gue = struct.pack("!BBH", 0, _IN_IP[packet.version], 0)
    if tunnel.checksum is TunnelChecksum.NONE:
        return udp + bytes(2) + gue
    check = checksum(pseudo_header(*ends, UDP, length), udp, gue, inner)
    return udp + (check or 0xFFFF).to_bytes(2, "big") + gue


# -- the director's own ICMP errors


def told(packet: Packet, reason: str, sender: IPAddress, mtu: int, seen: bytes) -> bytes:
    """What the sender of a packet hears about it. Too large a one is quoted as forwarded, its TTL one less."""
    version, network = packet.version, packet.network
    kind, code = _ERRORS[reason][version]
    header = next_hop(packet) if reason == "too_big" else packet.header
    quote = (header + packet.segment)[: _QUOTED[version]]
    start, rest = struct.pack("!BB", kind, code), struct.pack("!I", mtu if reason == "too_big" else 0)
    length = 8 + len(quote)
    ends = (sender, network.source)
    if version == 6:
        ip = ipv6_header(ends, ICMP[6], length, _ERROR_TTL)
        check = checksum(pseudo_header(*ends, ICMP[6], length), start, rest, quote)
    else:
        tos = network.tos & 0x1E | 0xC0
        ip = ipv4_header(ends, ICMP[4], length, _ERROR_TTL, tos, id=seen[18:20])
        check = checksum(start, rest, quote)
    return packet.frame[:ETHERNET] + ip + start + check.to_bytes(2, "big") + rest + quote
