"""What a captured frame says of itself, also when it is wrapped. Header fields are in network byte order."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address

from pylvs.model import Endpoint, IPAddress, Protocol, TunnelType, Value

_ETHERNET_LENGTH = 14
_VERSION_OF_ETHERTYPE = {0x0800: 4, 0x86DD: 6}
_IPV4_IN_IP, _IPV6_IN_IP, _GRE = 4, 41, 47
_VERSION_OF_PROTOCOL = {_IPV4_IN_IP: 4, _IPV6_IN_IP: 6}
_GRE_OPTIONAL = 0xB000  # checksum, key, sequence number: four bytes each
_GUE_CONTROL = 0x20
_SYN, _ACK = 0x02, 0x10


class Outer(Value):
    """The header that a tunnel puts before a packet."""

    type: TunnelType
    source: IPAddress
    destination: IPAddress
    ttl: int


class Packet(Value):
    """A TCP packet, `outer` being what it is wrapped in; the SYN without an ACK opens a connection."""

    source_mac: str
    destination_mac: str
    source: Endpoint
    destination: Endpoint
    ttl: int
    opens: bool
    sequence: int
    acknowledgement: int
    payload: bytes
    outer: Outer | None = None


class _Datagram(Value):
    source: IPAddress
    destination: IPAddress
    ttl: int
    protocol: int
    payload: bytes


def parse(content: bytes) -> Packet | None:
    """None for anything but an unfragmented TCP packet with all of its headers, bare or in one tunnel."""
    if len(content) < _ETHERNET_LENGTH:
        return None
    version = _VERSION_OF_ETHERTYPE.get(struct.unpack_from("!H", content, 12)[0])
    first = _datagram(content[_ETHERNET_LENGTH:], version)
    if not first:
        return None
    wrapped = _unwrap(first)
    if not wrapped:
        return _tcp(content, first, None)
    type, inner = wrapped
    return _tcp(content, inner, Outer(type, first.source, first.destination, first.ttl))


def _tcp(frame: bytes, ip: _Datagram, outer: Outer | None) -> Packet | None:
    tcp = ip.payload
    if ip.protocol != Protocol.TCP or len(tcp) < 20:
        return None
    source_port, destination_port, sequence, acknowledgement = struct.unpack_from("!HHII", tcp)
    return Packet(
        source_mac=frame[6:12].hex(":"),
        destination_mac=frame[0:6].hex(":"),
        source=Endpoint(ip.source, source_port),
        destination=Endpoint(ip.destination, destination_port),
        ttl=ip.ttl,
        opens=tcp[13] & (_SYN | _ACK) == _SYN,
        sequence=sequence,
        acknowledgement=acknowledgement,
        payload=tcp[(tcp[12] >> 4) * 4 :],
        outer=outer,
    )


def _datagram(content: bytes, version: int | None) -> _Datagram | None:
    if not content or content[0] >> 4 != version:
        return None
    return _ipv4(content) if version == 4 else _ipv6(content)


def _ipv4(ip: bytes) -> _Datagram | None:
    header_length = (ip[0] & 0xF) * 4
    if header_length < 20 or len(ip) < header_length or struct.unpack_from("!H", ip, 6)[0] & 0x3FFF:
        return None
    payload = ip[header_length : struct.unpack_from("!H", ip, 2)[0]]
    return _Datagram(IPv4Address(ip[12:16]), IPv4Address(ip[16:20]), ip[8], ip[9], payload)


def _ipv6(ip: bytes) -> _Datagram | None:
    if len(ip) < 40:
        return None
    payload = ip[40 : 40 + struct.unpack_from("!H", ip, 4)[0]]
    return _Datagram(IPv6Address(ip[8:24]), IPv6Address(ip[24:40]), ip[7], ip[6], payload)


def _unwrap(outer: _Datagram) -> tuple[TunnelType, _Datagram] | None:
    if outer.protocol not in _IN:
        return None
    type, content_of = _IN[outer.protocol]
    inner = _datagram(*content_of(outer.payload))
    return (type, inner) if inner else None


def _in_gre(gre: bytes) -> tuple[bytes, int | None]:
    """What it carries, and as which version of IP."""
    if len(gre) < 4:
        return b"", None
    flags, ethertype = struct.unpack_from("!HH", gre)
    return gre[4 + 4 * (flags & _GRE_OPTIONAL).bit_count() :], _VERSION_OF_ETHERTYPE.get(ethertype)


def _in_gue(udp: bytes) -> tuple[bytes, int | None]:
    """Variant 0 of GUE only, with the optional fields whose length its header tells. Any UDP port may be a tunnel's."""
    gue = udp[8:]
    if len(gue) < 4 or gue[0] >> 6 or gue[0] & _GUE_CONTROL:
        return b"", None
    return gue[4 + 4 * (gue[0] & 0x1F) :], _VERSION_OF_PROTOCOL.get(gue[1])


_IN: Mapping[int, tuple[TunnelType, Callable[[bytes], tuple[bytes, int | None]]]] = {
    _IPV4_IN_IP: (TunnelType.IPIP, lambda ip: (ip, 4)),
    _IPV6_IN_IP: (TunnelType.IPIP, lambda ip: (ip, 6)),
    _GRE: (TunnelType.GRE, _in_gre),
    Protocol.UDP: (TunnelType.GUE, _in_gue),
}
