"""The sequential reference of the data plane's choices: one service, one connection at a time."""

from __future__ import annotations

from fractions import Fraction

from pylvs.scheduler.ring import Scheduler, Selection, Taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.model import Endpoint, RealServer


class SchedulerOracle:
    """Tells which server the next connection must go to. Loads change only by `load`: it keeps no connections."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.servers: tuple[RealServer, ...] = ()
        self.ring = scheduler.ring(())
        self._taken = 0
        self._loads: dict[Endpoint, int] = {}

    def add(self, server: RealServer) -> None:
        """It comes first in the list."""
        self._edited((server, *self.servers))

    def edit(self, server: RealServer) -> None:
        """It keeps its position."""
        self._edited(tuple(server if one.endpoint == server.endpoint else one for one in self.servers))

    def delete(self, endpoint: Endpoint) -> None:
        self._edited(tuple(one for one in self.servers if one.endpoint != endpoint))

    def change(self, scheduler: Scheduler) -> None:
        """Another scheduler starts anew; the same one goes on."""
        if scheduler != self.scheduler:
            self.scheduler = scheduler
            self.ring, self._taken = scheduler.ring(self.servers), 0

    def load(self, endpoint: Endpoint, active: int, inactive: int) -> None:
        """The connections that a server has from now on."""
        self._loads[endpoint] = active * 256 + inactive

    def open(self) -> Endpoint | None:
        """The server of the next connection; None when there is none to be had."""
        next_turn = self.ring.last(self._taken + 1)
        if next_turn is None:
            return None
        if self.scheduler.selection is Selection.TURNS:
            self._taken += 1
            return self.servers[self.ring.turns[next_turn]].endpoint
        return min((self.servers[turn] for turn in self.ring.turns), key=self._burden).endpoint

    def _burden(self, server: RealServer) -> Fraction:
        weight = server.weight if self.scheduler.selection is Selection.WEIGHTED_LEAST else 1
        return Fraction(self._loads.get(server.endpoint, 0), weight)

    def _edited(self, servers: tuple[RealServer, ...]) -> None:
        taken = Taken(self.servers, self.ring.mark, self.ring.last(self._taken))
        self.ring = self.scheduler.ring(servers, taken)
        self.servers, self._taken = servers, 0
