"""A whole run: go where it is measured, load, fill, measure, conclude."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from pylvs import __version__
from pylvs.bench import place
from pylvs.bench.budget import budgets, memory
from pylvs.bench.case import Bench
from pylvs.bench.measure import measure, miss
from pylvs.bench.result import Report, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from pylvs.bench.case import Plan

    class Progress(Protocol):
        """Somebody who watches."""

        def begin(self, steps: int) -> None:
            """From now on it is known how much there is to do."""

        def step(self) -> None:
            """One of those steps is done."""

        def say(self, what: str) -> None:
            """What is done now."""


def run(plan: Plan, cpu: int | None, progress: Progress) -> Report:
    """Raises `NotPermitted`, `NotSupportedHere` and `DataPlaneError`. This process is of no other use afterwards."""
    interface = place.enter()
    place.settle(max(os.sched_getaffinity(0)) if cpu is None else cpu)
    progress.say("one cache miss")
    one_miss = miss(interface, plan)
    bench = Bench(interface, plan, progress.say)
    try:
        progress.begin(plan.rounds * len(bench.cases))
        progress.say("measuring")
        measured = rows(measure(bench.cases, plan, progress.step))
        bench.check()
        found = [*budgets(measured, one_miss), *memory(bench.filled())]
    finally:
        bench.close()
    settings = {"rounds": plan.rounds, "milliseconds": plan.milliseconds, "load": plan.load}
    return Report(_machine(), settings, one_miss, measured, found)


def _machine() -> dict[str, object]:
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "pylvs": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == "model name"), platform.machine())
