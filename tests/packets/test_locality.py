"""lblc and lblcr forget: a destination that nobody wanted for long, one of several servers, and all when set anew.

The service is known by a mark, so that it has many destinations. Time is the test's.
"""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address

import pytest

from pylvs.director.ebpf import abi, libbpf
from pylvs.model import Endpoint, FirewallMark, ForwardingMethod, RealServer, VirtualService
from pylvs.scheduler import SCHEDULERS
from pylvs.scheduler.oracle import Asked, SchedulerOracle
from tests.packets.plane import Plane, endpoint
from tests.packets.slots import Slots
from tests.packets.test_mark import CAME_BY_AT, INTERFACE_AT, MARK_AT
from tests.packets.wire import tcp

pytestmark = pytest.mark.root

MARK = FirewallMark(5)
VIPS = [IPv4Address(f"10.21.0.{host}") for host in range(1, 6)]
HOUR = 3600


class Cache:
    """A service and its oracle. The connections are no matter here: their loads are set."""

    def __init__(self, plane: Plane, scheduler: str) -> None:
        self.plane, self.scheduler, self.clients = plane, scheduler, 0
        plane.director.add_service(VirtualService(MARK, scheduler))
        self.oracle = SchedulerOracle(SCHEDULERS[scheduler])
        for host in (1, 2, 3):
            self.add(RealServer(endpoint(f"192.168.0.{host}:0"), ForwardingMethod.DR, host))

    def add(self, server: RealServer) -> None:
        self.plane.director.add_server(MARK, server)
        self.oracle.add(server)

    def delete(self, server: Endpoint) -> None:
        self.plane.director.delete_server(MARK, server)
        self.oracle.delete(server)

    def change(self, scheduler: str) -> None:
        self.plane.director.edit_service(VirtualService(MARK, scheduler))
        self.oracle.change(SCHEDULERS[scheduler])

    def wait(self, seconds: int) -> None:
        self.plane.advance(seconds * abi.TICKS_A_SECOND)
        self.oracle.now += seconds

    def load(self, server: Endpoint, active: int) -> None:
        """An earlier one still has the connections that were opened since."""
        registry = self.plane.director._registry
        assert registry is not None
        slot = registry.find_server(registry.services[MARK], server)
        assert slot is not None
        self.plane.table.servers[slot].load = active << 32
        self.oracle.load(server, active, 0)

    def open(self, vip: IPv4Address) -> Endpoint:
        """Both choose; the connection is forgotten, but not by the scheduler."""
        self.clients += 1
        client = IPv4Address(0x0B000000 + self.clients)
        context = bytearray(192)
        struct.pack_into("I", context, MARK_AT, MARK.mark)
        for at in (CAME_BY_AT, INTERFACE_AT):
            struct.pack_into("I", context, at, self.plane.indexes["eth0"])
        frame = tcp(client.packed, 999, vip.packed, 80)
        libbpf.test_run(self.plane.table.fd("director_tc"), frame, context=bytes(context))
        slots = Slots(self.plane)
        (slot,) = slots.find(client.packed, 999)
        number = int(slots.raw["server"][slot])
        raw = self.plane.table.servers[number]
        raw.load -= 1 << 32
        registry = self.plane.director._registry
        assert registry is not None
        chosen = registry.endpoint(number)
        assert chosen == self.oracle.open(Asked(client, 999, vip))
        return chosen


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_remembers_and_forgets_as_the_oracle(scheduler: str, seed: int, plane: Plane) -> None:
    cache, chance = Cache(plane, scheduler), random.Random(f"{scheduler} {seed}")
    cache.oracle.expiration = 5 * HOUR
    plane.director.set_knobs({f"{scheduler}_expiration": 5 * HOUR})
    for _ in range(150):
        for server in cache.oracle.servers:
            if chance.random() < 0.5:
                cache.load(server.endpoint, chance.randrange(6))
        match chance.randrange(8):
            case 0:
                cache.wait(chance.randrange(4 * HOUR))
            case 1 if len(cache.oracle.servers) > 1:
                cache.delete(chance.choice(cache.oracle.servers).endpoint)
            case 2:
                where = endpoint(f"192.168.0.{chance.randrange(1, 6)}:0")
                if where not in [one.endpoint for one in cache.oracle.servers]:
                    cache.add(RealServer(where, ForwardingMethod.DR, chance.randrange(1, 4)))
        for _ in range(3):
            cache.open(chance.choice(VIPS))


def test_a_destination_keeps_its_server_until_it_is_forgotten(plane: Plane) -> None:
    cache = Cache(plane, "lblc")
    first = cache.open(VIPS[0])
    cache.load(first, 1)  # it is no longer the least loaded, but not busy
    assert cache.open(VIPS[0]) == first
    cache.wait(23 * HOUR)
    assert cache.open(VIPS[0]) == first
    cache.wait(26 * HOUR)
    assert cache.open(VIPS[0]) != first


def test_one_of_several_servers_goes_after_a_while(plane: Plane) -> None:
    cache = Cache(plane, "lblcr")
    first = cache.open(VIPS[0])
    cache.load(first, 5)  # busy
    second = cache.open(VIPS[0])
    assert second != first
    cache.wait(25 * HOUR)
    assert cache.open(VIPS[0])
    cache.load(first, 0)
    cache.load(second, 1)
    known = libbpf.lookup(plane.table.fd("destinations"), _key(plane), 12 + 4 * abi.SERVERS_OF_DESTINATION)
    assert known is not None
    assert struct.unpack_from("3I", known)[2] <= 2


def _key(plane: Plane) -> bytes:
    registry = plane.director._registry
    assert registry is not None
    service = plane.table.services[registry.services[MARK]]
    return bytes(10) + b"\xff\xff" + VIPS[0].packed + service.memory.to_bytes(8, "little")


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_set_anew_it_remembers_nothing(scheduler: str, plane: Plane) -> None:
    cache = Cache(plane, scheduler)
    first = cache.open(VIPS[0])
    cache.load(first, 1)
    cache.change("rr")
    cache.change(scheduler)
    assert cache.open(VIPS[0]) != first
