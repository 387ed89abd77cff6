"""What was measured, and what follows from it. Nothing here runs anything."""

from __future__ import annotations

from statistics import median

from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BARE, EMPTY, MINIMAL = "XDP_PASS alone", "empty program", "minimal LRU_HASH"
ROOM = "room in front"
"""Made by a program that does nothing else, and taken back by the driver, as behind every tunnel."""
INSERT_LRU, INSERT_HASH = "LRU_HASH insert", "HASH insert"
DIRECTOR = "director"


class Subject(Value):
    """What a row is about. `flows` 0: it doesn't matter. `direction` is request, reply or new (connections only).

    `draw` says in which order flows come: uniform (at random), ordered, listed (at random, from a list), zipf.
    """

    program: str
    hook: str
    method: str = ""
    direction: str = ""
    flows: int = 0
    draw: str = ""
    family: str = "ipv4"

    @property
    def label(self) -> str:
        """All of it in one line, by which it can be picked out."""
        words = (self.hook, self.program, self.method, self.family, self.direction, str(self.flows), self.draw)
        return " ".join(word for word in words if word)


class Row(Value):
    """Nanoseconds a packet: median, least and most of all rounds; above the empty program; in yardsticks.

    The yardstick is the minimal DR program for established packets, LRU_HASH's insertion for new connections; of IPv4.
    """

    subject: Subject
    median: float
    least: float
    most: float
    over_empty: float
    ratio: float | None = None


class Budget(Value):
    """A bound that the design sets."""

    what: str
    value: float
    limit: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.value <= self.limit


class Report(Value):
    """One run. `settings` are what was asked for; `miss` is one dependent load from memory, in nanoseconds."""

    machine: Mapping[str, object]
    settings: Mapping[str, object]
    miss: float
    rows: Sequence[Row]
    budgets: Sequence[Budget]


def _empty_of(subject: Subject) -> Subject:
    return Subject(EMPTY, subject.hook, draw=subject.draw, family=subject.family)


def _yardstick_of(subject: Subject) -> Subject | None:
    if not subject.direction:
        return None
    if subject.direction == "new":
        return subject.replace(program=INSERT_LRU, method="", family="ipv4")
    draw = "uniform" if subject.draw == "listed" else subject.draw
    return subject.replace(program=MINIMAL, method="dr", direction="request", family="ipv4", draw=draw)


def rows(samples: Mapping[Subject, Sequence[float]]) -> list[Row]:
    """In the order of the samples."""
    middle = {subject: median(values) for subject, values in samples.items()}
    over = {subject: value - middle.get(_empty_of(subject), value) for subject, value in middle.items()}
    made = []
    for subject, values in samples.items():
        yardstick = over.get(_yardstick_of(subject))  # type: ignore[arg-type]
        ratio = over[subject] / yardstick if yardstick else None
        made.append(Row(subject, middle[subject], min(values), max(values), over[subject], ratio))
    return made
