"""What a watcher is told: each beginning and end of a connection, each drop, by both hooks; and nothing unwatched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.watch import Watch
from pylvs.errors import DataPlaneError
from pylvs.model import Endpoint, ForwardingMethod, Protocol, RealServer, VirtualAddress, VirtualService, parse_address
from pylvs.model.event import Event, EventKind
from tests.packets.frames import CPORT, datagram, reply, request
from tests.packets.plane import SENT, Plane, endpoint, service
from tests.packets.test_rows import DROPS, SERVICES
from tests.packets.wire import CIP, RIP1, RIP2, VIP, VIP2, from_client, from_server, tcp, word

pytestmark = pytest.mark.root

HOOKS = pytest.mark.parametrize("hook", ["tc", "xdp"])
MINE = endpoint(f"{CIP}:{CPORT}")
EVENTS_OF_A_RING = abi.EVENTS_SIZE // (72 + 8)
"""Each has a header of 8 bytes."""


@pytest.fixture
def served(plane: Plane) -> Plane:
    """With the services of the rows."""
    plane.director.begin()
    for id, servers, method in SERVICES:
        plane.serve(id, *servers, method=method)
    plane.director.commit()
    return plane


@pytest.fixture
def watch(served: Plane) -> Iterator[Watch]:
    """It begins with the test and ends with it."""
    with closing(Watch(served.table)) as watching:
        yield watching


def told(watch: Watch) -> list[tuple[Any, ...]]:
    return [described(event) for event in watch.read(0)]


def described(event: Event) -> tuple[Any, ...]:
    return (
        event.kind,
        event.protocol,
        str(event.client),
        str(event.virtual),
        str(event.server),
        event.method,
        event.state,
    )


def open_and_settle(plane: Plane, hook: str, packet: Any) -> None:
    """Through tc first, so that XDP knows the way."""
    plane.knows_the_way()
    assert plane.run(hook, bytes(from_client(packet))).verdict == SENT


class Opening(NamedTuple):
    """A packet that opens a connection, and how this is told."""

    packet: Any
    protocol: int
    server: str
    method: str
    state: str


OPENINGS = {
    "NAT, the port is mapped": Opening(request(), 6, f"{RIP1}:8080", "nat", "SYN_RECV"),
    "DR": Opening(request(82), 6, f"{RIP1}:82", "dr", "SYN_RECV"),
    "UDP by NAT": Opening(datagram(), 17, f"{RIP1}:5353", "nat", "UDP"),
    "UDP by DR": Opening(datagram(54), 17, f"{RIP1}:54", "dr", "UDP"),
}


@HOOKS
@pytest.mark.parametrize("name", OPENINGS)
def test_a_connection_is_scheduled_and_expires(name: str, hook: str, plane: Plane, watch: Watch) -> None:
    packet, protocol, server, method, state = OPENINGS[name]
    open_and_settle(plane, hook, packet)
    ends = (protocol, str(MINE), f"{VIP}:{packet.payload.dport}", server, method, state)
    assert told(watch) == [(EventKind.SCHEDULED, *ends)]
    open_and_settle(plane, hook, packet)
    assert told(watch) == [], "only the first packet is news"
    plane.pass_seconds(plane.settings.timeout[abi.ConnectionState[state]] // abi.TICKS_A_SECOND - 2)
    watch.read(0)  # time goes by faster than a watcher looks
    plane.pass_seconds(4)
    assert told(watch) == [(EventKind.EXPIRED, *ends)]
    assert not plane.connections()


def test_the_state_is_the_last_one(plane: Plane, watch: Watch) -> None:
    for flags in ("S", "A", "RA"):
        open_and_settle(plane, "tc", request(flags=flags))
    plane.pass_seconds(8)
    watch.read(0)
    plane.pass_seconds(4)
    (expired,) = watch.read(0)
    assert (expired.kind, expired.state) == (EventKind.EXPIRED, "CLOSE")


@HOOKS
def test_a_port_used_again_ends_the_former_connection(hook: str, plane: Plane, watch: Watch) -> None:
    for flags in ("S", "A", "RA", "S"):
        open_and_settle(plane, hook, request(flags=flags))
    assert [(event.kind, event.state) for event in watch.read(0)] == [
        (EventKind.SCHEDULED, "SYN_RECV"),
        (EventKind.EXPIRED, "CLOSE"),
        (EventKind.SCHEDULED, "SYN_RECV"),
    ]


@HOOKS
def test_a_connection_in_anothers_way_is_evicted(hook: str, plane: Plane, watch: Watch) -> None:
    """Ports 80 and 85 are mapped to one port of one server."""
    for packet in (request(), request(flags="A"), request(flags="RA"), request(85)):
        open_and_settle(plane, hook, packet)
    assert [(event.kind, event.virtual.port, event.state) for event in watch.read(0)] == [
        (EventKind.SCHEDULED, 80, "SYN_RECV"),
        (EventKind.EVICTED, 80, "CLOSE"),
        (EventKind.SCHEDULED, 85, "SYN_RECV"),
    ]


@HOOKS
@pytest.mark.parametrize("name", DROPS)
def test_a_drop_is_told_in_the_words_of_its_connection(name: str, hook: str, plane: Plane, watch: Watch) -> None:
    row = DROPS[name]
    for frame in row.before:
        assert plane.run(hook, bytes(frame)).verdict == SENT
    watch.read(0)
    plane.knows_the_way()
    outcome = plane.run(hook, bytes(row.frame), row.interface)
    (event,) = watch.read(0)
    assert (event.kind, event.reason) == (EventKind.DROPPED, outcome.verdict)
    packet = row.frame.payload
    first = row.before[0].payload if row.before and packet.dst != VIP else packet
    assert event.client == endpoint(f"{first.src}:{first.sport}")
    assert event.virtual == endpoint(f"{first.dst}:{first.dport}")
    assert event.protocol == (17 if UDP in packet else 6)
    if row.before and row.verdict != "tuple_in_use":
        assert event.server is not None
        assert event.method
    assert watch.lost() == 0


@HOOKS
def test_a_packet_for_a_deleted_server(hook: str, plane: Plane, watch: Watch) -> None:
    open_and_settle(plane, hook, request())
    watch.read(0)
    plane.delete(f"tcp {VIP}:80", f"{RIP1}:8080")
    for frame in (from_client(request(flags="A")), from_server(reply())):
        plane.run(hook, bytes(frame))
    (event,) = watch.read(0)
    assert (event.reason, str(event.server), event.state) == ("server_deleted", f"{RIP1}:8080", "SYN_RECV")


def test_a_full_table(plane: Plane, watch: Watch) -> None:
    frame = bytes(from_client(request(82)))
    slots = plane.table.connections
    for bucket in range(slots.entries):
        for slot in slots[bucket].slot:
            slot.control = abi.SlotPhase.BUSY
    assert plane.tc(frame).verdict == "table_full"
    (event,) = watch.read(0)
    assert (event.reason, event.client, event.virtual.port) == ("table_full", MINE, 82)


@HOOKS
def test_nothing_is_told_unwatched(hook: str, served: Plane) -> None:
    served.knows_the_way()
    for packet in (request(), request(90), request(flags="RA")):
        served.run(hook, bytes(from_client(packet)))
    served.pass_seconds(100)
    with closing(libbpf.RingBuffer(served.table.fd("events"))) as ring:
        assert ring.read(0) == []


def test_the_watch_is_over_soon_after_a_watcher_was_killed(plane: Plane, watch: Watch) -> None:
    plane.advance(3 * abi.TICKS_A_SECOND - 1)
    plane.tc(bytes(from_client(request(90))))
    plane.advance(1)
    plane.tc(bytes(from_client(request(90))))
    assert len(watch.read(0)) == 1


def test_what_the_ring_has_no_room_for_is_counted(plane: Plane, watch: Watch) -> None:
    """And the data plane goes on."""
    more = 500
    first = 1024
    frames = [tcp(word(CIP), first + number, word(VIP), 90) for number in range(EVENTS_OF_A_RING + more)]
    for frame in frames:
        plane.tc(frame)
    count = 0
    while events := watch.read(0):
        assert [event.client.port for event in events] == list(range(first + count, first + count + len(events)))
        count += len(events)
    assert count + watch.lost() == len(frames)
    assert more <= len(frames) - count <= more + 1
    assert watch.lost() == 0, "told once"


def test_what_is_left_of_a_former_watch_is_not_news(served: Plane) -> None:
    frame = bytes(from_client(request(90)))
    with closing(Watch(served.table)):
        served.tc(frame)
    with closing(Watch(served.table)) as watch:
        assert watch.read(0) == []
        served.tc(frame)
        assert len(watch.read(0)) == 1


def test_one_watcher_at_a_time(served: Plane) -> None:
    with closing(Watch(served.table)), pytest.raises(DataPlaneError, match="another `pylvs watch`"):
        Watch(served.table)
    Watch(served.table).close()


def test_times_are_those_of_the_clock(plane: Plane, watch: Watch) -> None:
    import time

    before = time.clock_gettime_ns(time.CLOCK_REALTIME)
    plane.tc(bytes(from_client(request(90))))
    after = time.clock_gettime_ns(time.CLOCK_REALTIME)
    (event,) = watch.read(0)
    assert before - 10**6 < event.at < after + 10**6


def test_every_method_is_named() -> None:
    assert {method.name.lower() for method in abi.ForwardingMethod} - {"methods"} == set(ForwardingMethod)


def test_kinds_are_those_of_the_data_plane() -> None:
    assert [kind.name for kind in abi.EventKind] == [kind.name for kind in EventKind]


def test_all_that_two_servers_get_is_told(plane: Plane, watch: Watch) -> None:
    """As many ends as beginnings, in the words of each connection."""
    plane.add(f"tcp {VIP}:82", f"{RIP2}:82", ForwardingMethod.DR)
    for port in range(1000, 1200):
        plane.tc(tcp(word(CIP), port, word(VIP), 82))
    begun = watch.read(0)
    assert {str(event.server) for event in begun} == {f"{RIP1}:82", f"{RIP2}:82"}
    plane.pass_seconds(58)
    watch.read(0)
    plane.pass_seconds(4)
    ended = watch.read(0)
    assert {event.replace(at=0, kind=EventKind.SCHEDULED) for event in ended} == {
        event.replace(at=0) for event in begun
    }
    assert len(ended) == len(begun) == 200


def test_drop_entry_evicts_what_never_got_beyond_its_first_packet(plane: Plane, watch: Watch) -> None:
    plane.director.set_knobs({"drop_entry": 3})
    for port in range(2000, 2200):
        plane.tc(tcp(word(CIP), port, word(VIP), 82))
    open_and_settle(plane, "tc", request(82))
    open_and_settle(plane, "tc", request(82, flags="A"))
    watch.read(0)
    evicted: list[Event] = []
    for _ in range(40):  # a thirty-second of the table each round, and the clock stands still
        plane.sweep()
        evicted += watch.read(0)
    assert evicted
    assert {(event.kind, event.state, event.method) for event in evicted} == {(EventKind.EVICTED, "SYN_RECV", "dr")}
    assert len({event.client for event in evicted}) == len(evicted)
    assert len(plane.connections()) == 201 - len(evicted)
    assert MINE in {one.client for one in plane.connections()}


def test_a_full_table_evicts_for_the_sake_of_new_ones(plane: Plane, watch: Watch) -> None:
    """Every connection begins once and ends at most once, also when its slot is soon another's."""
    living: set[Endpoint] = set()
    for first in range(1024, 11264, 512):
        plane.advance(2)
        for port in range(first, first + 512):
            plane.tc(tcp(word(CIP), port, word(VIP), 82))
        for event in watch.read(0):
            match event.kind:
                case EventKind.SCHEDULED:
                    assert event.client not in living
                    living.add(event.client)
                case EventKind.EVICTED:
                    living.remove(event.client)
                case _:
                    assert event.reason == "table_full"
    assert watch.lost() == 0
    assert living == {one.client for one in plane.connections()}
    assert len(living) < 10240, "some were evicted"


