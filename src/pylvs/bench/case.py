"""The cases of a run: which program gets which packets."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TypeVar

from pylvs.bench import kind as kinds
from pylvs.bench import result
from pylvs.bench.answers import live
from pylvs.bench.draws import skewed
from pylvs.bench.driver import DRAWS, SYN, Alone, Draw, Driver, Hook, Load
from pylvs.bench.result import Subject
from pylvs.bench.subject import Director, Yardstick
from pylvs.bench.traffic import established
from pylvs.director.ebpf import libbpf
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pylvs.bench.kind import Kind
    from pylvs.bench.traffic import Traffic
    from pylvs.director.ebpf.attach import Interface

_Subject = TypeVar("_Subject", Director, Yardstick)
SKEW = 1.1
_NEW_FILLED, _NEW_ADDED = 0.4, 0.2
"""How full a table is before new connections are measured, and how much of it they fill."""
_FULL = 0.67
"""How full it is when it is seen how much memory a connection takes."""


class Plan(Value):
    """What is asked for. A round of a case lasts `milliseconds`: by default one tick of the sweep.

    `only`: the rows that have one of these in their label. Without, all of them if `full`, else the usual ones.
    """

    flows: tuple[int, ...]
    rounds: int
    milliseconds: float
    load: float = 0.5
    zipf: bool = False
    new_slots: int = 1 << 20
    lines: int = 1 << 22
    filled_slots: int = 1 << 17
    full: bool = False
    only: tuple[str, ...] = ()

    def wants(self, subject: Subject, *, usual: bool) -> bool:
        """Whether a row is to be measured."""
        return any(word in subject.label for word in self.only) if self.only else self.full or usual


class Case(Value):
    """One row to be. `packets` is how many a round may take, 0 for as many as its time allows."""

    subject: Subject
    driver: Driver | Alone
    director: Director | None = None
    packets: int = 0


class Bench:
    """Everything loaded and filled. To be closed."""

    def __init__(self, interface: Interface, plan: Plan, step: Callable[[str], None]) -> None:
        self.plan = plan
        self._interface = interface
        self._open = ExitStack()
        self._directors: list[Director] = []
        self.cases: list[Case] = []
        step("yardsticks")
        self._yardstick = self._opened(Yardstick(interface))
        # veth takes packets with its interface's index only while an XDP program is on it
        libbpf.attach_xdp(interface.index, self._yardstick.program("pass_xdp"))
        self.cases += self._floor()
        for flows in plan.flows:
            step(f"{flows} connections")
            self.cases += self._established(flows)
        step("new connections")
        self.cases += self._new()

    def close(self) -> None:
        """Give the memory back."""
        self._open.close()

    def check(self) -> None:
        """Raises `DataPlaneError` unless every packet was forwarded."""
        for director in self._directors:
            director.check()
        for case in self.cases:
            case.driver.check()

    def _opened(self, subject: _Subject) -> _Subject:
        self._open.callback(subject.close)
        return subject

    def _director(self, kind: Kind, slots: int) -> Director:
        made = self._opened(Director(self._interface, f"bench-{len(self._directors)}", kind, slots))
        self._directors.append(made)
        return made

    def _draws(self, flows: int) -> Iterator[tuple[str, Draw, bytes]]:
        yield "uniform", Draw.UNIFORM, b""
        if self.plan.zipf and flows == max(self.plan.flows):
            yield "zipf", Draw.LISTED, skewed(flows, SKEW)

    def _floor(self) -> Iterator[Case]:
        """What there is without any program under test: to be taken off, and for the reader."""
        alone = Alone(Hook.XDP, self._interface, self._yardstick.program("pass_xdp"))
        yield Case(Subject(result.BARE, Hook.XDP), alone)
        most = max(self.plan.flows)
        for hook in Hook:
            for name, draw, listed in self._draws(most):
                yield self._empty(Load(most, draw), hook, name, listed)
        yield self._empty(Load(1, Draw.ORDERED), Hook.XDP, "ordered")
        if self.plan.full or self.plan.only:
            yield self._empty(Load(1, Draw.ORDERED, family=6), Hook.XDP, "ordered")
            load = Load(most, wrapped=20)
            yield Case(
                Subject(result.ROOM, Hook.XDP, draw="uniform"), self._yardstick.driver(load, Hook.XDP, "make_room_xdp")
            )
            for hook in Hook:
                yield self._empty(Load(most, family=6), hook, "uniform")
                for family in (4, 6):
                    load = Load(1, Draw.LISTED, reply=True, family=family, to_locals=True)
                    yield self._empty(load, hook, "listed", bytes(4 * DRAWS))

    def _empty(self, load: Load, hook: Hook, draw: str, listed: bytes = b"") -> Case:
        about = Subject(result.EMPTY, hook, draw=draw, family=f"ipv{load.family}")
        return Case(about, self._yardstick.driver(load, hook, f"pass_{hook}", listed))

    def _established(self, named: int) -> list[Case]:
        flows, slots = int(named * 2 * self.plan.load), named * 2
        draws = list(self._draws(named))
        yardstick = self._opened(Yardstick(self._interface, lru=slots))
        yardstick.insert(flows)
        cases = []
        for hook in Hook:
            for name, draw, listed in draws:
                about = Subject(result.MINIMAL, hook, "dr", "request", flows, name)
                cases.append(Case(about, yardstick.driver(Load(flows, draw), hook, f"minimal_dr_{hook}", listed)))
        extras = kinds.EXTRAS if named == min(self.plan.flows) else ()
        for kind in (*kinds.ESTABLISHED, *extras):
            wanted = [one for one in established(kind, flows, draws) if self.plan.wants(one[0], usual=kind.usual)]
            cases += self._of_kind(kind, slots, flows, wanted)
        return sorted(cases, key=lambda case: case.subject.hook != Hook.XDP)

    def _of_kind(self, kind: Kind, slots: int, flows: int, wanted: Sequence[Traffic]) -> Iterator[Case]:
        if not wanted:
            return
        director = self._director(kind, slots)
        director.establish(flows)
        director.stop()
        for about, load, listed in wanted:
            yield Case(about, director.driver(load, Hook(about.hook), listed), director)

    def _new(self) -> Iterator[Case]:
        """Every packet opens a connection; the tables go from 0.4 to 0.6."""
        slots = self.plan.new_slots
        filled, packets = int(slots * _NEW_FILLED), int(slots * _NEW_ADDED / self.plan.rounds)
        load = Load(1, Draw.ORDERED, SYN, first=filled)
        about = Subject("", Hook.XDP, direction="new", flows=slots, draw="ordered")
        yardstick = self._opened(Yardstick(self._interface, lru=slots, plain=slots))
        for name, program in ((result.INSERT_LRU, "insert_lru"), (result.INSERT_HASH, "insert_hash")):
            yardstick.insert(filled, program)
            yield Case(about.replace(program=name), yardstick.driver(load, Hook.XDP, program), packets=packets)
        for kind in kinds.NEW:
            row = about.replace(program=kind.program, method=kind.way, family=f"ipv{kind.family}")
            if self.plan.wants(row, usual=kind.usual):
                director = self._director(kind, slots)
                director.establish(filled, acknowledged=False)
                director.stop()
                yield Case(row, director.driver(load, Hook.XDP), director, packets)

    def filled(self) -> dict[str, tuple[int, float]]:
        """By method, the slots that a connection takes, and the bytes, of a table as full as it may get."""
        if not self.plan.full:
            return {}
        found = {}
        for kind in kinds.FILLED:
            director = self._director(kind, self.plan.filled_slots)
            director.establish(int(self.plan.filled_slots * _FULL), acknowledged=False)
            director.check()
            found[kind.method.value.upper()] = kind.slots, len(director.table.connections.memory) / live(director.table)
        return found
