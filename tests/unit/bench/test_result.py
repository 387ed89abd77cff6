"""What follows from measurements: differences, ratios, budgets."""

from __future__ import annotations

import pytest

from pylvs.bench.result import (
    DIRECTOR,
    EMPTY,
    INSERT_HASH,
    INSERT_LRU,
    MINIMAL,
    Budget,
    Row,
    Subject,
    budgets,
    rows,
)


def established(program: str, method: str, flows: int, hook: str = "xdp", direction: str = "request") -> Subject:
    return Subject(program, hook, method, direction, flows, "uniform")


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
