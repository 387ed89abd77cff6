"""The schedulers replay what a kernel's IPVS was recorded to choose, connection by connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pylvs.model import Endpoint, RealServer, parse_address
from pylvs.scheduler import SCHEDULERS
from pylvs.scheduler.oracle import SchedulerOracle

GOLDEN = Path(__file__).parents[2] / "golden" / "sched"


def scenarios() -> list[Any]:
    """Those without thresholds (-x): an overloaded server is passed over, which no ring can know."""
    return [
        pytest.param(scheduler, scenario, id=f"{scheduler}: {scenario['name']}")
        for scheduler in SCHEDULERS
        for scenario in json.loads((GOLDEN / f"{scheduler}.json").read_text())["scenarios"]
        if not any(" -x " in command for command in commands(scenario))
    ]


def commands(scenario: dict[str, Any]) -> list[str]:
    return [*scenario["setup"], *(event["cmd"] for event in scenario["events"] if event["op"] == "cmd")]


def endpoint(text: str) -> Endpoint:
    address, _, port = text.partition(":")
    return Endpoint(parse_address(address), int(port or 80))


def run(oracle: SchedulerOracle, command: str) -> None:
    """One ipvsadm line; -A starts from nothing, as the oracle does."""
    words = command.split()
    if "-A" in words:
        return
    server = endpoint(words[words.index("-r") + 1])
    if "-d" in words:
        oracle.delete(server)
        return
    weight = int(words[words.index("-w") + 1])
    change = oracle.add if "-a" in words else oracle.edit
    change(RealServer(server, weight=weight))


def chosen(event: dict[str, Any]) -> Endpoint | None:
    return None if event["chosen"] == "ERR Connection refused" else endpoint(event["chosen"])


@pytest.mark.parametrize(("scheduler", "scenario"), scenarios())
def test_replays_the_kernel(scheduler: str, scenario: dict[str, Any]) -> None:
    oracle = SchedulerOracle(SCHEDULERS[scheduler])
    for command in scenario["setup"]:
        run(oracle, command)
    for number, event in enumerate(scenario["events"]):
        match event["op"]:
            case "cmd":
                run(oracle, event["cmd"])
            case "open" | "open+close":
                assert oracle.open() == chosen(event), f"event {number}"
            case "injected SYNs":
                inject(oracle, scenario["sequence"])
            case "close" | "sleep":
                pass  # only the loads change
        for server, (_, active, inactive) in event["after"].items():
            oracle.load(endpoint(server), active, inactive)


def inject(oracle: SchedulerOracle, sequence: list[dict[str, Any]]) -> None:
    """SYNs in one burst, each an active connection; what they chose is in the sequence only."""
    active: dict[Endpoint, int] = {}
    for number, one in enumerate(sequence):
        server = oracle.open()
        assert server == chosen(one), f"SYN {number}"
        assert server is not None
        active[server] = active.get(server, 0) + 1
        oracle.load(server, active[server], 0)


EDITS = json.loads((GOLDEN / "edits.json").read_text())["scenarios"]


@pytest.mark.parametrize("scenario", EDITS, ids=[f"{number}: {one['scheduler']}" for number, one in enumerate(EDITS)])
def test_replays_the_kernel_through_edits(scenario: dict[str, Any]) -> None:
    oracle = SchedulerOracle(SCHEDULERS[scenario["scheduler"]])
    for number, event in enumerate(scenario["events"]):
        match event:
            case ["add", server, weight]:
                oracle.add(RealServer(numbered(server), weight=weight))
            case ["edit", server, weight]:
                oracle.edit(RealServer(numbered(server), weight=weight))
            case ["delete", server]:
                oracle.delete(numbered(server))
            case ["scheduler", name]:
                oracle.change(SCHEDULERS[name])
            case ["open", count, servers]:
                expected = [numbered(server) if server else None for server in servers]
                assert [oracle.open() for _ in range(count)] == expected, f"event {number}"


def numbered(server: int) -> Endpoint:
    return endpoint(f"10.30.0.{server}")
