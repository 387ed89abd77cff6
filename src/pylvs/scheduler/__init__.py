"""Schedulers: who gets the next connection."""

from pylvs.scheduler.hashed import DH, SH
from pylvs.scheduler.load import FO, LBLC, LBLCR, LC, NONE, NQ, OVF, SED, TWOS, WLC
from pylvs.scheduler.mh import MH
from pylvs.scheduler.ring import FALLBACK, HASHING, PORT, Ring, Scheduler, Selection, Taken
from pylvs.scheduler.rr import RR
from pylvs.scheduler.wrr import MAX_TURNS, WRR

SCHEDULERS: dict[str, Scheduler] = {
    one.name: one for one in (RR, WRR, LC, WLC, LBLC, LBLCR, DH, SH, SED, NQ, FO, OVF, MH, TWOS, NONE)
}

__all__ = ["FALLBACK", "HASHING", "MAX_TURNS", "PORT", "SCHEDULERS", "Ring", "Scheduler", "Selection", "Taken"]
