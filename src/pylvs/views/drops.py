"""How drops are shown: the most frequent reason first, with its meaning and its remedy."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pylvs.director.ebpf.reason import MANUAL

_COLUMNS = ("Reason", "Packets", "What it means", "What to do")


def show(counts: Mapping[str, int], *, everything: bool) -> None:
    """A table; in a pipe or a file a line for each reason that begins with its name and count."""
    from pylvs.views.lab import console, table

    out = console()
    shown = {reason: count for reason, count in ordered(counts).items() if count or everything}
    if not shown:
        print("no packet was dropped", file=sys.stderr)
    elif out.is_terminal:
        rows = ((reason, str(count), *MANUAL[reason]) for reason, count in shown.items())
        out.print(table(_COLUMNS, rows, out))
    else:
        for reason, count in shown.items():
            print(f"{reason:<16} {count:>10}  {'; '.join(MANUAL[reason])}")


def ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest first."""
    return dict(sorted(counts.items(), key=lambda entry: -entry[1]))


def as_fields(counts: Mapping[str, int]) -> dict[str, dict[str, object]]:
    """For JSON, by reason."""
    return {
        reason: {"count": count, "cause": MANUAL[reason][0], "remedy": MANUAL[reason][1]}
        for reason, count in ordered(counts).items()
    }
