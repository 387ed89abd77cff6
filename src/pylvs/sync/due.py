"""Which connections a backup is to be told of now. Pure: arrays in, a mask out; times are in ticks of the data plane.

The kernel's master decides with each packet of a connection, which it counts. Here the table is looked over once a
second, and says two things only: the state, and when it ends unless another packet comes. So:

- A state that has not been told is told. (UDP has only one: it is told once a second packet has put off the end.)
- While packets put off the end it is told again: when it has moved by half of the state's timeout, or by
  sync_refresh_period if that is shorter, or when what the backup was told is about to run out.
- Within the refresh period it is repeated up to sync_retries times, an eighth of the period apart.
"""

from __future__ import annotations

from pylvs.director.ebpf.abi import TICKS_A_SECOND
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SOON = 10 * TICKS_A_SECOND
"""What ends sooner for the backup is about to run out; the kernel's master, too, repeats nothing more often."""


class Refresh(Value):
    """What the knobs say of telling a state again. `period` is sync_refresh_period; `repeats` is false where neither
    that nor sync_threshold's second number asks for it.
    """

    period: int = 0
    retries: int = 0
    repeats: bool = True


def later(first: Any, second: Any) -> Any:
    """By how many ticks `first` is later than `second`; the clock of 32 bits goes round."""
    import numpy

    return (numpy.asarray(first, "<u4") - numpy.asarray(second, "<u4")).view("<i4")


def due(refresh: Refresh, now: int, *, deadline: Any, timeout: Any, told: Mapping[str, Any]) -> tuple[Any, Any]:
    """Of connections whose state was told: which are to be told again, and which are repeated within the period.

    `told`: arrays `deadline`, `at` and `tries`, of what was told last.
    """
    import numpy

    moved = later(deadline, told["deadline"])
    if not refresh.repeats:
        nothing = numpy.zeros(len(moved), bool)
        return nothing, nothing
    most = numpy.maximum(timeout // 2, SOON)
    if refresh.period:
        most = numpy.minimum(most, refresh.period)
    runs_out = (moved > 0) & (later(told["deadline"], now) <= SOON)
    regular = (numpy.abs(moved) >= most) | runs_out
    return regular, ~regular & _retried(refresh, now, moved, told)


def _retried(refresh: Refresh, now: int, moved: Any, told: Mapping[str, Any]) -> Any:
    waited = later(now, told["at"]) >= refresh.period // 8
    return (moved > 0) & waited & (told["tries"] < refresh.retries) & bool(refresh.period)
