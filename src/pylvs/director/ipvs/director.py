"""The kernel's IPVS of one network namespace as a director. The kernel checks; its refusals are raised as such."""

from __future__ import annotations

import errno

from pylvs.director.ipvs import limit
from pylvs.director.ipvs.abi import Attribute, Command, Info
from pylvs.director.ipvs.convert import pack_endpoint, pack_id, pack_server, pack_service, unpack_server, unpack_service
from pylvs.director.ipvs.family import Family
from pylvs.director.netlink import attribute
from pylvs.errors import (
    DaemonRuns,
    DestinationExists,
    NoDaemon,
    NoSuchDestination,
    NoSuchDevice,
    NoSuchService,
    SchedulerNotFound,
    ServiceExists,
    ServiceNotDefined,
)
from pylvs.model import FirewallMark, Timeouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pylvs.director.knob import KnobValue
    from pylvs.model import (
        Connection,
        Endpoint,
        RealServer,
        ServiceId,
        ServiceSnapshot,
        SyncDaemon,
        SyncRole,
        VirtualService,
    )

_OF_SERVICES = {errno.EEXIST: ServiceExists, errno.ESRCH: NoSuchService, errno.ENOENT: SchedulerNotFound}
_OF_SERVERS = {errno.ESRCH: ServiceNotDefined, errno.EEXIST: DestinationExists, errno.ENOENT: NoSuchDestination}
_OF_DAEMONS = {errno.EEXIST: DaemonRuns, errno.ESRCH: NoDaemon, errno.ENODEV: NoSuchDevice}
_TIMEOUTS = {
    "tcp": Attribute.TIMEOUT_TCP,
    "tcp_fin": Attribute.TIMEOUT_TCP_FIN,
    "udp": Attribute.TIMEOUT_UDP,
}


def _service(packed: bytes) -> bytes:
    return attribute(Attribute.SERVICE, packed)


def _server(id: ServiceId, packed: bytes) -> bytes:
    return _service(pack_id(id)) + attribute(Attribute.DEST, packed)


