"""From what a director holds to what it is to hold, as steps. Pure; a plan is a value that prints, and that can be run.

Nothing is done to what stays as it is, so its connections stay, too. Servers come before others change, and go last:
what a service can carry only grows until the very end. The order of a service's servers does not count.
"""

from __future__ import annotations

from pylvs.model import ForwardingMethod, VirtualAddress
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pylvs.desired import Held, State
    from pylvs.director.knob import KnobValue
    from pylvs.director.port import Director
    from pylvs.model import Endpoint, IPAddress, RealServer, ServiceId, Timeouts, VirtualService


class Step(Value):
    """One change, by the words of the `Director` contract."""

    def apply(self, director: Director) -> None:
        """Do it; raises what the director refuses it with."""
        raise NotImplementedError


class AddService(Step):
    service: VirtualService

    def apply(self, director: Director) -> None:
        director.add_service(self.service)


class EditService(Step):
    service: VirtualService

    def apply(self, director: Director) -> None:
        director.edit_service(self.service)


class DeleteService(Step):
    service: ServiceId

    def apply(self, director: Director) -> None:
        director.delete_service(self.service)


class AddServer(Step):
    service: ServiceId
    server: RealServer

    def apply(self, director: Director) -> None:
        director.add_server(self.service, self.server)


class EditServer(Step):
    service: ServiceId
    server: RealServer

    def apply(self, director: Director) -> None:
        director.edit_server(self.service, self.server)


class DeleteServer(Step):
    service: ServiceId
    endpoint: Endpoint

    def apply(self, director: Director) -> None:
        director.delete_server(self.service, self.endpoint)


class SetTimeouts(Step):
    timeouts: Timeouts

    def apply(self, director: Director) -> None:
        director.set_timeouts(self.timeouts)


class SetKnobs(Step):
    changes: Mapping[str, KnobValue]

    def apply(self, director: Director) -> None:
        director.set_knobs(self.changes)


def plan(current: State, desired: State) -> list[Step]:
    """The steps; none if all is as desired."""
    here = {held.service.id: held for held in current.services}
    wanted = {held.service.id: held for held in desired.services}
    leaving = [id for id in here if id not in wanted]
    in_the_way = _in_the_way((here[id].service for id in leaving), (held.service for held in desired.services))
    return [
        *_settings(current, desired),
        *(DeleteService(id) for id in leaving if id in in_the_way),
        *(step for id, held in wanted.items() if id in here for step in _changed(here[id], held)),
        *(step for id, held in reversed(wanted.items()) if id not in here for step in _fresh(held)),
        *(DeleteService(id) for id in leaving if id not in in_the_way),
    ]


def _settings(current: State, desired: State) -> Iterator[Step]:
    changes = {name: value for name, value in desired.knobs.items() if current.knobs.get(name) != value}
    if changes:
        yield SetKnobs(changes)
    if desired.timeouts is not None and desired.timeouts != current.timeouts:
        yield SetTimeouts(desired.timeouts)


def _fresh(held: Held) -> Iterator[Step]:
    """Added from the last to the first, the servers stand in the order in which they are held."""
    yield AddService(held.service)
    for server in reversed(held.servers):
        yield AddServer(held.service.id, server)


def _changed(here: Held, wanted: Held) -> list[Step]:
    """One-packet scheduling and FULLNAT exclude each other: whichever goes, goes first."""
    edit: list[Step] = [EditService(wanted.service)] if here.service != wanted.service else []
    servers = list(_changed_servers(here, wanted))
    if wanted.service.one_packet and any(server.method is ForwardingMethod.FULLNAT for server in here.servers):
        return servers + edit
    return edit + servers


def _changed_servers(here: Held, wanted: Held) -> Iterator[Step]:
    id = wanted.service.id
    before = {server.endpoint: server for server in here.servers}
    after = {server.endpoint: server for server in wanted.servers}
    for endpoint in reversed(after):
        if endpoint not in before:
            yield AddServer(id, after[endpoint])
    for endpoint, server in after.items():
        if before.get(endpoint, server) != server:
            yield EditServer(id, server)
    for endpoint in before:
        if endpoint not in after:
            yield DeleteServer(id, endpoint)


def _in_the_way(leaving: Iterable[VirtualService], wanted: Iterable[VirtualService]) -> set[ServiceId]:
    """Of the services that leave, those that share an address with others in a way that FULLNAT does not allow."""
    vips: set[IPAddress] = set()
    pools: set[IPAddress] = set()
    for service in wanted:
        vips |= _vip(service)
        pools.update(service.local_addresses)
    return {
        service.id
        for service in leaving
        if not (pools.isdisjoint(_vip(service)) and vips.isdisjoint(service.local_addresses))
    }


def _vip(service: VirtualService) -> set[IPAddress]:
    return {service.id.endpoint.address} if isinstance(service.id, VirtualAddress) else set()
