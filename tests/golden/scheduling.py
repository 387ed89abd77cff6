"""What a kernel's IPVS was recorded to choose, as steps that the Python models and the data plane both can take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pylvs.model import Endpoint, IPAddress, RealServer
from pylvs.scheduler import SCHEDULERS as KNOWN
from pylvs.scheduler.oracle import Asked, SchedulerOracle
from pylvs.views.flag import flag_bits

GOLDEN = Path(__file__).parent / "sched"
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh")
_FLAGS = {0x08: "fallback", 0x10: "port"}


class Opened(NamedTuple):
    """A connection, and the server that the kernel chose for it."""

    client: IPAddress
    port: int
    vip: IPAddress
    chosen: IPAddress | None


class Step(NamedTuple):
    """A command line of ipvsadm, or connections that are opened, or that become inactive (numbers of those opened).

    `loads` are the active and inactive connections of servers after it, where they were recorded.
    """

    command: str = ""
    opened: tuple[Opened, ...] = ()
    closed: Sequence[int] = ()
    loads: dict[IPAddress, tuple[int, int]] | None = None


def endpoint(text: str) -> Endpoint:
    """`10.30.0.11:80`, `[fd00::1]:80`."""
    address, _, port = text.rpartition(":")
    return Endpoint(ip_address(address.strip("[]")), int(port))


def _read(name: str) -> list[dict[str, Any]]:
    scenarios: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text())["scenarios"]
    return scenarios


def scenarios() -> list[Any]:
    """Every recorded scenario as pytest's parameter: its steps."""
    told = [
        pytest.param(list(_told(scenario)), id=f"{scheduler}: {scenario['name']}")
        for scheduler in SCHEDULERS
        for scenario in _read(scheduler)
    ]
    by_chance = [
        pytest.param(list(drawn(scenario)), id=f"random {number}: {scenario['scheduler']}")
        for number, scenario in enumerate(_read("random"))
    ]
    return told + by_chance


def _told(scenario: dict[str, Any]) -> Iterator[Step]:
    yield from (Step(command) for command in scenario["setup"])
    for event in scenario["events"]:
        loads = {
            ip_address(server.strip("[]")): (active, inactive)
            for server, (_, active, inactive) in event["after"].items()
        }
        match event["op"]:
            case "cmd":
                yield Step(event["cmd"], loads=loads)
            case "injected SYNs":
                yield Step(opened=tuple(_opened(one) for one in scenario["sequence"]), loads=loads)
            case "open" | "open+close":
                yield Step(opened=(_opened(event),), loads=loads)
            case _:
                yield Step(loads=loads)


def _opened(event: dict[str, Any]) -> Opened:
    refused = event["chosen"] == "none" or event["chosen"].startswith("ERR")
    vip = ip_address(event.get("vip", "10.20.0.100"))
    return Opened(ip_address(event["client"]), event["port"], vip, None if refused else ip_address(event["chosen"]))


def drawn(scenario: dict[str, Any]) -> Iterator[Step]:
    """The steps of a scenario that was drawn by chance."""
    service, port = ("-f 1", 0) if scenario["mark"] else ("-t 10.20.0.100:80", 80)
    network, exists = scenario["network"].removesuffix("0"), False
    clients, vips = ([ip_address(one) for one in scenario[which]] for which in ("clients", "vips"))
    for event in scenario["events"]:
        match event:
            case ["scheduler", name, flags]:
                words = ",".join(f"{name}-{word}" for bit, word in _FLAGS.items() if flags & bit)
                yield Step(f"ipvsadm {'-E' if exists else '-A'} {service} -s {name} {f'-b {words}' if words else ''}")
                exists = True
            case ["add" | "edit" as how, server, weight, upper, lower]:
                options = f"-r {network}{server}:{port} -g -w {weight} -x {upper} -y {lower}"
                yield Step(f"ipvsadm {'-a' if how == 'add' else '-e'} {service} {options}")
            case ["delete", server]:
                yield Step(f"ipvsadm -d {service} -r {network}{server}:{port}")
            case ["open", opened]:
                yield Step(
                    opened=tuple(
                        Opened(clients[c], p, vips[v], ip_address(f"{network}{n}") if n else None)
                        for c, p, v, n in opened
                    )
                )
            case ["close", closed]:
                yield Step(closed=closed)


class Replay:
    """A service's oracle, and the loads that its choices make; it must choose as the kernel did."""

    def __init__(self) -> None:
        self.oracle = SchedulerOracle(KNOWN["rr"])
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
            self.oracle.change(KNOWN[name], flags)
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