class IpvsDirector:
    """The IPVS of the network namespace that this process is in. Every change is in effect at once."""

    def __init__(self) -> None:
        self._family = Family()
        try:
            info = self._family.get(Command.GET_INFO)
        except BaseException:
            self._family.close()
            raise
        self.table_size = int.from_bytes(info[Info.TABLE_SIZE], "little")
        """Of the connection table, as listings tell it."""

    def close(self) -> None:
        """No more is asked."""
        self._family.close()

    def hold(self) -> None:
        """IPVS has no lock: other programs may always change it."""

    def judge_service(self, service: VirtualService) -> None:
        """Raises `SchedulerNotFound`, `InvalidOperation`, `FullnatRefused`."""
        limit.judge_service(service)

    def judge_server(self, id: ServiceId, server: RealServer, *, new: bool) -> None:
        """Raises `OutOfRange`, `InvalidOperation`, `FullnatRefused`."""
        limit.judge_server(id, server, new=new)

    def begin(self) -> None:
        """Nothing can wait."""

    def commit(self) -> None:
        """Every change was in effect at once."""

    def services(self) -> Sequence[ServiceSnapshot]:
        """Every service, in the order of the kernel's table."""
        return self._services(rates=False)

    def rates(self) -> Sequence[ServiceSnapshot]:
        """As `services()`, with counters per second, as the kernel smoothes them."""
        return self._services(rates=True)

    def _services(self, *, rates: bool) -> Sequence[ServiceSnapshot]:
        answers = self._family.dump(Command.GET_SERVICE)
        return [self._snapshot(answer, rates=rates) for answer in answers]

    def service(self, id: ServiceId) -> ServiceSnapshot:
        """One service; raises `NoSuchService`."""
        _check_known(id, NoSuchService)
        return self._snapshot(self._family.get(Command.GET_SERVICE, _service(pack_id(id)), _OF_SERVICES), rates=False)

    def _snapshot(self, answer: Mapping[int, bytes], *, rates: bool) -> ServiceSnapshot:
        service = unpack_service(answer[Attribute.SERVICE], rates=rates)
        id = service.service.id
        servers = self._family.dump(Command.GET_DEST, _service(pack_id(id)))
        return service.replace(
            servers=tuple(unpack_server(each[Attribute.DEST], id.family, rates=rates) for each in servers)
        )

    def add_service(self, service: VirtualService) -> None:
        """Raises `ServiceExists`, `SchedulerNotFound`, `InvalidOperation`, `FullnatRefused`."""
        limit.check_service(service)
        self._family.change(Command.NEW_SERVICE, _service(pack_service(service)), _OF_SERVICES)

    def edit_service(self, service: VirtualService) -> None:
        """Raises `NoSuchService`, `SchedulerNotFound`, `InvalidOperation`, `FullnatRefused`."""
        _check_known(service.id, NoSuchService)
        limit.check_service(service)
        self._family.change(Command.SET_SERVICE, _service(pack_service(service)), _OF_SERVICES)

    def delete_service(self, id: ServiceId) -> None:
        """Raises `NoSuchService`."""
        _check_known(id, NoSuchService)
        self._family.change(Command.DEL_SERVICE, _service(pack_id(id)), _OF_SERVICES)

    def add_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `DestinationExists`, `OutOfRange`, `InvalidOperation`, `FullnatRefused`."""
        self._write_server(Command.NEW_DEST, id, server)

    def edit_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`, `OutOfRange`, `InvalidOperation`, `FullnatRefused`."""
        self._write_server(Command.SET_DEST, id, server)

    def _write_server(self, command: Command, id: ServiceId, server: RealServer) -> None:
        _check_known(id, ServiceNotDefined)
        limit.check_server(server)
        self._family.change(command, _server(id, pack_server(server)), _OF_SERVERS)

    def delete_server(self, id: ServiceId, endpoint: Endpoint) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`."""
        _check_known(id, ServiceNotDefined)
        self._family.change(Command.DEL_DEST, _server(id, pack_endpoint(endpoint)), _OF_SERVERS)

    def flush(self) -> None:
        """Delete every service."""
        self._family.change(Command.FLUSH)

    def zero(self, id: ServiceId | None = None) -> None:
        """Set the counters of one service, or of all, to zero; raises `NoSuchService`."""
        if id is not None:
            _check_known(id, NoSuchService)
        self._family.change(Command.ZERO, b"" if id is None else _service(pack_id(id)), _OF_SERVICES)

    def timeouts(self) -> Timeouts:
        """The three timeouts that can be set, in seconds."""
        found = self._family.get(Command.GET_CONFIG)
        return Timeouts(**{name: int.from_bytes(found[kind], "little") for name, kind in _TIMEOUTS.items()})

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """They hold from each connection's next packet on; a field of 0 leaves that timeout as it is."""
        numbers = ((kind, getattr(timeouts, name)) for name, kind in _TIMEOUTS.items())
        packed = (attribute(kind, (number & 0xFFFFFFFF).to_bytes(4, "little")) for kind, number in numbers)
        self._family.change(Command.SET_CONFIG, b"".join(packed))

    def knobs(self) -> Mapping[str, KnobValue]:
        """What every knob is set to that the kernel has."""
        from pylvs.director.ipvs import knobs

        return knobs.read()

    def set_knobs(self, changes: Mapping[str, KnobValue]) -> None:
        """All of them or none; raises `InvalidKnob`."""
        from pylvs.director.ipvs import knobs

        knobs.write(changes)

    def daemons(self) -> Sequence[SyncDaemon]:
        """The connection sync daemons that run, the master first. They are threads of the kernel's."""
        from pylvs.director.ipvs.daemon import unpack

        return [unpack(answer[Attribute.DAEMON]) for answer in self._family.dump(Command.GET_DAEMON)]

    def start_daemon(self, daemon: SyncDaemon) -> None:
        """Raises `InvalidOperation`, `NoSuchDevice`, `DaemonRuns`."""
        from pylvs.director.ipvs.daemon import pack

        self._family.change(Command.NEW_DAEMON, attribute(Attribute.DAEMON, pack(daemon)), _OF_DAEMONS)

    def stop_daemon(self, role: SyncRole) -> None:
        """Raises `NoDaemon`."""
        from pylvs.director.ipvs.daemon import pack_role

        try:
            self._family.change(Command.DEL_DAEMON, attribute(Attribute.DAEMON, pack_role(role)), _OF_DAEMONS)
        except InterruptedError:
            pass  # it is gone before its thread had begun, which the kernel doesn't acknowledge

    def connections(self) -> Iterator[Connection]:
        """Every connection, in the order of the kernel's table."""
        from pylvs.director.ipvs.listing import connections

        return connections()


def _check_known(id: ServiceId, missing: type[NoSuchService | ServiceNotDefined]) -> None:
    """Mark 0 is nobody's, but the kernel would look for another service by it."""
    if isinstance(id, FirewallMark) and id.mark == 0:
        raise missing
