"""Python decides, BPF looks up: a scheduler lays out a ring of real servers, the data plane only walks it."""

from __future__ import annotations

from enum import IntEnum

from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylvs.model import RealServer

    Servers = Sequence[RealServer]


FALLBACK, PORT = 0x08, 0x10
"""The flags (-b) of a scheduler that hashes the client: look on where nobody may be chosen; take its port, too."""


class Selection(IntEnum):
    """How the data plane picks from a ring. A load is active * 256 + inactive; of equal ones the first wins.

    Servers that are overloaded are passed over, but hashing then finds nobody, unless the service has `FALLBACK`.
    """

    TURNS = 0  # the next turn, round and round
    LEAST = 1  # the least load
    WEIGHTED_LEAST = 2  # the least load / weight, compared as products
    SHORTEST_DELAY = 3  # the least (active + 1) / weight
    NEVER_QUEUE = 4  # the first without active connections, or else the shortest delay
    HEAVIEST = 5  # the highest weight
    HEAVIEST_NOT_FULL = 6  # the highest weight of those with no more active connections than they weigh
    LESS_OF_TWO = 7  # of two that are drawn by weight the one with the lesser load / weight
    LOCALITY = (
        8  # whom the destination had before, unless he is busy and another is idle; or else the least load / weight
    )
    LOCALITY_SET = 9  # the same with several for a destination, of which the least loaded has it
    SOURCE = 10  # the turn that the client's address names (with `PORT` its port as well)
    DESTINATION = 11  # the turn that the packet's destination names
    MAGLEV = 12  # as SOURCE, by a hash that spreads better


HASHING = (Selection.SOURCE, Selection.DESTINATION, Selection.MAGLEV)
"""Of these a ring has its quiesced servers, too, so that the places of the others stay."""


class Ring(Value):
    """Indices into the servers that it was made of, quiesced ones left out (but see `HASHING`); none: nobody to choose.

    The first turn to take is `turns[start]`. `mark` is the scheduler's own memory (0..2**31-1), to be kept with the
    ring and handed back in `Taken`: it holds where the scheduler stands as long as no turn was taken. Whoever searches
    in vain, because all are overloaded, before turn `last_lap` has begun, begins again at the first turn.
    """

    turns: tuple[int, ...] = ()
    start: int = 0
    mark: int = 0
    last_lap: int = 0

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
    With `by_last_weight` quiesced servers are to be handed to it with the weight that they had before.
    """

    name: str
    selection: Selection
    place: Callable[[Servers, Taken | None], int]
    lay_out: Callable[[Servers, int], Ring]
    by_last_weight: bool = False

    def ring(self, servers: Servers, taken: Taken | None = None) -> Ring:
        """The ring of servers in scheduling order, after one of them was added, edited (even to the same) or deleted.

        Without `taken` the scheduler starts anew, as for a new service or one that changes to this scheduler.
        """
        return self.lay_out(servers, self.place(servers, taken))


def eligible(servers: Servers) -> tuple[int, ...]:
    """The indices of the servers that take new connections."""
    return tuple([index for index, server in enumerate(servers) if server.weight])


def stands_nowhere(_servers: Servers, _taken: Taken | None) -> int:
    """The `place` of a scheduler that has none."""
    return 0
