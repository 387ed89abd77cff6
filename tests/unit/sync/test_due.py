"""When what was told is told again: rows of ticks. The clock goes round in the last of them."""

from __future__ import annotations

import numpy as np
import pytest

from pylvs.director.ebpf.abi import TICKS_A_SECOND as SECOND
from pylvs.sync.due import Refresh, due, later

NOW, TIMEOUT = 10_000, 900 * SECOND


def asked(refresh: Refresh, *, moved: int, ago: int = 0, tries: int = 0, left: int = TIMEOUT, now: int = NOW) -> str:
    """`left`: ticks until what was told last ends. "again", "repeated" or ""."""
    end = np.array([(now + left) % 2**32], "<u4")
    told = {"deadline": end, "at": np.array([(now - ago) % 2**32], "<u4"), "tries": np.array([tries], "u1")}
    timeout = np.array([TIMEOUT], "<u4")
    regular, retried = due(refresh, now, deadline=end + np.uint32(moved), timeout=timeout, told=told)
    return "again" if regular[0] else "repeated" if retried[0] else ""


PERIOD = Refresh(16 * SECOND, 2)
ROWS = {
    "nothing has come since": (Refresh(), {"moved": 0}, ""),
    "less than half of the timeout": (Refresh(), {"moved": 449 * SECOND}, ""),
    "half of the timeout": (Refresh(), {"moved": 450 * SECOND}, "again"),
    "the backup's copy is about to end": (Refresh(), {"moved": 1, "left": 10 * SECOND}, "again"),
    "it ends here as well": (Refresh(), {"moved": 0, "left": 10 * SECOND}, ""),
    "no knob asks for it": (Refresh(0, 0, repeats=False), {"moved": 450 * SECOND}, ""),
    "the refresh period": (PERIOD, {"moved": 16 * SECOND, "ago": 16 * SECOND}, "again"),
    "before an eighth of it": (PERIOD, {"moved": SECOND, "ago": SECOND}, ""),
    "an eighth of it": (PERIOD, {"moved": SECOND, "ago": 2 * SECOND}, "repeated"),
    "as often as sync_retries": (PERIOD, {"moved": SECOND, "ago": 2 * SECOND, "tries": 2}, ""),
    "silence is not repeated": (PERIOD, {"moved": 0, "ago": 2 * SECOND}, ""),
    "while the clock goes round": (Refresh(), {"moved": 450 * SECOND, "now": 2**32 - SECOND}, "again"),
    "about to end while it goes round": (Refresh(), {"moved": 1, "left": 4 * SECOND, "now": 2**32 - SECOND}, "again"),
}


@pytest.mark.parametrize(("refresh", "ticks", "expected"), ROWS.values(), ids=ROWS)
def test_row(refresh: Refresh, ticks: dict[str, int], expected: str) -> None:
    assert asked(refresh, **ticks) == expected


def test_later_is_a_distance_on_a_clock() -> None:
    assert later(np.uint32(2), np.uint32(2**32 - 2)) == 4
    assert later(np.uint32(2**32 - 2), np.uint32(2)) == -4
