"""Rings against the list walks that they stand for: IPVS's own rr and wrr, written the plain way, step by step."""

from __future__ import annotations

from ipaddress import IPv4Address
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylvs.director.ebpf import abi
from pylvs.model import Endpoint, RealServer
from pylvs.scheduler import FALLBACK, MAX_TURNS, PORT, SCHEDULERS, Ring, Selection, Taken
from pylvs.scheduler.oracle import SchedulerOracle


def server(number: int, weight: int = 1) -> RealServer:
    return RealServer(Endpoint(IPv4Address(f"10.30.0.{number}"), 80), weight=weight)


def weighing(*weights: int) -> tuple[RealServer, ...]:
    return tuple(server(number, weight) for number, weight in enumerate(weights, 1))


class Walk:
    """A service's list of servers, head first, and the place of the one chosen last (-1: the head itself)."""

    def __init__(self) -> None:
        self.servers: list[RealServer] = []
        self.place = -1
        self.changed()

    def add(self, server: RealServer) -> None:
        self.servers.insert(0, server)
        self.place += self.place >= 0
        self.changed()

    def edit(self, server: RealServer) -> None:
        self.servers[self.index(server.endpoint)] = server
        self.changed()

    def delete(self, endpoint: Endpoint) -> None:
        index = self.index(endpoint)
        del self.servers[index]
        self.place -= self.place >= index
        self.changed()

    def index(self, endpoint: Endpoint) -> int:
        return [server.endpoint for server in self.servers].index(endpoint)

    def changed(self) -> None:
        """What the scheduler does about it."""

    def open(self) -> Endpoint | None:
        raise NotImplementedError


class RoundRobin(Walk):
    def open(self) -> Endpoint | None:
        for step in range(1, len(self.servers) + 1):
            place = (self.place + step) % len(self.servers)
            if self.servers[place].weight > 0:
                self.place = place
                return self.servers[place].endpoint
        return None


class WeightedRoundRobin(Walk):
    level = 0

    def changed(self) -> None:
        weights = [server.weight for server in self.servers]
        self.place = -1
        self.step = gcd(*weights) or 1
        self.top = max(weights, default=0) - (self.step - 1)
        if self.level > self.top or self.level == 0:
            self.level = self.top
        elif self.step > 1:
            self.level = self.level // self.step * self.step + 1

    def open(self) -> Endpoint | None:
        while self.top:
            for place in range(self.place + 1, len(self.servers)):
                if self.servers[place].weight >= self.level:
                    self.place = place
                    return self.servers[place].endpoint
            self.place = -1
            self.level = self.level - self.step if self.level > self.step else self.top
        return None


WALKS = {"rr": RoundRobin, "wrr": WeightedRoundRobin}
NUMBERS = st.integers(1, 6)
WEIGHTS = st.integers(0, 12) | st.sampled_from([20, 30, 60, 100])
STEPS = st.lists(
    st.tuples(st.just("set"), NUMBERS, WEIGHTS)  # added, or edited if it is there
    | st.tuples(st.just("delete"), NUMBERS, st.none())
    | st.tuples(st.just("open"), st.integers(1, 40), st.none()),
    max_size=40,
)


@pytest.mark.parametrize("scheduler", WALKS)
@given(steps=STEPS)
def test_the_ring_is_the_walk_through_any_edits(scheduler: str, steps: list[tuple[str, int, int | None]]) -> None:
    walk = WALKS[scheduler]()
    oracle = SchedulerOracle(SCHEDULERS[scheduler])
    for step, number, weight in steps:
        known = any(one.endpoint == server(number).endpoint for one in walk.servers)
        for each in (walk, oracle):
            match step:
                case "set" if weight is not None:
                    (each.edit if known else each.add)(server(number, weight))
                case "delete" if known:
                    each.delete(server(number).endpoint)
        if step == "open":
            assert [oracle.open() for _ in range(number)] == [walk.open() for _ in range(number)]


