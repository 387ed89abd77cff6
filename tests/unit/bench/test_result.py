"""What follows from measurements: differences, ratios, budgets."""

from __future__ import annotations

import pytest

from pylvs.bench.budget import budgets, memory
from pylvs.bench.result import (
    DIRECTOR,
    EMPTY,
    INSERT_HASH,
    INSERT_LRU,
    MINIMAL,
    ROOM,
    Budget,
    Row,
    Subject,
    rows,
)


def established(program: str, method: str, flows: int, hook: str = "xdp", direction: str = "request") -> Subject:
    return Subject(program, hook, method, direction, flows, "uniform")


def other(program: str, method: str, value: int, family: str = "ipv4") -> dict[Subject, list[int]]:
    return {established(program, method, 1024).replace(family=family): [value]}


def new(program: str, method: str = "") -> Subject:
    return Subject(program, "xdp", method, "new", 4096, "ordered")


SAMPLES = {
    Subject(EMPTY, "xdp", draw="uniform"): [26, 25, 24],
    Subject(EMPTY, "tc", draw="uniform"): [30],
    Subject(EMPTY, "xdp", draw="ordered"): [25],
    established(MINIMAL, "dr", 1024): [80, 81, 95],
    established(DIRECTOR, "dr", 1024): [65, 67, 66],
    established(DIRECTOR, "nat", 1024): [76],
    established(DIRECTOR, "nat", 1024, direction="reply"): [137],
    established(MINIMAL, "dr", 1024, "tc"): [90],
    established(DIRECTOR, "dr", 1024, "tc"): [75],
    established(MINIMAL, "dr", 4096): [425],
    established(DIRECTOR, "dr", 4096): [265],
    established(DIRECTOR, "nat", 4096): [290],
    new(INSERT_LRU): [325],
    new(INSERT_HASH): [225],
    new("director, wlc of 16", "dr"): [125],
}


def measured() -> dict[Subject, Row]:
    return {row.subject: row for row in rows(SAMPLES)}


def test_rows_keep_the_order_and_show_median_and_spread() -> None:
    assert [row.subject for row in rows(SAMPLES)] == list(SAMPLES)
    row = measured()[established(DIRECTOR, "dr", 1024)]
    assert (row.median, row.least, row.most) == (66, 65, 67)


@pytest.mark.parametrize(
    ("subject", "over_empty", "ratio"),
    [
        (Subject(EMPTY, "xdp", draw="uniform"), 0, None),
        (established(MINIMAL, "dr", 1024), 56, 1),
        (established(DIRECTOR, "dr", 1024), 41, 41 / 56),
        (established(DIRECTOR, "nat", 1024, direction="reply"), 112, 2),
        (established(DIRECTOR, "dr", 1024, "tc"), 45, 0.75),  # of its own hook's yardstick
        (established(DIRECTOR, "dr", 4096), 240, 0.6),
        (new("director, wlc of 16", "dr"), 100, 1 / 3),
        (new(INSERT_HASH), 200, 2 / 3),
    ],
)
def test_a_row_is_above_the_empty_program_and_a_multiple_of_its_yardstick(
    subject: Subject, over_empty: float, ratio: float | None
) -> None:
    row = measured()[subject]
    assert (row.over_empty, row.ratio) == (over_empty, ratio)


def test_budgets_are_those_of_the_design() -> None:
    found = {budget.what: budget for budget in budgets(rows(SAMPLES), miss=200)}
    assert found == {
        budget.what: budget
        for budget in (
            Budget("XDP, DR, 1024 flows: of the minimal LRU_HASH program", 41 / 56, 1.0, "x"),
            Budget("XDP, DR, 4096 flows: of the minimal LRU_HASH program", 0.6, 0.5, "x"),
            Budget("XDP, DR, 4096 flows: cache misses", 1.2, 1.5),
            Budget("XDP, 1024 flows: NAT over DR", 10, 20.0, "ns"),
            Budget("XDP, 4096 flows: NAT over DR", 25, 20.0, "ns"),
            Budget("new connection, director, wlc of 16: of a HASH insertion", 0.5, 0.6, "x"),
        )
    }
    assert [budget.holds for budget in found.values()] == [True, False, True, True, False, True]


def test_what_was_not_measured_has_no_budget() -> None:
    assert budgets([], miss=200) == []


def test_a_method_is_held_against_the_simpler_one() -> None:
    room = {Subject(ROOM, "xdp", draw="uniform"): [45]}
    measured = rows(SAMPLES | room | other(DIRECTOR, "tun ipip", 100) | other(DIRECTOR, "fullnat", 110))
    over = [budget for budget in budgets(measured, miss=200) if "over NAT" in budget.what]
    assert over == [
        Budget("XDP, 1024 flows: TUN IPIP over NAT", 14, 30.0, "ns"),
        Budget("XDP, 1024 flows: FULLNAT over NAT", 34, 30.0, "ns"),
    ]
    assert [budget.holds for budget in over] == [True, False]


def test_ipv6_is_held_against_ipv4_above_its_own_empty_program() -> None:
    floor = {Subject(EMPTY, "xdp", draw="uniform", family="ipv6"): [30]}
    measured = rows(SAMPLES | floor | other(DIRECTOR, "dr", 91, family="ipv6"))
    found = [budget for budget in budgets(measured, miss=200) if "IPv6" in budget.what]
    assert found == [Budget("XDP, 1024 flows: DR request: IPv6 of IPv4", 61 / 41, 1.25, "x")]


def test_what_is_not_used_costs_nothing() -> None:
    measured = rows(SAMPLES | other(f"{DIRECTOR}, beside marks", "dr", 68))
    found = [budget for budget in budgets(measured, miss=200) if "marks" in budget.what]
    assert found == [Budget("XDP, DR, 1024 flows: beside marks, over none of it", 2, 3.0, "ns")]


def test_memory_is_held_against_what_a_method_may_take() -> None:
    assert memory({"DR": (1, 95.5), "NAT": (2, 193)}) == [
        Budget("DR: memory of a connection, a table 0.67 full", 95.5, 96.0, "B"),
        Budget("NAT: memory of a connection, a table 0.67 full", 193, 192.0, "B"),
    ]
