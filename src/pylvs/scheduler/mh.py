"""Maglev hashing: each server takes places of a table in an order of its own, turn by turn, until none is left.

A server that comes or goes so moves few of the others' clients. Weights are the last that were not 0: quiescing a
server moves nobody. (Eisenbud et al., Maglev, NSDI 2016.)
"""

from __future__ import annotations

from math import gcd

from pylvs.scheduler.ring import Ring, Scheduler, Selection, stands_nowhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pylvs.model import Endpoint
    from pylvs.scheduler.ring import Servers

TURNS = 4093
_WEIGHT_BITS = 6
"""No server has more places in a row than fit these."""


def _order(endpoint: Endpoint) -> Iterator[int]:
    """Every place of the table once, as one server likes them."""
    from pylvs.scheduler.hash import MAGLEV_KEYS, fold, siphash  # no command but those about mh needs it

    key = fold(endpoint.address, endpoint.port)
    place, skip = siphash(key, MAGLEV_KEYS[0]) % TURNS, siphash(key, MAGLEV_KEYS[1]) % (TURNS - 1) + 1
    while True:
        yield place
        place = (place + skip) % TURNS


def _in_a_row(servers: Servers) -> list[int]:
    """How many places each server takes at a time."""
    weights = [server.weight for server in servers]
    unit = gcd(*weights) or 1
    shift = max(0, (max(weights, default=0) // unit).bit_length() - _WEIGHT_BITS)
    return [(weight // unit >> shift) or int(weight > 0) for weight in weights]


def _lay_out(servers: Servers, _mark: int) -> Ring:
    takers = [
        (index, count, _order(servers[index].endpoint)) for index, count in enumerate(_in_a_row(servers)) if count
    ]
    turns: dict[int, int] = {}
    while takers and len(turns) < TURNS:
        for index, count, order in takers:
            for _ in range(min(count, TURNS - len(turns))):
                turns[next(place for place in order if place not in turns)] = index
    return Ring(tuple(turns[place] for place in range(TURNS)) if turns else ())


MH = Scheduler("mh", Selection.MAGLEV, stands_nowhere, _lay_out, by_last_weight=True)
