"""Tunnels' packets in fragments: put together they are taken out of the tunnel as those that came whole."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from pylvs.director.ebpf.abi import TunnelType
from tests.realserver.frames import CIP, CIP6, RIP, STRANGER, VIP, VIP6, frame, gre, gre_csum, gue, gue_nocsum, ipip
from tests.realserver.plane import AGAIN, HELD, LEFT, TAKEN, Plane

pytestmark = pytest.mark.root

WRAPPINGS = {
    "ipip": ipip,
    "gre": gre,
    "gre with a checksum": gre_csum,
    "gue": gue,
    "gue without a checksum": gue_nocsum,
}
IDS = itertools.count(1)
PORTS = {"sport": 4000, "dport": 80}
LARGEST = 15 * 1024


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    made = Plane()
    yield made
    made.close()


def inner(size: int = 1440, *, six: bool = False) -> bytes:
    packet = IPv6(src=CIP6, dst=VIP6) if six else IP(src=CIP, dst=VIP)
    return bytes(packet / TCP(**PORTS) / Raw(bytes(number * 7 % 251 for number in range(size))))


def cut(packet: Any, *cuts: int) -> list[bytes]:
    """Frames with parts of a packet, cut at these places of its payload."""
    whole = packet.__class__(bytes(packet))
    data, id = bytes(whole.payload), next(IDS)
    found = []
    for start, end in itertools.pairwise((0, *cuts, len(data))):
        header = whole.copy()
        header.remove_payload()
        more = end < len(data)
        if isinstance(header, IP):
            header.id, header.flags, header.frag, header.len, header.chksum = id, int(more), start // 8, None, None
            found.append(frame(header / data[start:end]))
        else:
            fragment = IPv6ExtHdrFragment(nh=header.nh, offset=start // 8, m=int(more), id=id)
            header.nh, header.plen = 44, None
            found.append(frame(header / fragment / data[start:end]))
    return found


def received(plane: Plane, frames: Sequence[bytes]) -> bytes:
    """What is taken out of the tunnel at last."""
    for one in frames[:-1]:
        assert plane.receive(one)[:2] == (HELD, "")
    whole = plane.receive(frames[-1])
    assert whole[:2] == (AGAIN, "assembled")
    outcome = plane.receive(whole.frame)
    assert outcome.action == TAKEN
    return outcome.frame


@pytest.mark.parametrize("cuts", [(1480,), (8,), (8, 16, 24, 1000)], ids=str)
@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", WRAPPINGS)
def test_in_fragments_or_whole(name: str, family: int, six: bool, cuts: Sequence[int], plane: Plane) -> None:
    packet = WRAPPINGS[name](inner(1480, six=six), family)
    if family == 4:
        packet.flags = 0
    assert received(plane, cut(packet, *cuts))[14:] == inner(1480, six=six)


def test_the_largest(plane: Plane) -> None:
    """Of what is whole then, a test run would take less."""
    *first, last = cut(ipip(inner(LARGEST - 40), flags=0), *range(1480, LARGEST, 1480))
    assert {plane.receive(one).action for one in first} == {HELD}
    assert plane.receive(last).frame[34:] == inner(LARGEST - 40)


def test_larger_than_that(plane: Plane) -> None:
    *first, last = cut(ipip(inner(LARGEST - 39), flags=0), *range(1480, LARGEST, 1480))
    assert {plane.receive(one).action for one in first} == {HELD}
    assert plane.receive(last)[:2] == (LEFT, "left_fragment")


def test_two_packets_at_a_time(plane: Plane) -> None:
    one, other = (cut(ipip(inner(size), flags=0), 1000) for size in (1400, 1300))
    for first in (one[0], other[0]):
        assert plane.receive(first).action == HELD
    for last, size in ((one[1], 1400), (other[1], 1300)):
        assert plane.receive(plane.receive(last).frame).frame[14:] == inner(size)


def test_congestion_anywhere(plane: Plane) -> None:
    """A router has marked one of them; the packet knows of congestion."""
    made = IP(inner())
    made.tos, made.chksum = 2, None
    first, last = cut(ipip(bytes(made), flags=0, tos=2), 1000)
    marked = IP(first[14:])
    marked.tos, marked.chksum = 3, None
    assert IP(received(plane, [frame(marked), last])[14:]).tos == 3


BREAKS: dict[str, tuple[Sequence[int], str]] = {
    "the last first": ((2,), "left_fragment"),
    "one is missing": ((0, 2), "left_fragment"),
    "one comes twice": ((0, 1, 1), "left_fragment"),
    "the first comes again": ((0, 1, 0, 2), "left_fragment"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_out_of_order(name: str, plane: Plane) -> None:
    """What has not come is never made up."""
    order, counted = BREAKS[name]
    frames = cut(ipip(inner(), flags=0), 480, 960)
    outcomes = [plane.receive(frames[number]) for number in order]
    assert {outcome.action for outcome in outcomes[:-1]} <= {HELD}
    assert outcomes[-1][:2] == (LEFT, counted)
    assert outcomes[-1].frame == frames[order[-1]]


def test_what_is_out_of_order_disturbs_nothing(plane: Plane) -> None:
    frames = cut(ipip(inner(), flags=0), 480, 960)
    assert [plane.receive(frames[number]).action for number in (0, 2, 1, 2)] == [HELD, LEFT, HELD, AGAIN]


@pytest.mark.parametrize("field", ["id", "src", "proto"])
def test_of_another_packet(field: str, plane: Plane) -> None:
    first, last = cut(ipip(inner(), flags=0), 1000)
    assert plane.receive(first).action == HELD
    other = IP(last[14:])
    setattr(other, field, {"id": other.id + 64, "src": STRANGER, "proto": 47}[field])
    other.chksum = None
    assert plane.receive(frame(other))[:2] == (LEFT, "left_fragment")


def test_an_odd_first_fragment(plane: Plane) -> None:
    packet = IP(bytes(ipip(inner(101), flags="MF")))
    assert plane.receive(frame(packet))[:2] == (LEFT, "left_fragment")


def test_a_programs_datagram_in_fragments(plane: Plane) -> None:
    """Its port is no tunnel's: the kernel puts it together."""
    for one in cut(IP(src=CIP, dst=RIP) / UDP(sport=1, dport=53) / Raw(bytes(3000)), 1480):
        assert plane.receive(one)[:2] == (LEFT, "")