@given(st.lists(st.integers(0, 50), max_size=8))
def test_wrr_gives_turns_by_weight(weights: list[int]) -> None:
    ring = SCHEDULERS["wrr"].ring(weighing(*weights))
    unit = gcd(*weights) or 1
    assert [ring.turns.count(index) for index in range(len(weights))] == [weight // unit for weight in weights]


@given(st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 10), min_size=1, max_size=50))
def test_a_long_wrr_ring_is_scaled_down_and_stays_in_proportion(weights: list[int]) -> None:
    ring = SCHEDULERS["wrr"].ring(weighing(*weights))
    total, length = sum(weights), len(ring.turns)
    assert length <= MAX_TURNS
    for index, weight in enumerate(weights):
        turns = ring.turns.count(index)
        assert (turns > 0) == (weight > 0)
        if weight:
            assert abs(turns / length - weight / total) <= (len(weights) + 1) / length


def test_a_scaled_ring_keeps_its_level_through_an_edit() -> None:
    servers = weighing(2_000_000_000, 1_000_000_000, 7)
    wrr = SCHEDULERS["wrr"]
    ring = wrr.ring(servers)
    half = len(ring.turns) // 2
    again = wrr.ring(servers, Taken(servers, ring.mark, ring.last(half)))
    assert again.turns == ring.turns
    assert half - len(servers) <= again.start <= half


@given(st.lists(st.integers(0, 5), max_size=8))
def test_rr_is_fair_whatever_the_weights(weights: list[int]) -> None:
    ring = SCHEDULERS["rr"].ring(weighing(*weights))
    assert ring.turns == tuple(index for index, weight in enumerate(weights) if weight)


def test_a_ring_without_turns_was_never_taken_from() -> None:
    assert Ring().last(7) is None
    assert Ring((0, 1)).last(0) is None
    assert Ring((0, 1, 2), start=2).last(1) == 2
    assert Ring((0, 1, 2), start=2).last(5) == 0


@pytest.mark.parametrize("scheduler", WALKS)
def test_many_edits_in_one_go_need_one_ring(scheduler: str) -> None:
    """As a restore does it: `place` folded over the edits, then one `lay_out`."""
    one = SCHEDULERS[scheduler]
    oracle = SchedulerOracle(one)
    before, mark = weighing(), one.place((), None)
    for number, weight in enumerate((4, 6, 0, 2), 1):
        oracle.add(server(number, weight))
        after = (server(number, weight), *before)
        before, mark = after, one.place(after, Taken(before, mark))
    assert one.lay_out(before, mark) == oracle.ring


LOADS = {
    "lc takes the least loaded": ("lc", [(1, 1, 0), (1, 0, 255), (1, 0, 254)], 3),
    "lc: an active connection weighs 256 inactive ones": ("lc", [(1, 1, 0), (1, 0, 257)], 1),
    "lc leaves weights aside": ("lc", [(100, 2, 0), (1, 1, 0)], 2),
    "lc: of equal ones the first": ("lc", [(1, 1, 1), (1, 1, 1)], 1),
    "lc: weight 0 never": ("lc", [(0, 0, 0), (1, 9, 9)], 2),
    "wlc: load by weight": ("wlc", [(1, 1, 0), (3, 2, 0)], 2),
    "wlc: of equal ones the first": ("wlc", [(1, 1, 0), (2, 2, 0)], 1),
    "wlc: weight 0 never": ("wlc", [(0, 0, 0), (1, 9, 9)], 2),
    "wlc: exact where a float is not": ("wlc", [(2**31 - 1, 2**22, 1), (2**31 - 1, 2**22, 0)], 2),
    "nobody": ("wlc", [(0, 0, 0)], None),
}


@pytest.mark.parametrize(("scheduler", "loads", "wins"), LOADS.values(), ids=LOADS)
def test_loads(scheduler: str, loads: list[tuple[int, int, int]], wins: int | None) -> None:
    """Rows of (weight, active, inactive), first of the list first, and the number of the one that wins."""
    oracle = SchedulerOracle(SCHEDULERS[scheduler])
    for number, (weight, active, inactive) in reversed(list(enumerate(loads, 1))):
        oracle.add(server(number, weight))
        oracle.load(server(number).endpoint, active, inactive)
    assert oracle.open() == (server(wins).endpoint if wins else None)


def test_what_bpf_knows_by_number() -> None:
    assert [one.value for one in Selection] == [one.value for one in abi.Selection]
    assert {one.name for one in Selection} - {"TURNS"} == {one.name for one in abi.Selection} - {"TURN"}
    assert (FALLBACK, PORT) == (abi.SchedulerFlag.FALLBACK, abi.SchedulerFlag.PORT)
