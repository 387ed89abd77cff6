"""Packets that went through a real kernel's IPVS, sent through ours: the same must come out at the same place."""

from __future__ import annotations

import json
import shlex
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from pylvs.director.ebpf import abi
from tests.golden.comparing import comparable, described
from tests.golden.network import Arrival, Network
from tests.golden.opening import End, opening
from tests.golden.packets_excluded import EXCLUDED
from tests.ipvsadm import ipvsadm

pytestmark = [pytest.mark.root, pytest.mark.lab]


def _sections() -> dict[str, dict[str, Any]]:
    """By name; where a section has a case's name again, the name gets a number."""
    sections = json.loads((Path(__file__).parent / "packets/packets.json").read_text())
    for section in sections:
        names = [case["name"] for case in section["cases"]]
        for number, case in enumerate(section["cases"]):
            if before := names[:number].count(case["name"]):
                case["name"] += f" ({before + 1})"
    return {section["section"]: section for section in sections}


SECTIONS = _sections()
NARROW_MTU = 1400
NARROW = "a real router with MTU 1400 towards the client, NAT"
WITHOUT_PMTU_DISCOVERY = "IPv4 TUN ipip, net.ipv4.vs.pmtu_disc=0"
DELETED_MEANWHILE = {
    "the server is deleted: both directions of its connection (NAT)": "-d -t 10.20.0.100:80 -r 10.30.0.11:80",
    "the service is deleted, another service remains (NAT)": "-D -t 10.20.0.100:80",
    "the last IPv4 service is deleted, an IPv6 service remains (NAT)": "-D -t 10.20.0.100:80",
}
"""What is done there once the connection is open."""


class Stage:
    """The network, furnished for one section at a time."""

    def __init__(self, made: Network) -> None:
        self.network = made
        self.section = ""
        self.played = 0
        self.opened: set[bytes] = set()
        self.services: dict[End, End] = {}

    def play(self, section: str, number: int) -> tuple[list[str], list[str]]:
        """One case, after those before it if it goes on where they ended: what came out, and what should."""
        if section != self.section or number < self.played:
            self._furnish(section)
        cases = SECTIONS[section]["cases"]
        if cases[number]["name"].startswith("then "):
            for earlier in range(self.played, number):
                self._send(cases[earlier])
        self.played = number + 1
        return self._send(cases[number]), _recorded(cases[number])

    def _furnish(self, section: str) -> None:
        self.section, self.played, self.opened, self.services = section, 0, set(), {}
        self.network.reset()
        self.network.settings.knob[abi.Knob.PMTU_DISC] = section != WITHOUT_PMTU_DISCOVERY
        self.network.set_router_mtu(NARROW_MTU if section == NARROW else 1500)
        for command in SECTIONS[section]["setup"]:
            self._ipvsadm(command.removeprefix("ipvsadm "))
        if section in DELETED_MEANWHILE:
            self._open(SECTIONS[section]["cases"][0])
            self._ipvsadm(DELETED_MEANWHILE[section])

    def _ipvsadm(self, command: str) -> None:
        """A refusal shows in what comes out."""
        words = shlex.split(command)
        ipvsadm(words, self.network.director)
        if "-r" in words:
            self.services[_end(words[words.index("-r") + 1])] = _end(words[2])

    def _open(self, case: dict[str, Any]) -> None:
        packet = opening(bytes.fromhex(case["in"][0]), self.services)
        if packet and packet not in self.opened:
            self.opened.add(packet)
            self.network.send("c", packet)
            self.network.arrivals(1)

    def _send(self, case: dict[str, Any]) -> list[str]:
        self._open(case)
        packets = [bytes.fromhex(text) for text in case["in"]]
        for packet in packets:
            self.network.send(case["from"], packet)
        return comparable(self.network.arrivals(len(case["out"])), packets)


def _end(text: str) -> End:
    address, _, port = text.rpartition(":")
    return End(ip_address(address.strip("[]")), int(port))


def _recorded(case: dict[str, Any]) -> list[str]:
    arrivals: list[Arrival] = [(one["at"], bytes.fromhex(one["hex"])) for one in case["out"]]
    return comparable(arrivals, [bytes.fromhex(text) for text in case["in"]])


@pytest.fixture(scope="module")
def stage(wires: Network) -> Stage:
    """Furnished for nothing yet."""
    return Stage(wires)


def _cases() -> list[Any]:
    return [
        pytest.param(name, number, id=f"{name}: {case['name']}")
        for name, section in SECTIONS.items()
        for number, case in enumerate(section["cases"])
    ]


@pytest.mark.parametrize("wires", ["tc", "xdp"], indirect=True, scope="module")
@pytest.mark.parametrize(("section", "number"), _cases())
def test_packet(stage: Stage, section: str, number: int) -> None:
    seen, recorded = stage.play(section, number)
    if (section, SECTIONS[section]["cases"][number]["name"]) in EXCLUDED:
        assert seen != recorded, "it comes out the same by now: take it off EXCLUDED in packets_excluded.py"
        return
    assert seen == recorded, f"came out:\n{described(seen)}\nrecorded:\n{described(recorded)}"


def test_every_exclusion_names_a_case() -> None:
    known = {(name, case["name"]) for name, section in SECTIONS.items() for case in section["cases"]}
    assert EXCLUDED.keys() <= known
