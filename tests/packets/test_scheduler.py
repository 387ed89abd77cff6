"""The data plane chooses as the sequential oracle does, connection by connection, through every edit."""

from __future__ import annotations

import random

import pytest

from pylvs.model import Endpoint, ForwardingMethod, RealServer, VirtualService
from pylvs.scheduler import SCHEDULERS
from pylvs.scheduler.oracle import SchedulerOracle
from tests.packets.plane import SENT, Plane, endpoint, service
from tests.packets.slots import Slots
from tests.packets.wire import VIP, tcp, udp, word

pytestmark = pytest.mark.root

ID = {"tcp": f"tcp {VIP}:80", "udp": f"udp {VIP}:80"}
CLOSE = ("A", "R")
WEIGHTS = (0, 1, 1, 1, 2, 3, 4, 6, 10)
STEPS = 40


class Score:
    """A service of the plane and its oracle, driven together by chance."""

    def __init__(self, plane: Plane, scheduler: str, protocol: str, seed: int) -> None:
        self.plane, self.protocol = plane, protocol
        self.chance = random.Random(f"{scheduler} {protocol} {seed}")
        self.oracle = SchedulerOracle(SCHEDULERS[scheduler])
        self.loads: dict[Endpoint, list[int]] = {}
        self.open_ones: dict[int, Endpoint] = {}
        self.clients = 0
        plane.serve(ID[protocol], scheduler=scheduler)

    def step(self) -> None:
        moves = [self.connect] * 8 + [self.close] * 3 + [self.add] * 3 + [self.edit] * 3 + [self.delete] * 2
        self.chance.choice([*moves, self.reschedule])()
        self.compare()

    def connect(self) -> None:
        for _ in range(self.chance.randrange(1, 30)):
            expected = self.oracle.open()
            self.clients += 1
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
        client = word(0x0B000000 + (self.clients if number is None else number))
        packet = tcp(client, 999, word(VIP), 80, flags) if self.protocol == "tcp" else udp(client, 999, word(VIP), 80)
        return self.plane.tc(packet).verdict

    def server_of(self, number: int) -> Endpoint:
        slots = Slots(self.plane)
        (slot,) = slots.find(word(0x0B000000 + number), 999)
        raw = self.plane.table.servers[int(slots.raw["server"][slot])]
        return endpoint(f"{'.'.join(map(str, bytes(raw.address)[12:]))}:{raw.port}")

    def random_server(self) -> RealServer:
        where = endpoint(f"192.168.0.{self.chance.randrange(1, 7)}:80")
        return RealServer(where, ForwardingMethod.DR, self.chance.choice(WEIGHTS))

    def add(self) -> None:
        server = self.random_server()
        if server.endpoint not in [one.endpoint for one in self.oracle.servers]:
            self.plane.director.add_server(service(ID[self.protocol]), server)
            self.oracle.add(server)

    def edit(self) -> None:
        if self.oracle.servers:
            server = self.chance.choice(self.oracle.servers).replace(weight=self.chance.choice(WEIGHTS))
            self.plane.director.edit_server(service(ID[self.protocol]), server)
            self.oracle.edit(server)

    def delete(self) -> None:
        if self.oracle.servers:
            where = self.chance.choice(self.oracle.servers).endpoint
            self.plane.director.delete_server(service(ID[self.protocol]), where)
            self.oracle.delete(where)

    def reschedule(self) -> None:
        name = self.chance.choice(list(SCHEDULERS))
        self.plane.director.edit_service(VirtualService(service(ID[self.protocol]), name))
        self.oracle.change(SCHEDULERS[name])

    def compare(self) -> None:
        shown = self.plane.snapshot(ID[self.protocol]).servers
        assert tuple(one.server for one in shown) == self.oracle.servers
        for one in shown:
            assert [one.active, one.inactive] == self.loads.get(one.server.endpoint, [0, 0])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_chooses_as_the_oracle(scheduler: str, seed: int, plane: Plane) -> None:
    score = Score(plane, scheduler, "tcp", seed)
    for _ in range(STEPS):
        score.step()
    Slots(plane).check()
    assert score.clients > STEPS


@pytest.mark.parametrize("scheduler", ["lc", "wlc"])
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
