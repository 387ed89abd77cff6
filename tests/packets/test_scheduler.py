"""The data plane chooses as the sequential oracle does, connection by connection, through every edit."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import pytest

from pylvs.model import Endpoint, ForwardingMethod, RealServer, VirtualService
from pylvs.scheduler import FALLBACK, PORT, SCHEDULERS
from pylvs.scheduler.oracle import Asked, SchedulerOracle
from tests.packets.plane import SENT, Plane, endpoint, service
from tests.packets.slots import Slots
from tests.packets.wire import VIP, tcp, udp, word

pytestmark = pytest.mark.root

ID = {"tcp": f"tcp {VIP}:80", "udp": f"udp {VIP}:80"}
CLOSE = ("A", "R")
WEIGHTS = (0, 1, 1, 1, 2, 3, 4, 6, 10)
STEPS = 40
DETERMINED = [name for name in SCHEDULERS if name != "twos"]


def asked(number: int) -> Asked:
    """A client, of whom there are four hundred, each with many ports."""
    return Asked(IPv4Address(0x0B000000 + number % 400), 1000 + number, IPv4Address(VIP))


class Score:
    """A service of the plane and its oracle, driven together by chance."""

    def __init__(self, plane: Plane, scheduler: str, protocol: str, seed: int) -> None:
        self.plane, self.protocol, self.first = plane, protocol, scheduler
        self.chance = random.Random(f"{scheduler} {protocol} {seed}")
        self.flags = self.random_flags()
        self.oracle = SchedulerOracle(SCHEDULERS[scheduler], self.flags)
        self.loads: dict[Endpoint, list[int]] = {}
        self.open_ones: dict[int, Endpoint] = {}
        self.clients = 0
        plane.director.add_service(VirtualService(service(ID[protocol]), scheduler, self.flags))

    def random_flags(self) -> int:
        """Schedulers that don't hash clients take them, too, and make nothing of them."""
        return self.chance.choice((0, FALLBACK, PORT, FALLBACK | PORT))

    def step(self) -> None:
        moves = [self.connect] * 8 + [self.close] * 3 + [self.add] * 3 + [self.edit] * 3 + [self.delete] * 2
        self.chance.choice([*moves, self.reschedule])()
        self.compare()

    def connect(self) -> None:
        for _ in range(self.chance.randrange(1, 30)):
            self.clients += 1
            expected = self.oracle.open(asked(self.clients))
            verdict = self.send("S")
            assert verdict == (SENT if expected else "no_server")
            if expected:
                assert self.server_of(self.clients) == expected
                self.open_ones[self.clients] = expected
                self.change(expected, *((1, 0) if self.protocol == "tcp" else (0, 1)))

    def close(self) -> None:
        """Some active connections become inactive."""
        if self.protocol == "udp":
            return
        alive = {one.server.endpoint for one in self.plane.snapshot(ID["tcp"]).servers}
        for number in [number for number, server in self.open_ones.items() if server in alive]:
            if self.chance.random() < 0.4:
                server = self.open_ones.pop(number)
                for flags in CLOSE:
                    assert self.send(flags, number) == SENT
                self.change(server, -1, 1)

    def change(self, server: Endpoint, active: int, inactive: int) -> None:
        load = self.loads.setdefault(server, [0, 0])
        load[0] += active
        load[1] += inactive
        self.oracle.load(server, *load)

    def send(self, flags: str, number: int | None = None) -> str:
        one = asked(self.clients if number is None else number)
        ends = one.client.packed, one.port, word(VIP), 80
        packet = tcp(*ends, flags) if self.protocol == "tcp" else udp(*ends)
        return self.plane.tc(packet).verdict

    def server_of(self, number: int) -> Endpoint:
        slots = Slots(self.plane)
        one = asked(number)
        (slot,) = slots.find(one.client.packed, one.port)
        raw = self.plane.table.servers[int(slots.raw["server"][slot])]
        return endpoint(f"{'.'.join(map(str, bytes(raw.address)[12:]))}:{raw.port}")

    def random_server(self) -> RealServer:
        where = endpoint(f"192.168.0.{self.chance.randrange(1, 7)}:80")
        return RealServer(where, ForwardingMethod.DR, self.chance.choice(WEIGHTS), *self.thresholds())

    def thresholds(self) -> tuple[int, int]:
        """Often none, for UDP none at all: what is overloaded by it stays so."""
        if self.protocol == "udp" or self.chance.random() < 0.6:
            return 0, 0
        upper = self.chance.randrange(1, 30)
        return upper, self.chance.randrange(upper + 1)

    def add(self) -> None:
        server = self.random_server()
        if server.endpoint not in [one.endpoint for one in self.oracle.servers]:
            self.plane.director.add_server(service(ID[self.protocol]), server)
            self.oracle.add(server)

    def edit(self) -> None:
        if self.oracle.servers:
            upper, lower = self.thresholds()
            server = self.chance.choice(self.oracle.servers).replace(
                weight=self.chance.choice(WEIGHTS), upper_threshold=upper, lower_threshold=lower
            )
            self.plane.director.edit_server(service(ID[self.protocol]), server)
            self.oracle.edit(server)

    def delete(self) -> None:
        if self.oracle.servers:
            where = self.chance.choice(self.oracle.servers).endpoint
            self.plane.director.delete_server(service(ID[self.protocol]), where)
            self.oracle.delete(where)

    def reschedule(self) -> None:
        name, flags = self.chance.choice([self.first, *DETERMINED]), self.random_flags()
        self.plane.director.edit_service(VirtualService(service(ID[self.protocol]), name, flags))
        self.oracle.change(SCHEDULERS[name], flags)

    def compare(self) -> None:
        shown = self.plane.snapshot(ID[self.protocol]).servers
        assert tuple(one.server for one in shown) == self.oracle.servers
        for one in shown:
            assert [one.active, one.inactive] == self.loads.get(one.server.endpoint, [0, 0])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("scheduler", DETERMINED)
