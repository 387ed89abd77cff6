"""The states that a kernel's IPVS was recorded to go through, packet by packet, and how long each lasts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylvs.model import Connection, ForwardingMethod, Timeouts
from tests.packets.plane import PASS, SENT, Plane
from tests.packets.wire import CIP, RIP1, VIP, tcp, udp, word

pytestmark = pytest.mark.root

TTL_AT = 14 + 8
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "conn" / "tcp-states.json").read_text())
ACTIVE = {"ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"}
NAT, DR, DATAGRAMS = f"tcp {VIP}:80", f"tcp {VIP}:82", f"udp {VIP}:53"
PORTS = {NAT: (80, 8080), DR: (82, 82), DATAGRAMS: (53, 5353)}
TABLES = {
    "nat": NAT,
    "nat, first packet of every kind, default": NAT,
    "nat, more symbols": NAT,
    "dr": DR,
}
"""Recorded without secure_tcp and sloppy_tcp."""


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """One service of each kind, with one server."""
    loaded.reset()
    loaded.serve(NAT, f"{RIP1}:8080")
    loaded.serve(DR, f"{RIP1}:82", method=ForwardingMethod.DR)
    loaded.serve(DATAGRAMS, f"{RIP1}:5353")
    yield loaded
    loaded.reset()


@pytest.fixture(params=["tc", "xdp"])
def flow(request: pytest.FixtureRequest, standing: Plane) -> Flow:
    return Flow(standing, request.param)


class Flow:
    """Packets between one client's port and a service: `iS` is the client's SYN, `oFPA` the server's FIN+PSH+ACK."""

    def __init__(self, plane: Plane, hook: str) -> None:
        self.plane = plane
        self.hook = hook
        self.port = 1023
        self.id = NAT
        self.begin(NAT)

    def begin(self, id: str) -> None:
        """A new client, and no connections."""
        self.port, self.id = self.port + 1, id
        self.plane.forget()
        self.plane.knows_the_way()

    def see(self, symbol: str, *, ttl: int = 64) -> str:
        """The verdict on a packet."""
        port, server_port = PORTS[self.id]
        make = udp if self.id == DATAGRAMS else tcp
        flags = () if self.id == DATAGRAMS else (symbol[1:],)
        if symbol[0] == "i":
            frame = make(word(CIP), self.port, word(VIP), port, *flags)
        else:
            frame = make(word(RIP1), server_port, word(CIP), self.port, *flags)
        return self.plane.run(self.hook, frame[:TTL_AT] + bytes([ttl]) + frame[TTL_AT + 1 :]).verdict

    def connection(self) -> Connection | None:
        found = self.plane.connections()
        assert len(found) <= 1
        return found[0] if found else None

    def counts(self) -> tuple[int, int]:
        """Active and inactive connections of the service's server."""
        (server,) = self.plane.snapshot(self.id).servers
        return server.active, server.inactive


@pytest.mark.parametrize("table", TABLES)
def test_every_recorded_path(table: str, flow: Flow) -> None:
    for path, states in GOLDEN[table]["paths"].items():
        flow.begin(TABLES[table])
        for step, (symbol, state) in enumerate(zip(path.split(), states, strict=True)):
            verdict = flow.see(symbol)
            found = flow.connection()
            reached = "none" if found is None else f"{found.state} {found.expires}"
            assert (reached, verdict) == (state, PASS if state == "none" else SENT), f"{path}, step {step}"
            assert flow.counts() == expected_counts(state), f"{path}, step {step}"


def expected_counts(state: str) -> tuple[int, int]:
    if state == "none":
        return 0, 0
    return (1, 0) if state.split(maxsplit=1)[0] in ACTIVE else (0, 1)


@pytest.mark.parametrize(("id", "state"), [(NAT, "TIME_WAIT"), (DR, "FIN_WAIT")])
def test_a_request_that_cannot_go_on_is_its_connections(id: str, state: str, flow: Flow) -> None:
    """Recorded: IPVS counts it and goes by its flags before routing refuses it."""
    flow.begin(id)
    for symbol in ("iS", "oSA", "iA", "oFA") if id == NAT else ("iS", "iA"):
        assert flow.see(symbol) == SENT
    before = flow.plane.snapshot(id).counters
    assert flow.see("iFA", ttl=1) == "ttl_exceeded"
    found, after = flow.connection(), flow.plane.snapshot(id).counters
    assert found is not None
    assert found.state == state
    assert (after.in_packets, after.in_bytes) == (before.in_packets + 1, before.in_bytes + 40)


def test_a_reply_that_cannot_go_on_never_gets_to_ipvs(flow: Flow) -> None:
    flow.begin(NAT)
    for symbol in ("iS", "oSA", "iA"):
        assert flow.see(symbol) == SENT
    before = flow.plane.snapshot(NAT).counters
    assert flow.see("oFA", ttl=1) == "ttl_exceeded"
    found = flow.connection()
    assert found is not None
    assert found.state == "ESTABLISHED"
    assert flow.plane.snapshot(NAT).counters == before


def test_a_datagram_either_way_starts_the_timer_again(flow: Flow) -> None:
    flow.begin(DATAGRAMS)
    for symbol in ("i", "o", "i"):
        assert flow.see(symbol) == SENT
        found = flow.connection()
        assert found is not None
        assert (found.state, found.expires) == ("UDP", 300)
        assert flow.counts() == (0, 1)
        flow.plane.advance(100 * 8)
        found = flow.connection()
        assert found is not None
        assert found.expires == 200
        flow.plane.knows_the_way()


@pytest.mark.parametrize(
    ("id", "path", "expires"),
    [
        (NAT, ["iS", "iA"], 100),
        (NAT, ["iS", "iA", "oF"], 20),
        (DR, ["iS", "iA"], 100),
        (DR, ["iS", "iA", "iF"], 20),
        (DATAGRAMS, ["i"], 30),
        (NAT, ["iS"], 60),
    ],
)
def test_timeouts_that_were_set(id: str, path: list[str], expires: int, flow: Flow) -> None:
    flow.begin(id)
    flow.plane.director.set_timeouts(Timeouts(100, 20, 30))
    try:
        for symbol in path:
            assert flow.see(symbol) == SENT
        found = flow.connection()
        assert found is not None
        assert found.expires == expires
    finally:
        flow.plane.director.set_timeouts(Timeouts())


@pytest.mark.parametrize(
    ("id", "path"),
    [
        (DR, ["iA"]),
        (NAT, ["iA", "oA"]),
        (NAT, ["iA"]),
        (NAT, ["oA"]),
    ],
)
def test_a_timeout_holds_from_the_next_packet_on(id: str, path: list[str], flow: Flow) -> None:
    flow.begin(id)
    for symbol in ("iS", "iA"):
        flow.see(symbol)
    flow.plane.director.set_timeouts(Timeouts(tcp=50, tcp_fin=0, udp=0))
    try:
        assert [one.expires for one in flow.plane.connections()] == [900]
        for symbol in path:
            flow.see(symbol)
        assert [one.expires for one in flow.plane.connections()] == [50]
    finally:
        flow.plane.director.set_timeouts(Timeouts())


def test_flags_that_mean_nothing_change_nothing(flow: Flow) -> None:
    """PSH, URG, ECE and CWR with an ACK are an ACK."""
    flow.begin(NAT)
    flow.see("iS")
    frame = bytearray(tcp(word(CIP), flow.port, word(VIP), 80, "A"))
    frame[47] |= 0xE8
    assert flow.plane.run(flow.hook, bytes(frame)).verdict == SENT
    found = flow.connection()
    assert found is not None
    assert found.state == "ESTABLISHED"
