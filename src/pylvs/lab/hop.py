"""From captured frames to the way one request and its reply took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pylvs.lab.packet import Packet, parse
from pylvs.lab.topology import Port, Topology
from pylvs.model import Value

REQUEST, REPLY = b"GET ", b"HTTP/"


class Frame(Value):
    """A frame as a tap saw it: when (ns), where, and whether it was leaving there."""

    at: int
    port: Port
    outgoing: bool
    content: bytes


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
    return tuple(end for end in ends if not topology.node(end.node).is_switch or end.interface == "director")


def journey(frames: Iterable[Frame]) -> list[Hop]:
    """The hops of the request, then of its reply, each in the order of time.

    They are those of the first connection that was opened meanwhile: an older one may still be retransmitting. It is
    followed by its sequence numbers, because these are all that no forwarding method changes. A packet seen again at
    the same place, wrapped or not as before, is a retransmission and left out.
    """
    seen = sorted(_hops(frames), key=lambda hop: hop.at)
    opening = next((hop.packet.sequence for hop in seen if hop.packet.opens), None)
    if opening is None:
        return []
    request = _way(seen, REQUEST, (opening + 1) % (1 << 32))
    return request + (_way(seen, REPLY, request[0].packet.acknowledgement) if request else [])


def _hops(frames: Iterable[Frame]) -> Iterator[Hop]:
    for frame in frames:
        if packet := parse(frame.content):
            yield Hop(frame.at, frame.port, frame.outgoing, packet)


def _way(hops: Iterable[Hop], word: bytes, sequence: int) -> list[Hop]:
    first: dict[tuple[Port, bool, bool], Hop] = {}
    for hop in hops:
        if hop.packet.payload.startswith(word) and hop.packet.sequence == sequence:
            first.setdefault((hop.port, hop.outgoing, hop.packet.outer is None), hop)
    director_saw = any(port.node == "director" for port, *_ in first)
    return [hop for hop in first.values() if not (director_saw and hop.port.node == "switch")]
