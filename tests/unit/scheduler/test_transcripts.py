"""The schedulers replay what a kernel's IPVS was recorded to choose, connection by connection."""

from __future__ import annotations

import json

import pytest

from pylvs.model import Endpoint, RealServer
from pylvs.scheduler import SCHEDULERS
from pylvs.scheduler.oracle import SchedulerOracle
from tests.golden.scheduling import GOLDEN, Replay, Step, endpoint, scenarios


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
