"""Policy rules that lead marked packets into the pylvs device, planned purely: what is there -> steps.

A rule for a mark must come before the one that looks up the local table, since a VIP is mostly one of the director's
own addresses. That one can't be preceded (its priority is 0) but by rules of the same priority that are older: so ours
are added, then the local one anew, behind them, and then the old one goes. At every moment there is one. Everything
stays at its priority: a rule that somebody adds without one still comes right behind the local table's.
"""

from __future__ import annotations

from pylvs.errors import DataPlaneError
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

TABLE = 118118
PROTOCOL = 118
"""By these numbers our routes and rules are known again."""

TO_TABLE, GOTO = 1, 2
LOCAL_TABLE = 255
ALL_BITS = 0xFFFFFFFF
_TABLES = {253: "default", 254: "main", LOCAL_TABLE: "local"}


class Rule(Value):
    """A policy rule. `complex` ones ask for more than the other fields say: addresses, ports, users, ..."""

    priority: int
    action: int = TO_TABLE
    table: int = 0
    mark: int | None = None
    mask: int = ALL_BITS
    interface: str = ""
    goto: int = 0
    protocol: int = PROTOCOL
    inverted: bool = False
    complex: bool = False

    @property
    def ours(self) -> bool:
        return self.protocol == PROTOCOL

    @property
    def local(self) -> bool:
        """The one that finds what is for this host itself."""
        selective = self.complex or self.inverted or self.mark is not None or self.interface
        return self.action == TO_TABLE and self.table == LOCAL_TABLE and not selective and not self.ours

    def routes(self, mark: int) -> bool:
        """Whether packets with a mark are its business."""
        return self.mark is not None and not self.inverted and mark & self.mask == self.mark

    def __str__(self) -> str:
        """About as `ip rule` shows it."""
        mark = "" if self.mark is None else f" fwmark {self.mark:#x}"
        mask = "" if self.mask == ALL_BITS else f"/{self.mask:#x}"
        interface = f" iif {self.interface}" if self.interface else ""
        table = f" lookup {_TABLES.get(self.table, self.table)}" if self.action == TO_TABLE else ""
        start = f"{self.priority}:{' not' if self.inverted else ''} from all"
        return f"{start}{mark}{mask}{interface}{' ...' if self.complex else ''}{table}"


class Add(Value):
    """Put a rule behind all of its priority."""

    rule: Rule


class Delete(Value):
    """Take away the first rule that is like this one."""

    rule: Rule


Step = Add | Delete


def conflict(rules: Iterable[Rule], mark: int) -> Rule | None:
    """Somebody else's rule that routes a mark."""
    return next((rule for rule in rules if not rule.ours and rule.routes(mark)), None)


def wanted(marks: Collection[int], priority: int, device: str) -> list[Rule]:
    """Our rules, given the local one's priority.

    What the device hands back to the host jumps over the rules that sent it there, and is routed as if it had no mark.
    """
    if not marks:
        return []
    return [
        Rule(priority + 1, table=LOCAL_TABLE, interface=device),
        Rule(priority, GOTO, interface=device, goto=priority + 1),
        *(Rule(priority, table=TABLE, mark=mark) for mark in sorted(marks)),
    ]


def plan(rules: Sequence[Rule], marks: Collection[int], device: str) -> list[Step]:
    """From whatever state an earlier plan that was cut short has left; raises `DataPlaneError`."""
    local = next((rule for rule in rules if rule.local), None)
    if local is None and marks:
        raise DataPlaneError(
            "there is no rule that looks up the local table",
            hint="add it: ip rule add from all lookup local priority 0 (or with ip -6)",
        )
    goal = wanted(marks, local.priority, device) if local else []
    stale = [rule for rule in rules if rule.ours and rule not in goal]
    missing = [rule for rule in goal if rule not in rules]
    steps: list[Step] = [*map(Delete, stale), *map(Add, missing)]
    if local is None:
        return steps
    peers = [rule for rule in (*rules, *missing) if rule.priority == local.priority and rule not in stale]
    return [*steps, *_move(local, peers)]


def _move(local: Rule, peers: Sequence[Rule]) -> Iterator[Step]:
    """The local rule behind ours; `peers` are all of its priority, in order."""
    first = peers.index(local)
    last = len(peers) - 1 - peers[::-1].index(local)
    must = any(rule.ours for rule in peers[last:])
    foreign = next((rule for rule in peers[first : None if must else last] if not rule.ours and rule != local), None)
    if foreign and must:
        raise DataPlaneError(
            f"a rule for the mark must come before the local table's, and this one is in the way: {foreign}",
            hint="give it a priority of its own: `ip rule del` it, then `ip rule add` it with `priority 1000`, say",
        )
    if must:
        yield Add(local)
    if not foreign:
        yield from [Delete(local)] * (peers.count(local) - 1 + must)
