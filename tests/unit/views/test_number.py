"""Counters in their columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylvs.views.number import large_number

COLUMNS = {
    0: "        0",
    99_999_999: " 99999999",
    100_000_000: "  100000K",
    999_999_999: "  999999K",
    1_000_000_000: "    1000M",
    99_999_999_999: "   99999M",
    100_000_000_000: "     100G",
    99_999_999_999_999: "   99999G",
    100_000_000_000_000: "     100T",
    2**64 - 1: "18446744T",
}


@pytest.mark.parametrize(("count", "text"), COLUMNS.items())
def test_shortens_what_is_too_large(count: int, text: str) -> None:
    assert large_number(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    {0: "        0", 99_999_999: " 99999999", 10**9: " 1000000000", 2**64 - 1: " 18446744073709551615"}.items(),
)
def test_prints_exactly(count: int, text: str) -> None:
    assert large_number(count, exact=True) == text


@given(st.integers(0, 2**64 - 1))
def test_never_exceeds_the_column_nor_the_truth(count: int) -> None:
    text = large_number(count)
    assert len(text) == 9
    unit = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}.get(text[-1], 1)
    shown = int(text.rstrip("KMGT")) * unit
    assert shown <= count < shown + unit
