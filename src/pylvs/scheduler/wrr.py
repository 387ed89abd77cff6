"""Weighted round robin: turns in proportion to the weights, heavy servers first.

The list is walked level by level. A level is a weight, and a server has a turn on it if its own weight is as high; from
the highest level the walk goes down in steps of the weights' greatest common divisor, and from the lowest up again.
The mark is the level that the walk is on (0: there is none, every server is quiesced). Any edit starts the walk again
at the head of the list, on the level where it was.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd

from pylvs.scheduler.ring import Ring, Scheduler, Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylvs.scheduler.ring import Servers, Taken

MAX_TURNS = 65536  # a longer ring is scaled down to at most this, but each server has a turn


def _place(servers: Servers, taken: Taken | None) -> int:
    weights = [server.weight for server in servers]
    step = gcd(*weights) or 1
    top = max(weights, default=0) - (step - 1)
    level = top if taken is None else _reached(taken)
    if level > top or level == 0:
        return top
    return level // step * step + 1 if step > 1 else level


def _reached(taken: Taken) -> int:
    step, heights = _heights(taken.servers)
    if taken.last is None or taken.last >= sum(heights):
        return taken.mark
    return (_floor(heights, taken.last) - 1) * step + 1


def _lay_out(servers: Servers, mark: int) -> Ring:
    step, heights = _heights(servers)
    floor = min((mark - 1) // step + 1, max(heights, default=0))
    return Ring(_walk(heights), _turns_above(heights, floor), mark, _turns_above(heights, 1))


def _heights(servers: Servers) -> tuple[int, list[int]]:
    """The step between levels, and each server's height in steps: the number of its turns.

    Scaled down, a server's share of the turns is off by at most (servers + 1) / turns.
    """
    weights = [server.weight for server in servers]
    step = gcd(*weights) or 1
    if sum(weights) // step > MAX_TURNS:
        step = -(-sum(weights) // max(1, MAX_TURNS - len(weights)))
    return step, [weight and max(1, (weight + step // 2) // step) for weight in weights]


def _walk(heights: Sequence[int]) -> tuple[int, ...]:
    """The turns of all floors, top down; floors between two neighbouring heights are alike."""
    turns: list[int] = []
    for height, below in pairwise([*sorted(set(heights) - {0}, reverse=True), 0]):
        turns += [index for index, own in enumerate(heights) if own >= height] * (height - below)
    return tuple(turns)


def _turns_above(heights: Sequence[int], floor: int) -> int:
    return sum([height - floor for height in heights if height > floor])


def _floor(heights: Sequence[int], turn: int) -> int:
    """The floor of a turn: the lowest that has no more turns above it than come before this one."""
    low, high = 1, max(heights)
    while low < high:
        middle = (low + high) // 2
        if _turns_above(heights, middle) <= turn:
            high = middle
        else:
            low = middle + 1
    return low


WRR = Scheduler("wrr", Selection.TURNS, _place, _lay_out)
