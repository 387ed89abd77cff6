"""Fragments that come before the first of their datagram: they are held and come in again, as real wires show."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from scapy.layers.inet import IP

from pylvs.model import Endpoint, Protocol, VirtualAddress, VirtualService, parse_address
from tests.packets.fragments import CASES, IDS, MAPPED, big, expected, furnish, pieces
from tests.packets.frames import datagram
from tests.packets.plane import director_apart
from tests.packets.slots import Slots
from tests.packets.wire import DIP, RIP1, RIP2, VIP, from_client
from tests.packets.wires import ENTRANCES, PATIENCE, Wires, toward

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")]

RACES, WAITS = 3000, {"eth0": 0, "eth2": 1000}
"""The later fragments are given a start or not: the way through XDP and its queue is longer."""


@pytest.fixture(scope="module")
def built() -> Iterator[Wires]:
    """A director of its own with wires that can be tapped."""
    with ExitStack() as stack:
        plane, far = stack.enter_context(director_apart())
        wires = Wires(plane, far)
        stack.callback(wires.close)
        furnish(plane)
        plane.serve(f"udp {DIP}:53", f"{RIP1}:53")
        yield wires


@pytest.fixture
def wires(built: Wires) -> Wires:
    built.plane.forget()
    return built


@pytest.mark.parametrize("entrance", ENTRANCES, ids=list(ENTRANCES.values()))
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("name", CASES)
def test_every_order(name: str, order: Sequence[int], entrance: str, wires: Wires) -> None:
    case = CASES[name]
    for frame in case.before:
        wires.send([frame])
        wires.receive(1)
    packet = case.make()
    frames = [case.wrap(one) for one in pieces(packet)]
    wires.send([frames[number] for number in order], entrance)
    assert sorted(wires.receive(3)) == sorted(bytes(one) for one in expected(case, packet))
    assert len(wires.plane.connections()) == 1
    Slots(wires.plane).check()


def test_each_is_counted_once(wires: Wires) -> None:
    wires.send([from_client(one) for one in reversed(pieces(big()))])
    wires.receive(3)
    counters = wires.plane.snapshot(MAPPED).counters
    assert (counters.connections, counters.in_packets, counters.in_bytes) == (1, 3, 3008 + 3 * 20)


def test_one_packet_scheduling_backwards(wires: Wires) -> None:
    """The first fragment comes twice, and is scheduled once."""
    service = VirtualAddress(Protocol.UDP, Endpoint(parse_address(VIP), 62))
    wires.plane.director.add_service(VirtualService(service, "rr", one_packet=True))
    for rip in (RIP1, RIP2):
        wires.plane.add(f"udp {VIP}:62", f"{rip}:62")
    wires.send([from_client(one) for one in reversed(pieces(big(port=62)))])
    assert len({IP(frame[14:]).dst for frame in wires.receive(3)}) == 1
    counters = wires.plane.director.service(service).counters
    assert (counters.connections, counters.in_packets) == (1, 3)


@pytest.mark.parametrize("size", [8000, 65507])
def test_the_largest_datagrams_backwards(size: int, wires: Wires) -> None:
    case = CASES["NAT"]
    packet = case.make(size)
    wires.send([case.wrap(one) for one in reversed(pieces(packet))])
    out = [bytes(one) for one in expected(case, packet)]
    assert sorted(wires.receive(len(out))) == sorted(out)


def test_many_datagrams_backwards_and_interleaved(wires: Wires) -> None:
    case = CASES["NAT"]
    packets = [case.make() for _ in range(20)]
    rows = zip(*(reversed(pieces(packet)) for packet in packets), strict=True)
    wires.send([case.wrap(one) for row in rows for one in row])
    out = [bytes(one) for packet in packets for one in expected(case, packet)]
    assert sorted(wires.receive(len(out))) == sorted(out)


def test_the_first_one_by_another_interface_than_those_that_wait(wires: Wires) -> None:
    case = CASES["DR"]
    packet = case.make()
    first, *later = [case.wrap(one) for one in pieces(packet)]
    wires.send(later, "eth2")
    wires.send([first], "eth0")
    assert sorted(wires.receive(3)) == sorted(bytes(one) for one in expected(case, packet))


def test_the_hosts_own_datagram_reaches_it_backwards(wires: Wires) -> None:
    """The address is a service's, but not the port: a program on the director listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.settimeout(PATIENCE)
        listener.bind((DIP, 99))
        packet = datagram(99, size=3000, ip={"id": next(IDS), "dst": DIP})
        wires.send([from_client(one) for one in reversed(pieces(packet))])
        assert listener.recv(65535) == bytes(packet)[28:]


def race(end: socket.socket, frames: Sequence[bytes], mine: Any, other: Any, waits: int) -> None:
    """Send each frame when the other side is about to send its own of the same datagram; now at once, now later."""
    for number, frame in enumerate(frames):
        mine.value = number
        while other.value < number:
            pass
        for _ in range(number % (waits + 1)):
            pass
        end.send(frame)
    mine.value = len(frames)


def test_first_and_later_ones_at_once(wires: Wires) -> None:
    """Two CPUs: none is lost, whoever comes first."""
    case = CASES["NAT"]
    packets = [case.make(1600) for _ in range(RACES)]
    cut = [[case.wrap(one) for one in pieces(packet)] for packet in packets]
    out = Counter(bytes(one) for packet in packets for one in expected(case, packet))
    context = multiprocessing.get_context("fork")
    turns = [context.Value("l", -1, lock=False) for _ in range(2)]
    runners = [
        context.Process(
            target=race,
            args=(
                wires.ends[entrance],
                [toward(frames[number], entrance) for frames in cut],
                turns[number],
                turns[1 - number],
                WAITS[entrance],
            ),
        )
        for number, entrance in enumerate(ENTRANCES)
    ]
    before = wires.plane.table.drops()
    for runner in runners:
        runner.start()
    got = Counter(wires.receive(2 * RACES))
    for runner in runners:
        runner.join()
    assert out.keys() == got.keys()
    assert wires.plane.table.drops() == before