@pytest.mark.parametrize("method", [ForwardingMethod.TUN, ForwardingMethod.FULLNAT])
def test_the_other_methods(method: ForwardingMethod, plane: Plane, watch: Watch) -> None:
    plane.serve(f"tcp {VIP}:70", f"{RIP2}:7070" if method is ForwardingMethod.FULLNAT else f"{RIP2}:70", method=method)
    plane.tc(bytes(from_client(request(70))))
    first = watch.read(0)[0]
    assert (first.kind, first.method) == (EventKind.SCHEDULED, method.value)
    assert (first.client, first.virtual) == (MINE, endpoint(f"{VIP}:70"))
    assert first.server == endpoint(f"{RIP2}:7070" if method is ForwardingMethod.FULLNAT else f"{RIP2}:70")


def test_ipv6(plane: Plane, watch: Watch) -> None:
    client, vip, rip = (
        Endpoint(parse_address(text), port)
        for text, port in (("fd00:c::1", CPORT), ("fd00::250", 80), ("fd00::111", 8080))
    )
    id = VirtualAddress(Protocol.TCP, vip)
    plane.director.add_service(VirtualService(id, "rr"))
    plane.director.add_server(id, RealServer(rip, ForwardingMethod.NAT))
    packet = IPv6(src=str(client.address), dst=str(vip.address)) / TCP(sport=CPORT, dport=80, flags="S")
    plane.tc(bytes(from_client(packet)))
    first = watch.read(0)[0]
    assert first == Event(first.at, EventKind.SCHEDULED, 6, client, vip, rip, "nat", "SYN_RECV")


def test_a_template_is_no_connection(plane: Plane, watch: Watch) -> None:
    """A persistent service for every port; the server gets the client's packets on the port that they were sent to."""
    id = service(f"tcp {VIP2}:0")
    plane.director.add_service(VirtualService(id, "rr", persistence=60))
    plane.director.add_server(id, RealServer(endpoint(f"{RIP1}:0"), ForwardingMethod.DR))
    plane.tc(bytes(from_client(request(8443, ip={"dst": VIP2}))))
    (event,) = watch.read(0)
    assert (event.virtual, event.server) == (endpoint(f"{VIP2}:8443"), endpoint(f"{RIP1}:8443"))
    assert len(plane.connections()) == 2, "the template is listed"
    plane.pass_seconds(59)
    watch.read(0)
    plane.pass_seconds(65)
    assert plane.connections() == []
    assert {event.virtual.port for event in watch.read(0)} <= {8443}
