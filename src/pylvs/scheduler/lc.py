"""Least connection, plain and weighted: BPF compares the loads, the ring says in which order. Nothing to remember."""

from __future__ import annotations

from pylvs.scheduler.ring import Ring, Scheduler, Selection, eligible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.scheduler.ring import Servers, Taken


def _place(_servers: Servers, _taken: Taken | None) -> int:
    return 0


def _lay_out(servers: Servers, _mark: int) -> Ring:
    return Ring(eligible(servers))


LC = Scheduler("lc", Selection.LEAST, _place, _lay_out)
WLC = Scheduler("wlc", Selection.WEIGHTED_LEAST, _place, _lay_out)
