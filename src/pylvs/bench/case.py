"""The cases of a run: which program gets which packets."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TypeVar

from pylvs.bench import result
from pylvs.bench.draws import skewed
from pylvs.bench.driver import SYN, Alone, Draw, Driver, Hook, Load
from pylvs.bench.result import Subject
from pylvs.bench.subject import Director, Yardstick
from pylvs.director.ebpf import libbpf
from pylvs.model import ForwardingMethod
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pylvs.director.ebpf.attach import Interface

_Subject = TypeVar("_Subject", Director, Yardstick)
SKEW = 1.1
_NEW_FILLED, _NEW_ADDED = 0.4, 0.2
"""How full a table is before new connections are measured, and how much of it they fill."""
_SCHEDULERS = (("rr", 2, ForwardingMethod.DR), ("wlc", 16, ForwardingMethod.DR), ("rr", 2, ForwardingMethod.NAT))


class Plan(Value):
    """What is asked for. A round of a case lasts `milliseconds`: by default one tick of the sweep."""

    flows: tuple[int, ...]
    rounds: int
    milliseconds: float
    load: float = 0.5
    zipf: bool = False
    new_slots: int = 1 << 20
    lines: int = 1 << 22


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

    def _director(self, method: ForwardingMethod, slots: int, scheduler: str = "rr", servers: int = 2) -> Director:
        name = f"bench-{len(self._directors)}"
        made = self._opened(Director(self._interface, name, method, slots, scheduler=scheduler, servers=servers))
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
                driver = self._yardstick.driver(Load(most, draw), hook, f"pass_{hook}", listed)
                yield Case(Subject(result.EMPTY, hook, draw=name), driver)
        driver = self._yardstick.driver(Load(1, Draw.ORDERED), Hook.XDP, "pass_xdp")
        yield Case(Subject(result.EMPTY, Hook.XDP, draw="ordered"), driver)

    def _established(self, named: int) -> Iterator[Case]:
        flows, slots = int(named * 2 * self.plan.load), named * 2
        yardstick = self._opened(Yardstick(self._interface, lru=slots))
        yardstick.insert(flows)
        directors = {method: self._director(method, slots) for method in (ForwardingMethod.DR, ForwardingMethod.NAT)}
        for director in directors.values():
            director.establish(flows)
            director.stop()
        for hook in Hook:
            for name, draw, listed in self._draws(named):
                load = Load(flows, draw)
                about = Subject(result.MINIMAL, hook, "dr", "request", flows, name)
                yield Case(about, yardstick.driver(load, hook, f"minimal_dr_{hook}", listed))
                about = about.replace(program=result.DIRECTOR)
                for method, director in directors.items():
                    yield Case(about.replace(method=method.value), director.driver(load, hook, listed), director)
                replies = directors[ForwardingMethod.NAT]
                driver = replies.driver(load.replace(reply=True), hook, listed)
                yield Case(about.replace(method="nat", direction="reply"), driver, replies)

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
        for scheduler, servers, method in _SCHEDULERS:
            director = self._director(method, slots, scheduler, servers)
            director.establish(filled, acknowledged=False)
            director.stop()
            name = f"{result.DIRECTOR}, {scheduler} of {servers}"
            driver = director.driver(load, Hook.XDP)
            yield Case(about.replace(program=name, method=method.value), driver, director, packets)
