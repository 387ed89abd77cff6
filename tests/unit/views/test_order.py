"""The order of listings, against recordings of what the C library made of the kernel's order."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylvs.model import (
    Endpoint,
    FirewallMark,
    Protocol,
    RealServer,
    ServerSnapshot,
    ServiceId,
    ServiceSnapshot,
    VirtualAddress,
    VirtualService,
    parse_address,
)
from pylvs.views.order import servers_in_order, services_in_order

TRANSCRIPTS = Path(__file__).parents[2] / "golden" / "cli"

_MARK = re.compile(r"FWM  (-?\d+)( IPv6)? ")
_ADDRESS = re.compile(r"(TCP|UDP|SCTP) +\[?([^]]+?)\]?:(\d+) ")


def listed(text: str) -> list[ServiceId]:
    """The services of a numeric listing."""
    found: list[ServiceId] = []
    for line in text.splitlines():
        if mark := _MARK.match(line):
            found.append(FirewallMark(int(mark[1]) % 2**32, 6 if mark[2] else 4))
        elif service := _ADDRESS.match(line):
            found.append(VirtualAddress(Protocol[service[1]], Endpoint(parse_address(service[2]), int(service[3]))))
    return found


def recordings() -> list[Any]:
    """Pairs of the same table, in the kernel's order and sorted, whose differences wrap."""
    pairs = []
    for file in ("list", "more-order"):
        for case in json.loads((TRANSCRIPTS / f"{file}.json").read_text())["cases"]:
            if "wrap" in case["name"]:
                listings = {"--nosort" in s["argv"]: listed(s["stdout"]) for s in case["steps"] if "-Ln" in s["argv"]}
                pairs.append(pytest.param(listings[True], listings[False], id=f"{file}: {case['name']}"))
    return pairs


def snapshots(ids: list[ServiceId]) -> list[ServiceSnapshot]:
    return [ServiceSnapshot(VirtualService(id)) for id in ids]


@pytest.mark.parametrize(("kernel_order", "order"), recordings())
def test_sorts_differences_that_wrap_as_recorded(kernel_order: list[ServiceId], order: list[ServiceId]) -> None:
    assert len(order) > 10
    assert [snapshot.service.id for snapshot in services_in_order(snapshots(kernel_order))] == order


NEAR = st.lists(st.integers(0x80000000, 0xFFFFFFFE).map(IPv4Address), unique=True, max_size=40)


@given(NEAR)
def test_sorts_by_address_where_nothing_wraps(addresses: list[IPv4Address]) -> None:
    ids: list[ServiceId] = [VirtualAddress(Protocol.TCP, Endpoint(address, 80)) for address in addresses]
    ordered = [snapshot.service.id for snapshot in services_in_order(snapshots(ids))]
    assert ordered == [VirtualAddress(Protocol.TCP, Endpoint(address, 80)) for address in sorted(addresses)]


@given(st.lists(st.tuples(st.sampled_from(["10.0.0.1", "200.0.0.1", "fd00::1"]), st.integers(0, 9)), max_size=40))
def test_is_stable(rows: list[tuple[str, int]]) -> None:
    """Servers that compare the same keep the order they came in, wrapped or not."""
    servers = [
        ServerSnapshot(RealServer(Endpoint(parse_address(address), 80), weight=weight)) for address, weight in rows
    ]
    ordered = servers_in_order(servers)
    for address in {snapshot.server.endpoint for snapshot in servers}:
        assert [s for s in ordered if s.server.endpoint == address] == [
            s for s in servers if s.server.endpoint == address
        ]
