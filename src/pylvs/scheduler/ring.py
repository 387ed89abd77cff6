"""Python decides, BPF looks up: a scheduler lays out a ring of real servers, the data plane only walks it."""

from __future__ import annotations

from enum import IntEnum

from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylvs.model import RealServer

    Servers = Sequence[RealServer]


class Selection(IntEnum):
    """How the data plane picks from a ring. A load is active * 256 + inactive; of equal ones the first wins."""

    TURNS = 0  # the next turn, round and round
    LEAST = 1  # the least load
    WEIGHTED_LEAST = 2  # the least load / weight, compared as products


class Ring(Value):
    """Indices into the servers that it was made of, quiesced ones left out; no turns: nobody to choose.

    The first turn to take is `turns[start]`. `mark` is the scheduler's own memory (0..2**31-1), to be kept with the
    ring and handed back in `Taken`: it holds where the scheduler stands as long as no turn was taken.
    """

    turns: tuple[int, ...] = ()
    start: int = 0
    mark: int = 0

    def last(self, count: int) -> int | None:
        """The index of the turn taken last, when `count` were taken since this ring was laid out; None for none."""
        return (self.start + count - 1) % len(self.turns) if count and self.turns else None


class Taken(Value):
    """What was before an edit: the servers, the ring's mark, and the index of the turn that was taken last."""

    servers: Servers
    mark: int = 0
    last: int | None = None


class Scheduler(Value):
    """A name of -s. `place` says where it stands after an edit, `lay_out` makes the ring from there.

    `place` alone is cheap: many edits in one go need only one `lay_out`, with the mark that the last `place` gave.
    """

    name: str
    selection: Selection
    place: Callable[[Servers, Taken | None], int]
    lay_out: Callable[[Servers, int], Ring]

    def ring(self, servers: Servers, taken: Taken | None = None) -> Ring:
        """The ring of servers in scheduling order, after one of them was added, edited (even to the same) or deleted.

        Without `taken` the scheduler starts anew, as for a new service or one that changes to this scheduler.
        """
        return self.lay_out(servers, self.place(servers, taken))


def eligible(servers: Servers) -> tuple[int, ...]:
    """The indices of the servers that take new connections."""
    return tuple([index for index, server in enumerate(servers) if server.weight])
