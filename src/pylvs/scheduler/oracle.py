"""The sequential reference of the data plane's choices: one service, one connection at a time."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

from pylvs.model.value import Value
from pylvs.scheduler.hash import MAGLEV_KEYS, fold, multiplied, siphash
from pylvs.scheduler.locality import Locality
from pylvs.scheduler.ring import FALLBACK, PORT, Scheduler, Selection, Taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pylvs.model import Endpoint, IPAddress, RealServer


_ANY = IPv4Address(0)


class Asked(Value):
    """What a scheduler sees of a packet."""

    client: IPAddress = _ANY
    port: int = 0
    destination: IPAddress = _ANY


class Standing:
    """What is known of a real server; a deleted one keeps it for the case that it comes back."""

    def __init__(self, server: RealServer) -> None:
        self.server = server
        self.last_weight = self.active = self.inactive = 0
        self.overloaded = False
        self.here = True

    @property
    def weight(self) -> int:
        return self.server.weight

    @property
    def load(self) -> int:
        """An active connection weighs as much as 256 inactive ones."""
        return self.active * 256 + self.inactive

    @property
    def eligible(self) -> bool:
        """It may be chosen."""
        return self.here and self.weight > 0 and not self.overloaded

    def come(self, server: RealServer) -> None:
        """It is added, perhaps again."""
        self.here, self.last_weight = True, 0
        self.become(server)

    def become(self, server: RealServer) -> None:
        """As it is added or edited."""
        self.server, self.last_weight = server, server.weight or self.last_weight
        self.compare_with_thresholds()

    def compare_with_thresholds(self) -> None:
        """Between the two it stays what it was."""
        upper, lower = self.server.upper_threshold, self.server.lower_threshold
        has = self.active + self.inactive
        if upper and has >= upper:
            self.overloaded = True
        elif not upper or (has < lower if lower else has * 4 < upper * 3):
            self.overloaded = False

    def carry(self, active: int, inactive: int) -> None:
        """The connections that it has from now on."""
        moved = active + inactive != self.active + self.inactive
        self.active, self.inactive = active, inactive
        if moved:
            self.compare_with_thresholds()


class SchedulerOracle:
    """Tells which server the next connection must go to. Loads change only by `load`: it keeps no connections.

    `now` is the time in seconds, `draw(n)` gives one of 0..n-1 (for twos), `expiration` is the knob of lblc and lblcr.
    """

    def __init__(self, scheduler: Scheduler, flags: int = 0, draw: Callable[[int], int] = random.randrange) -> None:
        self.servers: tuple[RealServer, ...] = ()
        self.expiration = 86400
        self.now = 0.0
        self._draw = draw
        self._standings: dict[Endpoint, Standing] = {}
        self._bind(scheduler, flags)

    def _bind(self, scheduler: Scheduler, flags: int) -> None:
        self.scheduler, self.flags = scheduler, flags
        self.ring, self._taken = scheduler.ring(self._as_laid_out(self.servers)), 0
        self._locality = Locality(several=scheduler.selection is Selection.LOCALITY_SET, since=self.now)

    def add(self, server: RealServer) -> None:
        """It comes first in the list."""
        self._standings.setdefault(server.endpoint, Standing(server)).come(server)
        self._edited((server, *self.servers))

    def edit(self, server: RealServer) -> None:
        """It keeps its position."""
        self._standings[server.endpoint].become(server)
        self._edited(tuple(server if one.endpoint == server.endpoint else one for one in self.servers))

    def delete(self, endpoint: Endpoint) -> None:
        self._standings[endpoint].here = False
        self._edited(tuple(one for one in self.servers if one.endpoint != endpoint))

    def change(self, scheduler: Scheduler, flags: int = 0) -> None:
        """Another scheduler starts anew; the same one goes on."""
        self.flags = flags
        if scheduler != self.scheduler:
            self._bind(scheduler, flags)

    def load(self, endpoint: Endpoint, active: int, inactive: int) -> None:
        """The connections that a server has from now on."""
        self._standings[endpoint].carry(active, inactive)

    def open(self, asked: Asked = Asked()) -> Endpoint | None:  # noqa: B008 - a frozen value
        """The server of the next connection; None when there is none to be had."""
        chosen = self._choose(asked)
        return chosen.server.endpoint if chosen else None

    def _choose(self, asked: Asked) -> Standing | None:
        candidates = [one for one in self._listed() if one.eligible]
        match self.scheduler.selection:
            case Selection.TURNS:
                return self._turn()
            case Selection.NEVER_QUEUE:
                return next((one for one in candidates if not one.active), _shortest_delay(candidates))
            case Selection.LESS_OF_TWO:
                return self._less_of_two(candidates)
            case Selection.LOCALITY | Selection.LOCALITY_SET:
                self._locality.now, self._locality.expiration = self.now, self.expiration
                return self._locality.choose(asked.destination, list(self._listed()))
            case Selection.SOURCE | Selection.DESTINATION | Selection.MAGLEV:
                return self._hashed(asked)
        return _BY_LOAD[self.scheduler.selection](candidates)

    def _listed(self) -> Iterator[Standing]:
        return (self._standings[server.endpoint] for server in self.servers)

    def _at(self, turn: int) -> Standing:
        return self._standings[self.servers[self.ring.turns[turn]].endpoint]

    def _turn(self) -> Standing | None:
        turns = len(self.ring.turns)
        for attempt in range(1, turns + 1):
            one = self._at((self.ring.start + self._taken + attempt - 1) % turns)
            if one.eligible:
                self._taken += attempt
                return one
        if turns and 0 < (place := (self.ring.start + self._taken) % turns) <= self.ring.last_lap:
            self._taken += turns - place
        return None

    def _less_of_two(self, candidates: list[Standing]) -> Standing | None:
        total = sum(one.weight for one in candidates)
        if not candidates:
            return None
        first, second = (_drawn(candidates, self._draw(total + 1)) for _ in range(2))
        return second if second.weight * first.load > first.weight * second.load else first

    def _hashed(self, asked: Asked) -> Standing | None:
        places = (self._at(place) for place in self._places(asked, len(self.ring.turns)))
        return next((one for one in places if one.eligible), None)

    def _places(self, asked: Asked, turns: int) -> Iterator[int]:
        """Where to look: with `FALLBACK` further and further on from the place first found."""
        if not turns:
            return
        with_port = self.flags & PORT and self.scheduler.selection is not Selection.DESTINATION
        address = asked.destination if self.scheduler.selection is Selection.DESTINATION else asked.client
        key = fold(address, asked.port if with_port else 0)
        maglev = self.scheduler.selection is Selection.MAGLEV
        first = siphash(key, MAGLEV_KEYS[0]) % turns if maglev else multiplied(key) * turns >> 32
        yield first
        if not self.flags & FALLBACK or self.scheduler.selection is Selection.DESTINATION:
            return
        for step in range(turns):
            offset = (first + step) % turns
            again = siphash(key + offset & 0xFFFFFFFF, MAGLEV_KEYS[0]) if maglev else first + offset
            yield again % turns

    def _as_laid_out(self, servers: Iterable[RealServer]) -> tuple[RealServer, ...]:
        if not self.scheduler.by_last_weight:
            return tuple(servers)
        return tuple(one.replace(weight=self._standings[one.endpoint].last_weight) for one in servers)

    def _edited(self, servers: tuple[RealServer, ...]) -> None:
        taken = Taken(self._as_laid_out(self.servers), self.ring.mark, self.ring.last(self._taken))
        self.ring = self.scheduler.ring(self._as_laid_out(servers), taken)
        self.servers, self._taken = servers, 0


def _least(measure: Callable[[Standing], tuple[int, int]], candidates: Iterable[Standing]) -> Standing | None:
    """Of equal fractions (load, weight) the first."""
    least: Standing | None = None
    for one in candidates:
        load, weight = measure(one)
        if least is None or load * measure(least)[1] < measure(least)[0] * weight:
            least = one
    return least


def _shortest_delay(candidates: Iterable[Standing]) -> Standing | None:
    return _least(lambda one: (one.active + 1, one.weight), candidates)


def _heaviest(candidates: Iterable[Standing]) -> Standing | None:
    return max(candidates, key=lambda one: one.weight, default=None)


def _drawn(candidates: list[Standing], number: int) -> Standing:
    for one in candidates:
        number -= one.weight
        if number <= 0:
            return one
    raise AssertionError("no number is drawn beyond the sum of all weights")


_BY_LOAD: dict[Selection, Callable[[list[Standing]], Standing | None]] = {
    Selection.LEAST: lambda candidates: _least(lambda one: (one.load, 1), candidates),
    Selection.WEIGHTED_LEAST: lambda candidates: _least(lambda one: (one.load, one.weight), candidates),
    Selection.SHORTEST_DELAY: _shortest_delay,
    Selection.HEAVIEST: _heaviest,
    Selection.HEAVIEST_NOT_FULL: lambda candidates: _heaviest(one for one in candidates if one.active <= one.weight),
}
