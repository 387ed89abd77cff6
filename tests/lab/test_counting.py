"""What a listing says of real connections: states and counts as the kernel's IPVS has them, and their end in time."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import ask, ask_udp, connect, ipvsadm, rows, states, udp
from tests.lab.conftest import LabUnderTest

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
EXPIRY_SECONDS = 2.0


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


def test_idle_connections_end_within_two_seconds_of_their_deadline(up: LabUnderTest) -> None:
    ipvsadm(up, "--set 2 0 2")
    try:
        before = totals(up), totals(up, "UDP")
        with connect(up) as held, udp(up) as asking:
            ask(held)
            ask_udp(asking)
            begun = time.monotonic()
            ports = held.getsockname()[1], asking.getsockname()[1]
            there = totals(up), totals(up, "UDP")
            assert [states(up, port) for port in ports] == [["ESTABLISHED"], ["UDP"]]
            assert (there[0][0] - before[0][0], there[1][1] - before[1][1]) == (1, 1)
            settled(lambda: not any(states(up, port) for port in ports), 10)
            took = time.monotonic() - begun
            assert EXPIRY_SECONDS - 0.2 <= took <= EXPIRY_SECONDS + 2.5, "0.5 s are for asking"
            assert totals(up)[0] == before[0][0]
            assert totals(up, "UDP")[1] == before[1][1]
    finally:
        ipvsadm(up, "--set 900 0 300")