def test_of_strangers() -> None:
    plane = Plane(only_directors=True)
    try:
        first, last = cut(ipip(inner(), flags=0, src=STRANGER), 1000)
        assert [plane.receive(one)[:2] for one in (first, last)] == [(LEFT, "left_stranger")] * 2
        later = cut(IP(src=STRANGER, dst=RIP) / UDP(sport=1, dport=53) / Raw(bytes(3000)), 1480)[1]
        assert plane.receive(later)[:2] == (LEFT, "")
    finally:
        plane.close()


def test_tunnels_that_are_not_taken() -> None:
    plane = Plane(TunnelType.GRE)
    try:
        assert [plane.receive(one)[:2] for one in cut(ipip(inner(), flags=0), 1000)] == [(LEFT, "")] * 2
    finally:
        plane.close()


def test_the_whole_may_be_the_kernels(plane: Plane) -> None:
    """Nobody knows before what is in it."""
    first, last = cut(ipip(bytes(IP(src=CIP, dst="192.168.0.99") / TCP(**PORTS) / Raw(bytes(1400))), flags=0), 1000)
    assert plane.receive(first).action == HELD
    whole = plane.receive(last)
    assert plane.receive(whole.frame)[:2] == (LEFT, "left_not_vip")
    header = IP(whole.frame[14:])
    assert (header.frag, int(header.flags), struct.unpack_from("!H", whole.frame, 16)[0]) == (0, 0, 1460)
