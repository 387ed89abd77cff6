"""Rates: made in the kernel, by the arithmetic of IPVS, whose figures stand in the transcripts (conn/stats)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pylvs.director.ebpf import abi, libbpf
from pylvs.model import Counters, ForwardingMethod
from tests.ipvsadm import ipvsadm
from tests.packets.plane import Plane
from tests.packets.wire import CIP, RIP1, RIP2, VIP, tcp, word

pytestmark = pytest.mark.root

SERVICE = f"tcp {VIP}:80"
BYTES = 40


def open_connections(plane: Plane, count: int, *, first: int = 1024) -> None:
    for port in range(first, first + count):
        plane.run("tc", tcp(word(CIP), port, word(VIP), 80))


def rates(plane: Plane) -> Counters:
    (snapshot,) = plane.director.rates()
    return snapshot.counters


def expected(counted: list[int], shift: int) -> list[int]:
    """What IPVS says after each two seconds in which so much was counted; its units are 1/1024 (10) and 1/32 (5)."""
    rate, said = 0, []
    for count in counted:
        rate += ((count << shift - 1) - rate) >> 2
        said.append((rate + (1 << shift - 1) - 1) >> shift)
    return said


def test_rise_and_decay_as_in_the_kernel(plane: Plane) -> None:
    plane.serve(SERVICE, f"{RIP1}:80", method=ForwardingMethod.DR)
    counted = [90, 200, 0, 0, 0, 0, 7, 0, 0, 0]
    seen = []
    for turn, count in enumerate(counted):
        open_connections(plane, count, first=1024 + turn * 1000)
        plane.estimate()
        seen.append(rates(plane))
    assert [rate.connections for rate in seen] == expected(counted, 10)
    assert [rate.in_packets for rate in seen] == expected(counted, 10)
    assert [rate.in_bytes for rate in seen] == expected([count * BYTES for count in counted], 5)
    assert {(rate.out_packets, rate.out_bytes) for rate in seen} == {(0, 0)}


def test_the_arithmetic_is_the_kernels() -> None:
    """Ten connections a second for 20 s, then silence: the first and the last two seconds had a part of them only."""
    recorded = json.loads((Path(__file__).parents[1] / "golden" / "conn" / "stats.json").read_text())
    steps = next(case["steps"] for case in recorded["cases"] if case["name"].startswith("rates:"))
    listed = [step["stdout"].splitlines()[3].split() for step in steps if step.get("argv", [""])[-1] == "--rate"]
    said = [int(columns[2]) for columns in listed]
    assert any(
        expected([first] + [20] * 9 + [last] + [0] * 12, 10)[: len(said)] == said
        for first in range(21)
        for last in range(21)
    )


def test_the_kernels_own_figures(plane: Plane) -> None:
    """660 bytes in 9 packets of 3 connections, once: 0 CPS, 1 InPPS, 82 InBPS; a third of that: 0, 0, 27."""
    plane.serve(SERVICE, f"{RIP1}:80", f"{RIP2}:80", method=ForwardingMethod.DR)
    counters = {"service": (3, 9, 0, 660, 0), "server": (1, 3, 0, 220, 0)}
    for name, totals in counters.items():
        size = len(totals) * 8
        raw = b"".join(total.to_bytes(8, "little") for total in totals)
        fd = plane.table.fd(f"{name}_statistics")
        libbpf.update(fd, bytes(4), raw + bytes(size * (libbpf.possible_cpus() - 1)))
        getattr(plane.table, f"{name}_rates")[0].last = abi.Statistics()
    plane.estimate()
    (snapshot,) = plane.director.rates()
    assert snapshot.counters == Counters(0, 1, 0, 82, 0)
    server = next(each for each in snapshot.servers if each.server.endpoint.address.compressed == RIP1)
    assert server.counters == Counters(0, 0, 0, 27, 0)


def test_of_each_server(plane: Plane) -> None:
    plane.serve(SERVICE, f"{RIP1}:80", f"{RIP2}:80", method=ForwardingMethod.DR)
    open_connections(plane, 400)
    plane.estimate()
    (snapshot,) = plane.director.rates()
    assert [server.counters.connections for server in snapshot.servers] == expected([200], 10) * 2


def test_zero(plane: Plane) -> None:
    plane.serve(SERVICE, f"{RIP1}:80", method=ForwardingMethod.DR)
    open_connections(plane, 100)
    plane.estimate()
    open_connections(plane, 100, first=5000)
    plane.director.zero()
    assert rates(plane) == Counters()
    plane.estimate()
    assert rates(plane) == Counters()


def test_a_new_service_begins_with_nothing(plane: Plane) -> None:
    plane.serve(SERVICE, f"{RIP1}:80", method=ForwardingMethod.DR)
    open_connections(plane, 100)
    plane.estimate()
    plane.director.flush()
    plane.serve(f"tcp {VIP}:81", f"{RIP2}:81", method=ForwardingMethod.DR)
    assert rates(plane) == Counters()
    plane.estimate()
    assert rates(plane) == Counters()


def test_none_are_made_when_they_are_switched_off(plane: Plane) -> None:
    plane.serve(SERVICE, f"{RIP1}:80", method=ForwardingMethod.DR)
    plane.director.set_knobs({"run_estimation": 0})
    open_connections(plane, 100)
    plane.estimate()
    assert rates(plane) == Counters()


def test_the_listing(plane: Plane) -> None:
    plane.serve(SERVICE, f"{RIP1}:80", method=ForwardingMethod.DR)
    open_connections(plane, 400)
    plane.estimate()
    outcome = ipvsadm(["-Ln", "--rate"], plane.director)
    rate = 50  # a quarter of 200
    assert outcome.stdout.splitlines()[3].split() == ["TCP", f"{VIP}:80", "50", "50", "0", str(rate * BYTES), "0"]
    assert ipvsadm(["-Ln", "--rate", "-t", f"{VIP}:80"], plane.director).stdout.splitlines()[2].split()[2] == "50"


def test_every_record_has_its_turn_in_two_seconds(plane: Plane) -> None:
    """A sixteenth of them in each tick: each exactly once."""
    for number in range(30):
        plane.serve(f"tcp {VIP}:{1000 + number}", f"{RIP1}:{1000 + number}", method=ForwardingMethod.DR)
        plane.run("tc", tcp(word(CIP), 1024, word(VIP), 1000 + number))
    plane.estimate()
    assert {snapshot.counters.in_bytes for snapshot in plane.director.rates()} == {expected([BYTES], 5)[0]}
    assert {snapshot.servers[0].counters.in_bytes for snapshot in plane.director.rates()} == {expected([BYTES], 5)[0]}
