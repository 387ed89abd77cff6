"""The schedulers replay what a kernel's IPVS was recorded to choose, connection by connection."""

from __future__ import annotations

import json

import pytest

from pylvs.model import Endpoint, IPAddress, RealServer
from pylvs.scheduler import SCHEDULERS
from pylvs.scheduler.oracle import Asked, SchedulerOracle
from pylvs.views.flag import flag_bits
from tests.golden.scheduling import GOLDEN, Opened, Step, endpoint, scenarios


class Replay:
    """A service's oracle, and the loads that its choices make."""

    def __init__(self) -> None:
        self.oracle = SchedulerOracle(SCHEDULERS["rr"])
        self.endpoints: dict[IPAddress, Endpoint] = {}
        self.loads: dict[IPAddress, tuple[int, int]] = {}
        self.opened: list[IPAddress] = []

    def take(self, step: Step) -> None:
        if step.command:
            self.command(step.command.split())
        for one in step.opened:
            self.open(one)
        for number in step.closed:
            self.carry(self.opened[number], -1, 1)
        for server, load in (step.loads or {}).items():
            self.loads[server] = load
            self.oracle.load(self.endpoints[server], *load)

    def command(self, words: list[str]) -> None:
        """One line of ipvsadm."""
        if "-s" in words:
            name = words[words.index("-s") + 1]
            flags = flag_bits(words[words.index("-b") + 1], name) if "-b" in words else 0
            self.oracle.change(SCHEDULERS[name], flags)
            return
        where = endpoint(words[words.index("-r") + 1])
        if "-d" in words:
            self.oracle.delete(where)
            return
        weight, upper, lower = (int(words[words.index(o) + 1]) if o in words else 0 for o in ("-w", "-x", "-y"))
        self.endpoints[where.address] = where
        change = self.oracle.add if "-a" in words else self.oracle.edit
        change(RealServer(where, weight=weight, upper_threshold=upper, lower_threshold=lower))

    def open(self, one: Opened) -> None:
        chosen = self.oracle.open(Asked(one.client, one.port, one.vip))
        assert (chosen.address if chosen else None) == one.chosen
        if chosen:
            self.opened.append(chosen.address)
            self.carry(chosen.address, 1, 0)

    def carry(self, server: IPAddress, active: int, inactive: int) -> None:
        before = self.loads.get(server, (0, 0))
        self.loads[server] = before[0] + active, before[1] + inactive
        self.oracle.load(self.endpoints[server], *self.loads[server])


@pytest.mark.parametrize("steps", scenarios())
def test_replays_the_kernel(steps: list[Step]) -> None:
    replay = Replay()
    for step in steps:
        replay.take(step)


EDITS = json.loads((GOLDEN / "edits.json").read_text())["scenarios"]


@pytest.mark.parametrize("scenario", EDITS, ids=[f"{number}: {one['scheduler']}" for number, one in enumerate(EDITS)])
def test_replays_the_kernel_through_edits(scenario: dict[str, list[list[object]]]) -> None:
    oracle = SchedulerOracle(SCHEDULERS[str(scenario["scheduler"])])
    for number, event in enumerate(scenario["events"]):
        match event:
            case ["add", int(server), int(weight)]:
                oracle.add(RealServer(numbered(server), weight=weight))
            case ["edit", int(server), int(weight)]:
                oracle.edit(RealServer(numbered(server), weight=weight))
            case ["delete", int(server)]:
                oracle.delete(numbered(server))
            case ["scheduler", str(name)]:
                oracle.change(SCHEDULERS[name])
            case ["open", int(count), list(servers)]:
                expected = [numbered(server) if server else None for server in servers]
                assert [oracle.open() for _ in range(count)] == expected, f"event {number}"


def numbered(server: int) -> Endpoint:
    return endpoint(f"10.30.0.{server}:80")
