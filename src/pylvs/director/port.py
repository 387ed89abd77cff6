"""The contract that every director answers to. A director validates as the kernel's IPVS does and raises `Refused`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Protocol

    from pylvs.director.knob import KnobValue
    from pylvs.model import (
        Connection,
        Endpoint,
        RealServer,
        ServiceId,
        ServiceSnapshot,
        SyncDaemon,
        SyncRole,
        Timeouts,
        VirtualService,
    )
else:
    Protocol = object


class Director(Protocol):
    """A table of virtual services and what became of their connections."""

    table_size: int
    """Of the connection table, as listings have it: IPVS's usual size where it means nothing."""

    def hold(self) -> None:
        """From here on nobody else changes the table until this director is closed."""

    def judge_service(self, service: VirtualService) -> None:
        """Refuse, as `add_service` would, what this director could not have, whatever else is in its table."""

    def judge_server(self, id: ServiceId, server: RealServer, *, new: bool) -> None:
        """The same for a server: a new one, or an edited one."""

    def begin(self) -> None:
        """Many changes follow: what is costly of them may wait for `commit`, packets may see them only then."""

    def commit(self) -> None:
        """The changes since `begin` are in effect."""

    def services(self) -> Sequence[ServiceSnapshot]:
        """Every service, in no order that means anything; a service's servers are in scheduling order."""

    def service(self, id: ServiceId) -> ServiceSnapshot:
        """One service; raises `NoSuchService`."""

    def add_service(self, service: VirtualService) -> None:
        """Raises `ServiceExists`, `SchedulerNotFound`, `InvalidOperation`, `NotYetSupported`, `TableFull`."""

    def edit_service(self, service: VirtualService) -> None:
        """Replace everything about a service but its servers; raises `NoSuchService`, `SchedulerNotFound`, ..."""

    def delete_service(self, id: ServiceId) -> None:
        """Raises `NoSuchService`."""

    def add_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `DestinationExists`, `OutOfRange`, `InvalidOperation`, ..."""

    def edit_server(self, id: ServiceId, server: RealServer) -> None:
        """Replace everything about a server but its endpoint; raises `ServiceNotDefined`, `NoSuchDestination`, ..."""

    def delete_server(self, id: ServiceId, endpoint: Endpoint) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`."""

    def flush(self) -> None:
        """Delete every service."""

    def zero(self, id: ServiceId | None = None) -> None:
        """Set the counters of one service, or of all, to zero; raises `NoSuchService`."""

    def timeouts(self) -> Timeouts:
        """The three timeouts that can be set."""

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """A field of 0 leaves that timeout as it is."""

    def knobs(self) -> Mapping[str, KnobValue]:
        """What every knob of `pylvs.director.knob` is set to."""

    def set_knobs(self, changes: Mapping[str, KnobValue]) -> None:
        """All of them or none; raises `InvalidKnob`."""

    def daemons(self) -> Sequence[SyncDaemon]:
        """The connection sync daemons that run, the master first."""

    def start_daemon(self, daemon: SyncDaemon) -> None:
        """Raises `InvalidOperation`, `NoSuchDevice`, `DaemonRuns`."""

    def stop_daemon(self, role: SyncRole) -> None:
        """Raises `NoDaemon`."""

    def connections(self) -> Iterator[Connection]:
        """Every connection, in table order."""
