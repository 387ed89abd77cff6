"""What the director makes of a frame: a packet with its values, or nothing that it would care for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from pylvs.model import IPAddress

ETHERNET = 14
TCP, UDP, SCTP = 6, 17, 132
ICMP = {4: 1, 6: 58}
LEAST = {TCP: 20, UDP: 8, SCTP: 12}
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_HOP_BY_HOP, _FRAGMENT, _DESTINATION = 0, 44, 60
_MOST_EXTENSIONS, _MOST_EXTENSION_BYTES = 3, 64
_LOOSE_ROUTE, _STRICT_ROUTE = 131, 137


class Fragment(NamedTuple):
    """Of which datagram, and whether it is not the first of it."""

    id: bytes
    later: bool


class Network(NamedTuple):
    """Layer 3. `header` counts its options or extension headers, too; `length` is the whole packet's."""

    source: IPAddress
    destination: IPAddress
    protocol: int
    header: int
    length: int
    ttl: int
    tos: int
    dont_fragment: bool
    fragment: Fragment | None


class Packet(NamedTuple):
    """A later fragment has neither ports nor flags."""

    frame: bytes
    network: Network
    ports: tuple[int, int]
    flags: int = 0
    tcp_header: int = 0

    @property
    def version(self) -> int:
        return self.network.source.version

    @property
    def later(self) -> bool:
        return bool(self.network.fragment and self.network.fragment.later)

    @property
    def header(self) -> bytes:
        return self.frame[ETHERNET : ETHERNET + self.network.header]

    @property
    def segment(self) -> bytes:
        """Layer 4."""
        return self.frame[ETHERNET + self.network.header : ETHERNET + self.network.length]

    @property
    def tail(self) -> bytes:
        """What the frame has behind the packet."""
        return self.frame[ETHERNET + self.network.length :]


def parse(frame: bytes) -> Packet | None:
    """None for what is none of the director's business, as far as the frame alone can tell."""
    network = _network(frame)
    if network is None or ETHERNET + network.length > len(frame) or network.header > network.length:
        return None
    if network.fragment and network.fragment.later:
        return Packet(frame, network, (0, 0)) if network.protocol in LEAST else None
    return _transport(frame, network)


def _network(frame: bytes) -> Network | None:
    kind = frame[12:ETHERNET]
    if kind == b"\x08\x00":
        return _ipv4(frame)
    return _ipv6(frame) if kind == b"\x86\xdd" else None


def _ipv4(frame: bytes) -> Network | None:
    raw = frame[ETHERNET:]
    if len(raw) < 20 or raw[0] >> 4 != 4:
        return None
    header = 4 * (raw[0] & 0xF)
    if header < 20 or header > len(raw) or _is_source_routed(raw, header):
        return None
    bits = _number(raw[6:8])
    return Network(
        IPv4Address(raw[12:16]),
        IPv4Address(raw[16:20]),
        raw[9],
        header,
        _number(raw[2:4]),
        raw[8],
        raw[1],
        bool(bits & 0x4000),
        Fragment(raw[4:6], bool(bits & 0x1FFF)) if bits & 0x3FFF else None,
    )


def _is_source_routed(raw: bytes, header: int) -> bool:
    """Such a packet chooses its own way, or has an option without a length, behind which there may be one that does."""
    at = 20
    while at < header:
        kind, *rest = raw[at : at + 2]
        if kind in {_LOOSE_ROUTE, _STRICT_ROUTE} or not rest:
            return True
        if kind == 0:
            return False
        length = 1 if kind == 1 else rest[0]
        if not length:
            return True
        at += length
    return False


def _ipv6(frame: bytes) -> Network | None:
    raw = frame[ETHERNET:]
    if len(raw) < 40 or raw[0] >> 4 != 6:
        return None
    source, destination = IPv6Address(raw[8:24]), IPv6Address(raw[24:40])
    extensions = _extensions(raw)
    if extensions is None or source.ipv4_mapped or destination.ipv4_mapped:
        return None
    protocol, header, fragment = extensions
    tos = _number(raw[0:2]) >> 4 & 0xFF
    return Network(source, destination, protocol, header, 40 + _number(raw[4:6]), raw[7], tos, False, fragment)


def _extensions(raw: bytes) -> tuple[int, int, Fragment | None] | None:
    """The protocol behind the extension headers, where that begins, and of which fragment it is."""
    protocol, at, fragment = raw[6], 40, None
    for _ in range(_MOST_EXTENSIONS):
        if protocol == _FRAGMENT and fragment is None:
            size = 8
            bits = _number(raw[at + 2 : at + 4])
            if bits & 0xFFF9:
                fragment = Fragment(raw[at + 4 : at + 8], bool(bits & 0xFFF8))
        elif protocol in {_HOP_BY_HOP, _DESTINATION}:
            size = 8 + 8 * _number(raw[at + 1 : at + 2])
        else:
            break
        if at + size > len(raw) or size > _MOST_EXTENSION_BYTES:
            return None
        protocol, at = raw[at], at + size
        if fragment and fragment.later:
            break
    return (protocol, at, fragment) if at - 40 <= _MOST_EXTENSION_BYTES else None


def _transport(frame: bytes, network: Network) -> Packet | None:
    raw = frame[ETHERNET + network.header : ETHERNET + network.length]
    if network.protocol not in LEAST or len(raw) < LEAST[network.protocol]:
        return None
    ports = (_number(raw[0:2]), _number(raw[2:4]))
    if network.protocol != TCP:
        return Packet(frame, network, ports)
    header = 4 * (raw[12] >> 4)
    return Packet(frame, network, ports, raw[13], header) if 20 <= header <= len(raw) else None


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
