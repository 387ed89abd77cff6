"""Round robin: each server in its turn. The mark is the place in the list: 0 its head, n its n-th server."""

from __future__ import annotations

from pylvs.scheduler.ring import Ring, Scheduler, Selection, eligible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.scheduler.ring import Servers, Taken


def _place(servers: Servers, taken: Taken | None) -> int:
    """An edit keeps the place; if its server is gone, the place is the server before it."""
    if taken is None:
        return 0
    for before in reversed(taken.servers[: _reached(taken)]):
        for place, server in enumerate(servers, 1):
            if server.endpoint == before.endpoint:
                return place
    return 0


def _reached(taken: Taken) -> int:
    turns = eligible(taken.servers)
    return taken.mark if taken.last is None or taken.last >= len(turns) else turns[taken.last] + 1


def _lay_out(servers: Servers, mark: int) -> Ring:
    turns = eligible(servers)
    passed = sum(index < mark for index in turns)
    return Ring(turns, passed % len(turns) if turns else 0, mark)


RR = Scheduler("rr", Selection.TURNS, _place, _lay_out)
