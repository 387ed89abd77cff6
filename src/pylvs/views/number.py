"""Counters in a column of nine."""

from __future__ import annotations

_UNITS = ((10**8, 1, ""), (10**9, 10**3, "K"), (10**11, 10**6, "M"), (10**14, 10**9, "G"))
"""Below this, divide by that, and say so."""


def large_number(count: int, exact: bool = False) -> str:
    """A blank at least, then the count: shortened from a hundred million up, unless it is to be `exact`."""
    if exact:
        return f" {count:8}"
    for below, divisor, unit in _UNITS:
        if count < below:
            return f"{count // divisor:{9 - len(unit)}}{unit}"
    return f"{count // 10**12:8}T"
