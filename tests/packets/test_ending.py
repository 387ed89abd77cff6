"""Connections that somebody ends: one, or all of a kind. What was counted of them is counted no more."""

from __future__ import annotations

import pytest

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.listing import find
from pylvs.model import ForwardingMethod, Protocol, VirtualService
from pylvs.model.connection_filter import ConnectionFilter
from pylvs.model.event import EventKind
from pylvs.model.pattern import parse_pattern
from tests.packets.plane import PASS, Plane, service
from tests.packets.wire import CIP, CIP2, RIP1, RIP2, VIP, VIP2, tcp, udp, word

pytestmark = pytest.mark.root

NAT, DR = ForwardingMethod.NAT, ForwardingMethod.DR
WEB, NAMES = f"tcp {VIP}:80", f"udp {VIP}:53"
COUNT = 300
"""More than one run of the program takes."""


def client(address: str) -> ConnectionFilter:
    return ConnectionFilter(client=parse_pattern(address))


@pytest.fixture
def busy(plane: Plane) -> Plane:
    """Connections of two clients with two services of two servers."""
    plane.serve(WEB, f"{RIP1}:80", f"{RIP2}:80")
    plane.serve(NAMES, f"{RIP1}:53", method=DR)
    for port in range(2000, 2010):
        for address in (CIP, CIP2):
            plane.run("tc", tcp(word(address), port, word(VIP), 80))
            plane.run("tc", udp(word(address), port, word(VIP), 53))
    assert len(plane.connections()) == 40
    return plane


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (client(f"{CIP}:2003"), 2),
        (ConnectionFilter(Protocol.TCP, parse_pattern(f"{CIP}:2003"), parse_pattern(f"{VIP}:80")), 1),
        (client(CIP), 20),
        (client("110.0.0.0/24"), 40),
        (ConnectionFilter(virtual=parse_pattern(f"{VIP}:53")), 20),
        (ConnectionFilter(server=parse_pattern(f"{RIP1}:80")), 10),
        (ConnectionFilter(server=parse_pattern(RIP1)), 30),
        (ConnectionFilter(Protocol.UDP), 20),
        (ConnectionFilter(state="SYN_RECV"), 20),
        (ConnectionFilter(state="ESTABLISHED"), 0),
        (ConnectionFilter(), 40),
        (client("110.0.0.9"), 0),
    ],
)
def test_what_is_selected_ends_and_nothing_else(selection: ConnectionFilter, count: int, busy: Plane) -> None:
    before = busy.connections()
    assert busy.director.end_connections(selection) == count
    left = busy.connections()
    assert set(left) == {each for each in before if not selection.matches(each)}
    assert len(left) == 40 - count
    servers = [server for each in busy.director.services() for server in each.servers]
    assert sum(server.active + server.inactive for server in servers) == len(left)
    assert busy.director.end_connections(selection) == 0


def test_the_next_packet_belongs_to_none(busy: Plane) -> None:
    busy.knows_the_way()
    late = tcp(word(CIP), 2003, word(VIP), 80, "A")
    assert busy.run("tc", late).verdict != PASS
    busy.director.end_connections(client(f"{CIP}:2003"))
    assert busy.run("tc", late).verdict == PASS
    assert busy.run("tc", tcp(word(RIP1), 80, word(CIP), 2003, "SA")).verdict == PASS, "no answer is rewritten"
    assert busy.run("tc", tcp(word(CIP), 2003, word(VIP), 80)).verdict != PASS, "a new connection may begin"


def test_more_than_fit_in_one_run(plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80")
    for port in range(2000, 2000 + COUNT):
        plane.run("tc", tcp(word(CIP), port, word(VIP), 80))
    there = len(plane.connections())
    assert there > 2 * abi.ENDINGS
    assert plane.director.end_connections(ConnectionFilter()) == there
    assert plane.connections() == []
    plane.pass_seconds(3)
    assert plane.settings.live == 0, "and every slot is free"


def test_a_slot_that_is_anothers_by_now_is_left_alone(busy: Plane) -> None:
    """What was seen before is ended by its name only: slot, generation and tag."""
    (found,) = [each for each in find(busy.table) if each.connection.client.port == 2003][:1]
    name = abi.Named(found.slot, (found.control >> 32) + 1)
    assert libbpf.test_run(busy.table.fd("end_connections"), bytes(abi.ENDINGS_AT) + bytes(name)).retval == 0
    assert len(busy.connections()) == 40


def test_names_that_are_none(busy: Plane) -> None:
    nonsense = b"\xff" * (8 * abi.ENDINGS)
    assert libbpf.test_run(busy.table.fd("end_connections"), bytes(abi.ENDINGS_AT) + nonsense).retval == 0
    assert len(busy.connections()) == 40


def test_a_template_goes_with_its_last_connection(plane: Plane) -> None:
    plane.director.add_service(VirtualService(service(WEB), "rr", persistence=300))
    plane.add(WEB, f"{RIP1}:80")
    for port in (2000, 2001):
        plane.run("tc", tcp(word(CIP), port, word(VIP), 80))
    template = client(f"{CIP}:0")
    assert plane.director.end_connections(template) == 0, "it has connections"
    assert plane.director.end_connections(client(f"{CIP}:2000")) == 1
    assert plane.director.end_connections(template) == 0
    assert plane.director.end_connections(client(CIP)) == 2
    assert plane.connections() == []
    assert plane.server(WEB, f"{RIP1}:80").persistent == 0


def test_it_is_an_event(plane: Plane) -> None:
    from pylvs.director.ebpf.watch import Watch

    plane.serve(WEB, f"{RIP1}:80")
    watch = Watch(plane.table)
    try:
        plane.settings.watched_until = plane.settings.now + 80
        plane.run("tc", tcp(word(CIP), 2000, word(VIP), 80))
        plane.director.end_connections(ConnectionFilter())
        assert [event.kind for event in watch.read(0)] == [EventKind.SCHEDULED, EventKind.DELETED]
    finally:
        watch.close()


def test_other_services_vip(busy: Plane) -> None:
    assert busy.director.end_connections(ConnectionFilter(virtual=parse_pattern(VIP2))) == 0
