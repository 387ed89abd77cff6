"""Taking the table of one director over into another: what the other is to hold then, and what stands against it."""

from __future__ import annotations

from pylvs.change import change
from pylvs.desired import state_of
from pylvs.director import knob
from pylvs.errors import Refused, SchedulerNotFound
from pylvs.plan import AddService, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pylvs.desired import Held, State
    from pylvs.director.knob import KnobValue
    from pylvs.director.port import Director
    from pylvs.model import VirtualService
    from pylvs.plan import Step

_AT_ONCE = 16
"""So many services get their servers together: clients of more would be refused for longer, fewer would take longer."""


def desired(source: State, target: State) -> State:
    """All of the source, but for knobs that the target lacks, and defaults that each finds out of its machine."""
    wanted = {
        name: value
        for name, value in source.knobs.items()
        if name in target.knobs and not (knob.KNOBS[name].default is None and _is_default(name, value))
    }
    return source.replace(knobs=wanted)


def _is_default(name: str, value: KnobValue) -> bool:
    return value == knob.defaults()[name]


def obstacles(source: State, target: Director) -> Iterator[str]:
    """A line for each thing because of which nothing can be taken over, or not all of it."""
    present = state_of(target)
    wanted = {held.service.id: held for held in source.services}
    for held in present.services:
        if held.service.id not in wanted:
            yield f"{held.service.id}: only the target has this service"
        elif not _is_beginning(held, wanted[held.service.id]):
            yield f"{held.service.id}: the target has this service already, and another one"
    for name, value in source.knobs.items():
        if name not in present.knobs and not _is_default(name, value):
            yield f"{name} = {knob.text(value)}: the target has no such knob"
    for held in source.services:
        yield from _lacks(held, target)


def _is_beginning(present: Held, wanted: Held) -> bool:
    """What a migration leaves that was killed: the servers that are added first, and are listed last."""
    count = len(present.servers)
    return present.service == wanted.service and wanted.servers[len(wanted.servers) - count :] == present.servers


def _lacks(held: Held, target: Director) -> Iterator[str]:
    id = held.service.id
    try:
        target.judge_service(held.service)
    except SchedulerNotFound:
        yield f"{id}: the target has no {_what(held.service)}"
    except Refused as error:
        yield f"{id}: {error}"
    for server in held.servers:
        try:
            target.judge_server(id, server, new=True)
        except Refused as error:
            yield f"{id} -> {server.endpoint}: {error}"


def _what(service: VirtualService) -> str:
    engine = f", or no persistence engine {service.persistence_engine}" if service.persistence_engine else ""
    return f"scheduler {service.scheduler}{engine}"


def is_same(one: State, other: State) -> bool:
    """Whether two states say the same, in whatever order of services."""
    return {*one.services} == {*other.services} and one.timeouts == other.timeouts and one.knobs == other.knobs


def carry_out(wanted: State, target: Director) -> None:
    """Make the target hold it; what goes wrong is undone before it is raised."""
    before = state_of(target)
    try:
        for part in _parts(plan(before, wanted)):
            target.begin()
            try:
                for step in part:
                    step.apply(target)
            finally:
                target.commit()
    except BaseException:
        change(target, before)
        raise


def _parts(steps: list[Step]) -> Iterator[list[Step]]:
    """Cut only before a service."""
    first, services = 0, 0
    for place, step in enumerate(steps):
        services += isinstance(step, AddService)
        if services > _AT_ONCE:
            yield steps[first:place]
            first, services = place, 1
    yield steps[first:]
