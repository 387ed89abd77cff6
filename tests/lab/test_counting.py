"""What a listing says of real connections: states and counts as the kernel's IPVS has them, and their end in time."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.lab import namespace
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import ask, ask_udp, connect, ipvsadm, rows, states, udp
from tests.lab.conftest import LabUnderTest
from tests.packets.slots import SLOT

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
RECORDED = json.loads((Path(__file__).parents[1] / "golden/conn/counters.json").read_text())["cases"]
CASES = {method: [case for case in RECORDED if case["method"] == method] for method in ("nat", "dr")}
LETTER = {"nat": "-m", "dr": "-g"}
HOOK = {"nat": Hook.XDP, "dr": Hook.TC}
SILENT_PORT = 81  # no real server listens there
EXPIRY_SECONDS = 2
NEVER_SECONDS = 120


@pytest.fixture(scope="module", params=["nat", "dr"])
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    method = request.param
    built = LabUnderTest(Lab(f"counting-{os.getpid()}-{method}", ForwardingMethod(method), HOOK[method]))
    ipvsadm(built, f"-A -t {built.vip}:{SILENT_PORT} -s rr")
    for rip in built.rips:
        ipvsadm(built, f"-a -t {built.vip}:{SILENT_PORT} -r {rip}:{SILENT_PORT} {LETTER[method]}")
    yield built
    built.down()


def totals(lab: LabUnderTest, service: str = "TCP", port: int = 80) -> tuple[int, int]:
    """Active and inactive connections of all of a service's servers."""
    listed = rows(lab, service, port).values()
    return sum(row.active for row in listed), sum(row.inactive for row in listed)


def close(connection: socket.socket) -> None:
    connection.close()


def shut_down(connection: socket.socket) -> None:
    """The server stays open, because it has more to send than the client takes."""
    connection.sendall(b"GET /big?bytes=100000000 HTTP/1.1\r\nHost: vip\r\n\r\n")
    connection.recv(1)
    connection.shutdown(socket.SHUT_WR)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


EVENTS: dict[str, Callable[[socket.socket], None]] = {
    "client closes": close,
    "client shuts down its side, the server stays open": shut_down,
    "client resets": reset,
}
PORTS = {event: 20000 + number for number, event in enumerate((*EVENTS, "nobody listens on the server"))}


def happen(lab: LabUnderTest, event: str, stack: ExitStack) -> int:
    """Make it so; the service's port."""
    if event in EVENTS:
        connection = stack.enter_context(connect(lab, source_port=PORTS[event]))
        ask(connection)
        EVENTS[event](connection)
        return 80
    with suppress(ConnectionRefusedError):
        stack.enter_context(connect(lab, SILENT_PORT, source_port=PORTS[event]))
    return SILENT_PORT


@pytest.mark.parametrize("event", list(PORTS))
def test_a_connection_is_listed_as_the_kernel_lists_it(up: LabUnderTest, event: str) -> None:
    case = next(one for one in CASES[up.topology.lab.method] if one["event"] == event)
    port = SILENT_PORT if event not in EVENTS else 80
    before = totals(up, port=port)
    with ExitStack() as stack:
        assert happen(up, event, stack) == port
        settled(lambda: states(up, PORTS[event]) == [case["state"]])
        after = totals(up, port=port)
        assert states(up, PORTS[event]) == [case["state"]]
        assert (after[0] - before[0], after[1] - before[1]) == (case["active"], case["inactive"])


def settled(condition: Callable[[], bool], seconds: float = 3.0) -> float:
    """Wait until something is so, or for so long; the seconds that it took."""
    begun = time.monotonic()
    while not condition() and time.monotonic() < begun + seconds:
        time.sleep(0.05)
    return time.monotonic() - begun


class Look(NamedTuple):
    """When each connection is to end, by its client's port; how many parts the sweep had done before that was read; and
    the director's own clock, before and after.
    """

    sweeps: int
    begun: int
    deadlines: dict[int, int]
    ended: int


def look(director: EbpfDirector, ports: Sequence[int]) -> Look:
    """At the connections from some ports that are still there. One ends with the later of its sides."""
    table = director._live
    assert table is not None
    sweeps, begun = table.settings.sweeps, table.settings.now
    slots: Any = np.frombuffer(table.connections.memory, SLOT)
    phase_and_side = slots["control"] & np.uint64(3 | 1 << abi.ControlShift.SIDE)
    client = abi.SlotPhase.LIVE | abi.SlotSide.CLIENT << abi.ControlShift.SIDE
    found = slots[(phase_and_side == client) & np.isin(slots["source_port"], ports)]
    deadlines = {int(one["source_port"]): later_of(one, slots) for one in found}
    return Look(sweeps, begun, deadlines, table.settings.now)


def later_of(one: Any, slots: Any) -> int:
    peer = int(one["peer"])
    return max(int(one["deadline"]), int(slots[peer - 1]["deadline"]) if peer else 0)


def looks(director: EbpfDirector, ports: Sequence[int]) -> Iterator[Look]:
    """One after the other until nothing is left; fails where that is never."""
    begun = time.monotonic()
    while True:
        seen = look(director, ports)
        yield seen
        if not seen.deadlines:
            return
        assert time.monotonic() < begun + NEVER_SECONDS, "they don't end"
        time.sleep(0.02)


def test_idle_connections_end_within_two_seconds_of_their_deadline(up: LabUnderTest) -> None:
    """By the director's own clock, whatever else this machine has to do: two rounds of its sweep are two seconds."""
    before = totals(up), totals(up, "UDP")
    with connect(up) as held, udp(up) as asking, director_of(up) as director:
        ask(held)
        ask_udp(asking)
        ports = held.getsockname()[1], asking.getsockname()[1]
        there = totals(up), totals(up, "UDP")
        assert [states(up, port) for port in ports] == [["ESTABLISHED"], ["UDP"]]
        assert (there[0][0] - before[0][0], there[1][1] - before[1][1]) == (1, 1)
        ipvsadm(up, f"--set {EXPIRY_SECONDS} 0 {EXPIRY_SECONDS}")
        try:
            asked = look(director, ports).begun
            ask(held)
            ask_udp(asking)
            deadlines: dict[int, int] = {}
            over: dict[int, int] = {}
            ended = set()
            for seen in looks(director, ports):
                for port in deadlines.keys() - seen.deadlines.keys():
                    assert seen.ended >= deadlines.pop(port), "it ended before its time"
                    ended.add(port)
                for port, deadline in seen.deadlines.items():
                    assert deadline >= asked + EXPIRY_SECONDS * abi.TICKS_A_SECOND
                    assert deadline <= seen.ended + EXPIRY_SECONDS * abi.TICKS_A_SECOND
                    if seen.begun >= deadline:
                        assert seen.sweeps <= over.setdefault(port, seen.sweeps) + 2 * abi.SWEEP_TICKS, "it is late"
                deadlines |= seen.deadlines
            assert ended == set(ports)
        finally:
            ipvsadm(up, "--set 900 0 300")
    assert totals(up)[0] == before[0][0]
    assert totals(up, "UDP")[1] == before[1][1]


@contextmanager
def director_of(lab: LabUnderTest) -> Iterator[EbpfDirector]:
    """To read its tables."""
    with namespace.inside(lab.namespace("director")):
        director = EbpfDirector()
    try:
        yield director
    finally:
        director.close()
