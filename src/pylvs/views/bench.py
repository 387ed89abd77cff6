"""How measurements are shown: while they are taken, as tables, and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pylvs.bench.result import Budget, Report, Row
from pylvs.views.lab import console

_ROWS = (
    "Program",
    "Hook",
    "Method",
    "Family",
    "Packets",
    "Flows",
    "Draw",
    "ns",
    "min..max",
    "over empty",
    "x yardstick",
)
_BUDGETS = ("Budget", "Value", "Limit", "Holds")
_FIRST_NUMBER = {_ROWS: 7, _BUDGETS: 1}


class Watch:
    """A progress bar on standard error."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def begin(self, steps: int) -> None:
        """From now on it is known how much there is to do."""
        self._progress.update(self._task, total=steps)

    def step(self) -> None:
        """One of those steps is done."""
        self._progress.advance(self._task)

    def say(self, what: str) -> None:
        """What is done now."""
        self._progress.update(self._task, description=what)


@contextmanager
def watching() -> Iterator[Watch]:
    """The bar is gone afterwards, and never there but on a terminal."""
    out = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # few refreshes: they cost the CPU that is measured
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal, refresh_per_second=2) as progress:
        yield Watch(progress)


def show(report: Report) -> None:
    """Two tables, and a line about the machine."""
    out = console()
    machine = report.machine
    out.print(f"{machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}, {machine['date']}", markup=False)
    out.print(f"one load from memory: {report.miss:.0f} ns\n")
    out.print(_table(_ROWS, [_cells(row) for row in report.rows], out))
    out.print()
    out.print(_table(_BUDGETS, [_budget_cells(budget) for budget in report.budgets], out))


def as_fields(report: Report) -> dict[str, object]:
    """For JSON: nanoseconds to a tenth, ratios to a thousandth."""
    return {
        "machine": dict(report.machine),
        "settings": dict(report.settings),
        "miss_ns": round(report.miss, 1),
        "rows": [_row_fields(row) for row in report.rows],
        "budgets": [_budget_fields(budget) for budget in report.budgets],
    }


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]], out: Console) -> Table:
    made = Table(box=box.SIMPLE_HEAD if out.is_terminal else None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number >= _FIRST_NUMBER[columns] else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def _cells(row: Row) -> tuple[str, ...]:
    about = row.subject
    return (
        about.program,
        about.hook,
        about.method,
        about.family,
        about.direction,
        str(about.flows or ""),
        about.draw,
        f"{row.median:.1f}",
        f"{row.least:.1f}..{row.most:.1f}",
        f"{row.over_empty:.1f}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
    )


def _budget_cells(budget: Budget) -> tuple[str, ...]:
    value, limit = (f"{number:.2f} {budget.unit}".rstrip() for number in (budget.value, budget.limit))
    return budget.what, value, limit, "yes" if budget.holds else "no"


def _row_fields(row: Row) -> dict[str, object]:
    about = row.subject
    return {
        "program": about.program,
        "hook": str(about.hook),
        "method": about.method or None,
        "family": about.family,
        "packets": about.direction or None,
        "flows": about.flows or None,
        "draw": about.draw or None,
        "ns": round(row.median, 1),
        "ns_min": round(row.least, 1),
        "ns_max": round(row.most, 1),
        "ns_over_empty": round(row.over_empty, 1),
        "ratio": None if row.ratio is None else round(row.ratio, 3),
    }


def _budget_fields(budget: Budget) -> dict[str, object]:
    return {
        "what": budget.what,
        "value": round(budget.value, 3),
        "limit": budget.limit,
        "unit": budget.unit or None,
        "holds": budget.holds,
    }
