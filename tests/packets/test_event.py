"""What a watcher is told: each beginning and end of a connection, each drop, by both hooks; and nothing unwatched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import UDP

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.watch import Watch
from pylvs.errors import DataPlaneError
from pylvs.model import ForwardingMethod
from pylvs.model.event import Event, EventKind
from tests.packets.frames import CPORT, datagram, reply, request
from tests.packets.plane import SENT, Plane, endpoint
from tests.packets.test_rows import DROPS, SERVICES
from tests.packets.wire import CIP, RIP1, RIP2, VIP, from_client, from_server, tcp, word

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
    frames = [tcp(word(CIP), port, word(VIP), 90) for port in range(EVENTS_OF_A_RING + more)]
    for frame in frames:
        plane.tc(frame)
    count = 0
    while events := watch.read(0):
        assert [event.client.port for event in events] == list(range(count, count + len(events)))
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
