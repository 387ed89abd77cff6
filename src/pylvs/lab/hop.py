"""From captured frames to the way one request and its reply took. Header fields are in network byte order."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from pylvs.lab.topology import Port, Topology
from pylvs.model import Endpoint, Protocol, Value

REQUEST, REPLY = b"GET ", b"HTTP/"
_IPV4 = 0x0800
_ETHERNET_LENGTH = 14
_SYN, _ACK = 0x02, 0x10


class Frame(Value):
    """A frame as a tap saw it: when (ns), where, and whether it was leaving there."""

    at: int
    port: Port
    outgoing: bool
    content: bytes


class Packet(Value):
    """What a frame of TCP over IPv4 says of itself; the SYN without an ACK opens a connection."""

    source_mac: str
    destination_mac: str
    source: Endpoint
    destination: Endpoint
    ttl: int
    opens: bool
    payload: bytes


class Hop(Value):
    """One packet at one place."""

    at: int
    port: Port
    outgoing: bool
    packet: Packet


def taps(topology: Topology) -> tuple[Port, ...]:
    """Where to look: every interface on the way, and the switch's port to the director.

    XDP takes frames before a tap on the director sees them, and sends them past it; its neighbour sees both.
    """
    ends = [end for link in topology.links for end in (link.left, link.right)]
    return tuple(end for end in ends if end.node != "switch" or end.interface == "director")


def parse(content: bytes) -> Packet | None:
    """None for anything but an unfragmented TCP packet over IPv4 with all of its headers."""
    if len(content) < _ETHERNET_LENGTH + 20 or struct.unpack_from("!H", content, 12)[0] != _IPV4:
        return None
    ip = content[_ETHERNET_LENGTH:]
    header_length, total_length = (ip[0] & 0xF) * 4, struct.unpack_from("!H", ip, 2)[0]
    fragment = struct.unpack_from("!H", ip, 6)[0] & 0x3FFF
    tcp = ip[header_length:total_length]
    if ip[0] >> 4 != 4 or header_length < 20 or ip[9] != Protocol.TCP or fragment or len(tcp) < 20:
        return None
    source_port, destination_port = struct.unpack_from("!HH", tcp)
    return Packet(
        source_mac=content[6:12].hex(":"),
        destination_mac=content[0:6].hex(":"),
        source=Endpoint(IPv4Address(ip[12:16]), source_port),
        destination=Endpoint(IPv4Address(ip[16:20]), destination_port),
        ttl=ip[8],
        opens=tcp[13] & (_SYN | _ACK) == _SYN,
        payload=tcp[(tcp[12] >> 4) * 4 :],
    )


def journey(frames: Iterable[Frame]) -> list[Hop]:
    """The hops of the request, then of its reply, each in the order of time.

    They are those of the first connection that was opened meanwhile: an older one may still be retransmitting. A packet
    seen again at the same place is a retransmission, too, and left out.
    """
    seen = sorted(_hops(frames), key=lambda hop: hop.at)
    client = next((hop.packet.source for hop in seen if hop.packet.opens), None)
    ours = [hop for hop in seen if client in {hop.packet.source, hop.packet.destination}]
    return [hop for word in (REQUEST, REPLY) for hop in _way(ours, word)]


def _hops(frames: Iterable[Frame]) -> Iterator[Hop]:
    for frame in frames:
        if packet := parse(frame.content):
            yield Hop(frame.at, frame.port, frame.outgoing, packet)


def _way(hops: Iterable[Hop], word: bytes) -> list[Hop]:
    first: dict[tuple[Port, bool], Hop] = {}
    for hop in hops:
        if hop.packet.payload.startswith(word):
            first.setdefault((hop.port, hop.outgoing), hop)
    director_saw = any(port.node == "director" for port, _ in first)
    return [hop for hop in first.values() if not (director_saw and hop.port.node == "switch")]
