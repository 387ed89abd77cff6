"""Source and destination hashing: BPF hashes an address into a ring of 256 turns. A quiesced server keeps its turns.

So the clients of the others stay where they are; its own find nobody, or the next one (`FALLBACK`).
"""

from __future__ import annotations

from itertools import cycle, islice

from pylvs.scheduler.ring import Ring, Scheduler, Selection, stands_nowhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.scheduler.ring import Servers

TURNS = 256


def _each_in_turn(servers: Servers, _mark: int) -> Ring:
    return Ring(tuple(islice(cycle(range(len(servers))), TURNS)))


def _by_weight(servers: Servers, _mark: int) -> Ring:
    """As many turns in succession as a server weighs, at least one, round and round."""
    turns: list[int] = []
    while servers and len(turns) < TURNS:
        for index, server in enumerate(servers):
            turns += [index] * min(server.weight or 1, TURNS)
    return Ring(tuple(turns[:TURNS]))


DH = Scheduler("dh", Selection.DESTINATION, stands_nowhere, _each_in_turn)
SH = Scheduler("sh", Selection.SOURCE, stands_nowhere, _by_weight)
