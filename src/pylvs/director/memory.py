"""A director in plain Python: the whole contract, but no packet ever. For tests, dry runs and previews."""

from __future__ import annotations

from pylvs.director import rules
from pylvs.errors import (
    DaemonRuns,
    DestinationExists,
    InvalidOperation,
    NoDaemon,
    NoSuchDestination,
    NoSuchDevice,
    NoSuchService,
    ServiceExists,
    ServiceNotDefined,
)
from pylvs.model import ServerSnapshot, ServiceSnapshot, SyncDaemon, SyncRole, Timeouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from pylvs.desired import State
    from pylvs.director.knob import KnobValue
    from pylvs.model import Connection, Endpoint, RealServer, ServiceId, VirtualService


class _Entry:
    """A service and its servers in the order they were added; editing one does not move it."""

    __slots__ = ("servers", "service")

    def __init__(self, service: VirtualService) -> None:
        self.service = service
        self.servers: dict[Endpoint, RealServer] = {}

    def snapshot(self) -> ServiceSnapshot:
        newest_first = reversed(self.servers.values())
        return ServiceSnapshot(self.service, tuple(ServerSnapshot(server) for server in newest_first))


class MemoryDirector:
    """Holds what IPVS would hold. `interfaces` are the addresses that the director is to believe it has, `devices` the
    MTUs of its network devices.
    """

    table_size = rules.USUAL_TABLE_SIZE

    def __init__(
        self, interfaces: Iterable[IPv4Interface | IPv6Interface] = (), devices: Mapping[str, int] | None = None
    ) -> None:
        self._interfaces = tuple(interfaces)
        self._devices = {"lo": 65536, "eth0": 1500} if devices is None else devices
        self._daemons: dict[SyncRole, SyncDaemon] = {}
        self._entries: dict[ServiceId, _Entry] = {}
        self._with_local: set[ServiceId] = set()  # those of them that have local addresses
        self._timeouts = Timeouts()
        self._knobs: dict[str, KnobValue] = {}  # those that are not at their default

    def take_over(self, state: State, *, empty: bool = False) -> None:
        """Hold this, as it is, or its timeouts and knobs only."""
        for held in () if empty else reversed(state.services):
            entry = self._entries[held.service.id] = _Entry(held.service)
            entry.servers = {server.endpoint: server for server in reversed(held.servers)}
            self._note_local(held.service)
        self._timeouts = state.timeouts or self._timeouts
        self._knobs = dict(state.knobs)

    def hold(self) -> None:
        """There is nobody else."""

    def judge_service(self, service: VirtualService) -> None:
        """Raises `SchedulerNotFound`, `InvalidOperation`, `FullnatRefused`."""
        rules.check_service(service)
        rules.check_owned(service, {interface.ip for interface in self._interfaces})

    def judge_server(self, id: ServiceId, server: RealServer, *, new: bool) -> None:
        """Raises `InvalidOperation`."""
        if new:
            rules.check_unicast(server.endpoint.address, self._interfaces)

    def begin(self) -> None:
        """Nothing is costly here."""

    def commit(self) -> None:
        """Every change was in effect at once."""

    def services(self) -> Sequence[ServiceSnapshot]:
        """Every service, the one added last first."""
        return [entry.snapshot() for entry in reversed(self._entries.values())]

    def service(self, id: ServiceId) -> ServiceSnapshot:
        """One service; raises `NoSuchService`."""
        return self._entry(id).snapshot()

    def add_service(self, service: VirtualService) -> None:
        """Raises `ServiceExists`, `SchedulerNotFound`, `InvalidOperation`, `FullnatRefused`."""
        if service.id in self._entries:
            raise ServiceExists
        self.judge_service(service)
        self._check_local_addresses(service)
        self._entries[service.id] = _Entry(service)
        self._note_local(service)

    def edit_service(self, service: VirtualService) -> None:
        """Raises `NoSuchService`, `SchedulerNotFound`, `InvalidOperation`, `FullnatRefused`."""
        entry = self._entry(service.id)
        self.judge_service(service)
        self._check_local_addresses(service)
        rules.check_fullnat(service, entry.servers.values())
        entry.service = service
        self._note_local(service)

    def _check_local_addresses(self, service: VirtualService) -> None:
        """Among thousands of services there is little to look for where none has local addresses."""
        near = self._entries if service.local_addresses else self._with_local
        rules.check_overlap(service, (self._entries[id].service for id in near if id != service.id))

    def _note_local(self, service: VirtualService) -> None:
        if service.local_addresses:
            self._with_local.add(service.id)
        else:
            self._with_local.discard(service.id)

    def delete_service(self, id: ServiceId) -> None:
        """Raises `NoSuchService`."""
        self._entry(id)
        del self._entries[id]
        self._with_local.discard(id)

    def add_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `DestinationExists`, `OutOfRange`, `InvalidOperation`, `FullnatRefused`."""
        servers = self._servers(id)
        rules.check_server(id, server)
        if server.endpoint in servers:
            raise DestinationExists
        self._check_synchronised(id, server)
        self.judge_server(id, server, new=True)
        rules.check_fullnat(self._entries[id].service, [server])
        servers[server.endpoint] = server

    def _check_synchronised(self, id: ServiceId, server: RealServer) -> None:
        if self._daemons and rules.crosses_families(id, server):
            raise InvalidOperation

    def edit_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`, `OutOfRange`, `InvalidOperation`, `FullnatRefused`."""
        servers = self._servers(id)
        rules.check_server(id, server)
        if server.endpoint not in servers:
            raise NoSuchDestination
        self._check_synchronised(id, server)
        self.judge_server(id, server, new=False)
        rules.check_fullnat(self._entries[id].service, [server])
        servers[server.endpoint] = server

    def delete_server(self, id: ServiceId, endpoint: Endpoint) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`."""
        if self._servers(id).pop(endpoint, None) is None:
            raise NoSuchDestination

    def flush(self) -> None:
        """Delete every service."""
        self._entries.clear()
        self._with_local.clear()

    def zero(self, id: ServiceId | None = None) -> None:
        """Nothing is ever counted here, so this only raises `NoSuchService`."""
        if id is not None:
            self._entry(id)

    def rates(self) -> Sequence[ServiceSnapshot]:
        """As `services()`, with counters per second: all zero."""
        return self.services()

    def timeouts(self) -> Timeouts:
        """The three timeouts that can be set."""
        return self._timeouts

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """A field of 0 leaves that timeout as it is."""
        rules.check_timeouts(timeouts)
        now = self._timeouts
        self._timeouts = Timeouts(
            tcp=timeouts.tcp or now.tcp, tcp_fin=timeouts.tcp_fin or now.tcp_fin, udp=timeouts.udp or now.udp
        )

    def knobs(self) -> Mapping[str, KnobValue]:
        """What every knob is set to."""
        from pylvs.director import knob

        return {**knob.defaults(), **self._knobs}

    def set_knobs(self, changes: Mapping[str, KnobValue]) -> None:
        """All of them or none; raises `InvalidKnob`."""
        from pylvs.director import knob

        knob.check(changes, self.knobs())
        self._knobs.update(changes)

    def daemons(self) -> Sequence[SyncDaemon]:
        """The connection sync daemons that would run, the master first."""
        return [self._daemons[role] for role in SyncRole if role in self._daemons]

    def start_daemon(self, daemon: SyncDaemon) -> None:
        """Raises `InvalidOperation`, `NoSuchDevice`, `DaemonRuns`."""
        rules.check_families(self.services())
        if daemon.interface not in self._devices:
            raise NoSuchDevice
        if daemon.role in self._daemons:
            raise DaemonRuns
        self._daemons[daemon.role] = rules.settled(daemon, self._devices[daemon.interface])

    def stop_daemon(self, role: SyncRole) -> None:
        """Raises `NoDaemon`."""
        if self._daemons.pop(role, None) is None:
            raise NoDaemon

    def connections(self) -> Iterator[Connection]:
        """None."""
        return iter(())

    def _entry(self, id: ServiceId) -> _Entry:
        try:
            return self._entries[id]
        except KeyError:
            raise NoSuchService from None

    def _servers(self, id: ServiceId) -> dict[Endpoint, RealServer]:
        try:
            return self._entries[id].servers
        except KeyError:
            raise ServiceNotDefined from None
