"""Taking the table of one director over into another: what is to be done, and doing it or leaving all as it was.

A plan is a value: it is made of what both directors hold, and changes nothing.
"""

from __future__ import annotations

from functools import partial

from pylvs.director import knob
from pylvs.model import RealServer, ServiceSnapshot, Timeouts, VirtualService
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pylvs.director.knob import KnobValue
    from pylvs.director.port import Director
    from pylvs.model import ServerSnapshot, ServiceId

_AT_ONCE = 64
"""So many services are in effect together: more would be there too long without a server, fewer would take longer."""


class Table(Value):
    """All of a director that is set, and nothing that is counted."""

    services: Sequence[ServiceSnapshot]
    timeouts: Timeouts
    knobs: Mapping[str, KnobValue]

    def same_rules(self, other: Table) -> bool:
        """Whether the other one has the same services, servers, timeouts and knobs, in whatever order of services."""
        mine, others = ({_rules(each) for each in table.services} for table in (self, other))
        return mine == others and self.timeouts == other.timeouts and self.knobs == other.knobs


def table_of(director: Director) -> Table:
    """As it is now."""
    return Table(director.services(), director.timeouts(), director.knobs())


def _rules(snapshot: ServiceSnapshot) -> tuple[VirtualService, tuple[RealServer, ...]]:
    return snapshot.service, tuple(each.server for each in snapshot.servers)


class Addition(Value):
    """A service with the servers that are added to it, the first one first. `begun`: the service itself is there."""

    service: VirtualService
    servers: tuple[RealServer, ...]
    begun: bool = False


class Plan(Value):
    """What is done to the target. `obstacles` say, a line each, why it can't be; with any of them nothing is done."""

    additions: tuple[Addition, ...]
    timeouts: Timeouts | None
    knobs: Mapping[str, KnobValue]
    obstacles: tuple[str, ...] = ()


def plan(source: Table, target: Table) -> Plan:
    """To make the target hold what the source holds. What an earlier migration has done already is not done again."""
    there = {snapshot.service.id: snapshot for snapshot in target.services}
    additions: list[Addition] = []
    obstacles = []
    for snapshot in reversed(source.services):
        addition = _addition(snapshot, there.pop(snapshot.service.id, None))
        if addition is None:
            obstacles.append(f"{snapshot.service.id}: the target has this service already, and another one")
        elif addition.servers or not addition.begun:
            additions.append(addition)
    obstacles += [f"{id}: only the target has this service" for id in there]
    return Plan(
        tuple(additions),
        source.timeouts if source.timeouts != target.timeouts else None,
        _knobs(source.knobs, target.knobs),
        (*obstacles, *_unknown_knobs(source.knobs, target.knobs)),
    )


def _addition(wanted: ServiceSnapshot, present: ServiceSnapshot | None) -> Addition | None:
    """None where what is present is not the beginning of what is wanted. The server added last is listed first."""
    servers = _in_order_added(wanted.servers)
    if present is None:
        return Addition(wanted.service, servers)
    done = _in_order_added(present.servers)
    if present.service != wanted.service or servers[: len(done)] != done:
        return None
    return Addition(wanted.service, servers[len(done) :], begun=True)


def _in_order_added(servers: Sequence[ServerSnapshot]) -> tuple[RealServer, ...]:
    return tuple(each.server for each in reversed(servers))


def _is_default(name: str, value: KnobValue) -> bool:
    return value == knob.defaults()[name]


def _knobs(source: Mapping[str, KnobValue], target: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """Those that differ. A default that is the machine's is left to each director."""
    return {
        name: value
        for name, value in source.items()
        if name in target
        and value != target[name]
        and not (knob.KNOBS[name].default is None and _is_default(name, value))
    }


def _unknown_knobs(source: Mapping[str, KnobValue], target: Mapping[str, KnobValue]) -> list[str]:
    return [
        f"{name} = {knob.text(value)}: the target has no such knob"
        for name, value in source.items()
        if name not in target and not _is_default(name, value)
    ]


def carry_out(plan: Plan, director: Director) -> None:
    """All of it; what goes wrong is undone before it is raised."""
    undo: list[Callable[[], None]] = []
    director.begin()
    try:
        for count, addition in enumerate(plan.additions, 1):
            _add(addition, director, undo)
            if not count % _AT_ONCE:
                director.commit()
                director.begin()
        _set(plan, director, undo)
    except BaseException:
        for step in reversed(undo):
            step()
        raise
    finally:
        director.commit()


def _add(addition: Addition, director: Director, undo: list[Callable[[], None]]) -> None:
    id = addition.service.id
    if not addition.begun:
        director.add_service(addition.service)
        undo.append(partial(director.delete_service, id))
    for server in addition.servers:
        director.add_server(id, server)
        undo.append(partial(_delete_server, director, id, server))


def _delete_server(director: Director, id: ServiceId, server: RealServer) -> None:
    director.delete_server(id, server.endpoint)


def _set(plan: Plan, director: Director, undo: list[Callable[[], None]]) -> None:
    if plan.timeouts is not None:
        undo.append(partial(director.set_timeouts, director.timeouts()))
        director.set_timeouts(plan.timeouts)
    if plan.knobs:
        director.set_knobs(plan.knobs)
