"""What was measured, and what follows from it. Nothing here runs anything."""

from __future__ import annotations

from statistics import median

from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BARE, EMPTY, MINIMAL = "XDP_PASS alone", "empty program", "minimal LRU_HASH"
INSERT_LRU, INSERT_HASH = "LRU_HASH insert", "HASH insert"
DIRECTOR = "director"


class Subject(Value):
    """What a row is about. `flows` 0: it doesn't matter. `direction` is request, reply or new (connections only)."""

    program: str
    hook: str
    method: str = ""
    direction: str = ""
    flows: int = 0
    draw: str = ""


class Row(Value):
    """Nanoseconds a packet: median, least and most of all rounds; above the empty program; in yardsticks.

    The yardstick is the minimal DR program for established packets, LRU_HASH's insertion for new connections.
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
    return Subject(EMPTY, subject.hook, draw=subject.draw)


def _yardstick_of(subject: Subject) -> Subject | None:
    if not subject.direction:
        return None
    if subject.direction == "new":
        return subject.replace(program=INSERT_LRU, method="")
    return subject.replace(program=MINIMAL, method="dr", direction="request")


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


def budgets(measured: Sequence[Row], miss: float) -> list[Budget]:
    """Those of the design that one packet at a time can show. The smallest number of flows is the one in caches."""
    dr = _established(measured, "dr")
    nat = _established(measured, "nat")
    found = []
    for flows in sorted(dr):
        hot = flows == min(dr)
        where = f"XDP, DR, {flows} flows"
        ratio = dr[flows].ratio or 0
        found.append(Budget(f"{where}: of the minimal LRU_HASH program", ratio, 1.0 if hot else 0.5, "x"))
        if not hot:
            found.append(Budget(f"{where}: cache misses", dr[flows].over_empty / miss, 1.5))
    for flows in sorted(nat.keys() & dr.keys()):
        more = nat[flows].over_empty - dr[flows].over_empty
        found.append(Budget(f"XDP, {flows} flows: NAT over DR", more, 20.0, "ns"))
    new = {row.subject.program: row.over_empty for row in measured if row.subject.direction == "new"}
    for name, value in new.items():
        if "wlc" in name and new.get(INSERT_HASH):
            found.append(Budget(f"new connection, {name}: of a HASH insertion", value / new[INSERT_HASH], 0.6, "x"))
    return found


def _established(measured: Sequence[Row], method: str) -> dict[int, Row]:
    wanted = Subject(DIRECTOR, "xdp", method, "request", draw="uniform")
    return {row.subject.flows: row for row in measured if row.subject.replace(flows=0) == wanted}