def test_chooses_as_the_oracle(scheduler: str, seed: int, plane: Plane) -> None:
    score = Score(plane, scheduler, "tcp", seed)
    for _ in range(STEPS):
        score.step()
    Slots(plane).check()
    assert score.clients > STEPS


@pytest.mark.parametrize("scheduler", ["lc", "wlc", "lblc", "lblcr", "sed"])
def test_datagrams_weigh_as_inactive_connections(scheduler: str, plane: Plane) -> None:
    score = Score(plane, scheduler, "udp", 1)
    for _ in range(STEPS):
        score.step()


def test_the_largest_weights_do_not_overflow(plane: Plane) -> None:
    plane.serve(ID["tcp"], scheduler="wlc")
    oracle = SchedulerOracle(SCHEDULERS["wlc"])
    loads: dict[Endpoint, int] = {}
    for number, weight in enumerate((2**31 - 1, 2**31 - 2, 65535, 1)):
        server = RealServer(endpoint(f"192.168.0.{number + 1}:80"), ForwardingMethod.DR, weight)
        plane.director.add_server(service(ID["tcp"]), server)
        oracle.add(server)
    for client in range(300):
        expected = oracle.open()
        assert expected
        assert plane.tc(tcp(word(0x0B000000 + client), 999, word(VIP), 80)).verdict == SENT
        loads[expected] = loads.get(expected, 0) + 1
        oracle.load(expected, loads[expected], 0)
    shown = {one.server.endpoint: one.active for one in plane.snapshot(ID["tcp"]).servers if one.active}
    assert shown == loads


@pytest.mark.parametrize("scheduler", ["rr", "wrr"])
def test_a_search_in_vain_takes_no_turn(scheduler: str, plane: Plane) -> None:
    """While all are overloaded: afterwards it is the next one's turn."""
    plane.director.add_service(VirtualService(service(ID["udp"]), scheduler))
    for host in (1, 2):
        where = endpoint(f"192.168.0.{host}:80")
        plane.director.add_server(service(ID["udp"]), RealServer(where, ForwardingMethod.DR, 1, upper_threshold=1))
    verdicts = [plane.tc(udp(word("110.0.0.1"), 1000 + port, word(VIP), 80)).verdict for port in range(3)]
    assert verdicts == [SENT, SENT, "no_server"]
    plane.pass_seconds(302)
    assert plane.tc(udp(word("110.0.0.1"), 2000, word(VIP), 80)).verdict == SENT
    assert [str(one.server.address) for one in plane.connections()] == ["192.168.0.2"]


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "none"])
def test_a_persistent_client_keeps_the_server_that_the_scheduler_chose(scheduler: str, plane: Plane) -> None:
    plane.director.add_service(VirtualService(service(ID["tcp"]), scheduler, PORT, persistence=300))
    oracle = SchedulerOracle(SCHEDULERS[scheduler], PORT)
    for host, weight in ((1, 2), (2, 1), (3, 3)):
        server = RealServer(endpoint(f"192.168.0.{host}:80"), ForwardingMethod.DR, weight)
        plane.director.add_server(service(ID["tcp"]), server)
        oracle.add(server)
    first = oracle.open(asked(7))
    for port in range(4):
        one = asked(7)
        assert plane.tc(tcp(one.client.packed, one.port + port, word(VIP), 80)).verdict == SENT
    chosen = {one.server for one in plane.connections()}
    assert len(chosen) == 1
    assert scheduler == "twos" or chosen == {first}
