"""What a kernel's master was recorded to send, taken in by the eBPF director: it lists then what the kernel listed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pylvs.director.ebpf.incoming import Incoming
from pylvs.sync.message import decode
from tests.ipvsadm import ipvsadm
from tests.packets.plane import Plane
from tests.packets.space import ip

pytestmark = pytest.mark.root

CASES = json.loads((Path(__file__).parent / "sync" / "datagrams.json").read_text())["cases"]
TOLD = [case for case in CASES if case["open"]["datagrams"]]
_VERSION_0_TEMPLATE = 180
_SECONDS = 10  # between the kernel's last word and its listing


@pytest.fixture(scope="module")
def machine(loaded: Plane) -> Iterator[Plane]:
    """With a way to the recorded servers."""
    ip("address add fd00:20::2/64 dev eth0 nodad", "route add fd00:30::/64 via fd00:20::1", six=True)
    yield loaded
    loaded.reset()
    ip("address delete fd00:20::2/64 dev eth0", six=True)


def rows(listing: str) -> dict[tuple[str, ...], int]:
    """Seconds left, by all else that a line says."""
    found = {}
    for line in listing.splitlines()[2:]:
        protocol, left, *rest = line.split()
        minutes, seconds = left.split(":")
        found[protocol, *rest] = int(minutes) * 60 + int(seconds)
    return found


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in TOLD])
def test_a_backup_lists_what_the_kernels_master_lists(machine: Plane, case: dict[str, Any]) -> None:
    machine.reset()
    for line in case["setup"]:
        assert ipvsadm(shlex.split(line)[1:], machine.director) == ("", "", 0)
    incoming = Incoming(machine.table)
    for when in ("open", "closed"):
        if when not in case:
            continue
        for datagram in case[when]["datagrams"]:
            message = decode(bytes.fromhex(datagram))
            assert message is not None
            assert incoming.take(message.connections) == len(message.connections)
        listed = rows(ipvsadm(["-Lnc"], machine.director).stdout)
        recorded = rows(case[when]["connections"])
        if case["name"] == "persist mode":
            recorded = {row: left for row, left in recorded.items() if row[1] == "ASSURED"}
        assert listed.keys() == recorded.keys()
        for row, left in listed.items():
            if "version 0" in case["name"] and row[1] == "ASSURED":
                assert left == _VERSION_0_TEMPLATE
            else:
                assert 0 <= left - recorded[row] < _SECONDS
