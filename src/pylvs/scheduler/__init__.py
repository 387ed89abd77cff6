"""Schedulers: who gets the next connection."""

from pylvs.scheduler.lc import LC, WLC
from pylvs.scheduler.ring import Ring, Scheduler, Selection, Taken
from pylvs.scheduler.rr import RR
from pylvs.scheduler.wrr import MAX_TURNS, WRR

SCHEDULERS: dict[str, Scheduler] = {scheduler.name: scheduler for scheduler in (RR, WRR, LC, WLC)}

__all__ = ["MAX_TURNS", "SCHEDULERS", "Ring", "Scheduler", "Selection", "Taken"]
