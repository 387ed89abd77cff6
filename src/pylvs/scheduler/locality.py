"""The sequential reference of lblc and lblcr: which servers a destination had, and for how long that is remembered."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pylvs.model import IPAddress
    from pylvs.scheduler.oracle import Standing

_CHECK_SECONDS = 1800
"""So often the kernel looks for destinations that nobody wanted for long, from when the scheduler was set."""


class _Remembered:
    """The servers of one destination, the one added last first."""

    def __init__(self) -> None:
        self.servers: list[Standing] = []
        self.used = self.changed = 0.0


class Locality:
    """The table of one service. The times are in seconds."""

    def __init__(self, *, several: bool, since: float) -> None:
        self.expiration = 86400
        self.now = since
        self._several, self._since = several, since
        self._destinations: dict[IPAddress, _Remembered] = {}

    def choose(self, destination: IPAddress, servers: Sequence[Standing]) -> Standing | None:
        """The server of the next connection to a destination, of all the service's servers in their order."""
        known = self._destinations.get(destination)
        if known and self._is_forgotten(known):
            known = None
        if known:
            known.used = self.now
            server = self._remembered(known)
            if server and not _is_busy(server, servers):
                return server
        chosen = _least(one for one in servers if one.eligible)
        if chosen:
            self._remember(destination, known, chosen)
        return chosen

    def _is_forgotten(self, known: _Remembered) -> bool:
        """It had been unused for too long when the kernel last looked."""
        last_look = (self.now - self._since) // _CHECK_SECONDS * _CHECK_SECONDS + self._since
        return last_look > self._since and known.used + self.expiration <= last_look

    def _remembered(self, known: _Remembered) -> Standing | None:
        if not self._several:
            server = known.servers[0]
            return server if server.here and server.weight else None
        least = _least(one for one in known.servers if one.eligible)
        if len(known.servers) > 1 and self.now > known.changed + self.expiration:
            self._let_go(known)
        return least

    def _let_go(self, known: _Remembered) -> None:
        """Of several servers the most loaded, once in a while."""
        weighing = [one for one in known.servers if one.weight]
        if weighing:
            most = weighing[0]
            for one in weighing[1:]:
                if most.load * one.weight < one.load * most.weight:
                    most = one
            known.servers.remove(most)
            known.changed = self.now

    def _remember(self, destination: IPAddress, known: _Remembered | None, chosen: Standing) -> None:
        if known is None:
            known = self._destinations[destination] = _Remembered()
            known.used = self.now
        if not self._several:
            known.servers = [chosen]
        elif chosen not in known.servers:
            known.servers.insert(0, chosen)
            known.changed = self.now


def _is_busy(server: Standing, servers: Iterable[Standing]) -> bool:
    """It has more active connections than it weighs, and another has not half as many."""
    return server.active > server.weight and any(one.active * 2 < one.weight for one in servers)


def _least(servers: Iterable[Standing]) -> Standing | None:
    """The least load / weight, of equal ones the first."""
    least: Standing | None = None
    for one in servers:
        if least is None or one.load * least.weight < least.load * one.weight:
            least = one
    return least
