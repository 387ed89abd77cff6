"""The schedulers that look at loads or weights when a connection comes: BPF compares, the ring says in which order.

There is nothing to remember between two edits. What each compares is said at `Selection`.
"""

from __future__ import annotations

from pylvs.scheduler.ring import Ring, Scheduler, Selection, eligible, stands_nowhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.scheduler.ring import Servers


def _lay_out(servers: Servers, _mark: int) -> Ring:
    return Ring(eligible(servers))


def _nobody(_servers: Servers, _mark: int) -> Ring:
    return Ring()


LC = Scheduler("lc", Selection.LEAST, stands_nowhere, _lay_out)
WLC = Scheduler("wlc", Selection.WEIGHTED_LEAST, stands_nowhere, _lay_out)
SED = Scheduler("sed", Selection.SHORTEST_DELAY, stands_nowhere, _lay_out)
NQ = Scheduler("nq", Selection.NEVER_QUEUE, stands_nowhere, _lay_out)
FO = Scheduler("fo", Selection.HEAVIEST, stands_nowhere, _lay_out)
OVF = Scheduler("ovf", Selection.HEAVIEST_NOT_FULL, stands_nowhere, _lay_out)
TWOS = Scheduler("twos", Selection.LESS_OF_TWO, stands_nowhere, _lay_out)
LBLC = Scheduler("lblc", Selection.LOCALITY, stands_nowhere, _lay_out)
LBLCR = Scheduler("lblcr", Selection.LOCALITY_SET, stands_nowhere, _lay_out)
NONE = Scheduler("none", Selection.TURNS, stands_nowhere, _nobody)
