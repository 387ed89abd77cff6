"""The eBPF director: the contract over the live maps of one network namespace. No process stays behind.

A command that only lists takes no lock and loads nothing; the first one that changes something holds the namespace's lock until
it is closed, and loads and attaches the data plane if there is none.
"""

from __future__ import annotations

from pathlib import Path

from pylvs.director import rules
from pylvs.director.ebpf import abi, attach, bpffs, load
from pylvs.director.ebpf.convert import METHODS, counters_since, unpack_key, unpack_server
from pylvs.director.ebpf.registry import Registry, zero_service
from pylvs.errors import (
    DestinationExists,
    NoSuchDestination,
    NoSuchService,
    NotYetSupported,
    ServiceExists,
    ServiceNotDefined,
)
from pylvs.model import Protocol, ServerSnapshot, ServiceSnapshot, Timeouts, VirtualAddress, VirtualService
from pylvs.scheduler import SCHEDULERS, Taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pylvs.director.ebpf.table import Table
    from pylvs.model import Connection, Endpoint, RealServer, ServiceId
    from pylvs.scheduler import Ring

_SETTABLE = {
    "tcp": abi.ConnectionState.ESTABLISHED,
    "tcp_fin": abi.ConnectionState.FIN_WAIT,
    "udp": abi.ConnectionState.UDP,
}


class EbpfDirector:
    """The director of the network namespace that this process is in."""

    def __init__(
        self,
        *,
        hook: str = "auto",
        capacity: load.Capacity | None = None,
        interfaces: Sequence[attach.Interface] = (),
    ) -> None:
        attach.permitted()
        self._hook = hook
        self._interfaces = interfaces
        self._capacity = capacity or load.Capacity()
        self._cookie = bpffs.netns_cookie()
        self._lock: load.Lock | None = None
        self._live: Table | None = None
        self._slots: Registry | None = None
        self._open_live()

    def _open_live(self) -> None:
        base = bpffs.mounted()
        directory = bpffs.pin_directory(base, self._cookie) if base else None
        if directory is not None and directory.is_dir():
            self._live = load.Table(directory)
            load.check_layout(self._live.fd("settings"))

    def close(self) -> None:
        """Let others change the director again."""
        if self._live:
            self._live.close()
        if self._lock:
            self._lock.__exit__(None, None, None)
            self._lock = None

    @property
    def table(self) -> Table | None:
        """The live maps, None while nothing is loaded."""
        return self._live

    def loaded(self) -> Table:
        """The live maps, locked for this process, loaded and attached if they were not there."""
        if self._lock is None:
            lock = load.Lock(self._cookie)
            lock.__enter__()
            self._lock, self._slots = lock, None
            if self._live is None:
                self._open_live()
        if self._live is None:
            self._start()
        elif load.sweep_stands_still(self._live):
            load.start_sweep(self._live)
        return self._live

    def _start(self) -> None:
        from pylvs.director.ebpf import recover

        base = bpffs.ensure_mounted()
        bpffs.remove_orphans(base)
        directory = bpffs.pin_directory(base, self._cookie)
        self._live = recover.lost(directory)
        if self._live is not None:
            return
        self._live = load.load(directory, self._capacity)
        try:
            attach.attach(self._live, self._interfaces or attach.candidates(), self._hook)
        except BaseException:
            attach.detach(self._live, attach.attachments(self._live))
            bpffs.remove_pins(self._live.pins)
            self._live = None
            raise

    @property
    def _registry(self) -> Registry | None:
        if self._slots is None and self._live is not None:
            self._slots = Registry(self._live)
        return self._slots

    def _changing(self) -> tuple[Table, Registry]:
        table = self.loaded()
        registry = self._registry
        assert registry is not None
        return table, registry

    def services(self) -> Sequence[ServiceSnapshot]:
        """Every service, the one added last first."""
        registry = self._registry
        return [] if registry is None else [self._snapshot(registry, n) for n in reversed(registry.services.values())]

    def service(self, id: ServiceId) -> ServiceSnapshot:
        """One service; raises `NoSuchService`."""
        registry = self._registry
        if registry is None or id not in registry.services:
            raise NoSuchService
        return self._snapshot(registry, registry.services[id])  # type: ignore[index]

    def _snapshot(self, registry: Registry, number: int) -> ServiceSnapshot:
        assert self._live is not None
        raw = self._live.services[number]
        service = VirtualService(unpack_key(raw.key), raw.scheduler.decode())
        totals = self._live.statistics("service_statistics", number)
        servers = tuple(self._server_snapshot(n) for n in registry.servers[number])
        return ServiceSnapshot(service, servers, counters_since(totals, raw.zero))

    def _server_snapshot(self, number: int) -> ServerSnapshot:
        assert self._live is not None
        raw = self._live.servers[number]
        totals = self._live.statistics("server_statistics", number)
        load_now = raw.load
        return ServerSnapshot(
            unpack_server(raw), load_now >> 32, load_now & 0xFFFFFFFF, 0, counters_since(totals, raw.zero)
        )

    def _find(self, id: ServiceId) -> int | None:
        registry = self._registry
        return registry.services.get(id) if registry and isinstance(id, VirtualAddress) else None

    def add_service(self, service: VirtualService) -> None:
        """Raises `ServiceExists`, `SchedulerNotFound`, `NotYetSupported`, `TableFull`. The first one loads the data plane."""
        if self._find(service.id) is not None:
            raise ServiceExists
        id = _checked(service)
        table, registry = self._changing()
        if id in registry.services:
            raise ServiceExists
        number = registry.add_service(id)
        self._set_scheduler(number, service.scheduler)
        registry.publish_service(id)
        attach.attach_missing(table, self._hook)

    def edit_service(self, service: VirtualService) -> None:
        """Raises `NoSuchService`, `SchedulerNotFound`, `NotYetSupported`."""
        if self._find(service.id) is None:
            raise NoSuchService
        id = _checked(service)
        table, registry = self._changing()
        number = registry.services[id]
        if table.services[number].scheduler.decode() != service.scheduler:
            self._set_scheduler(number, service.scheduler)

    def _set_scheduler(self, number: int, name: str) -> None:
        table, registry = self._changing()
        scheduler = SCHEDULERS[name]
        raw = table.services[number]
        raw.scheduler = name.encode()
        ring = scheduler.ring(self._servers(registry.servers[number]))
        self._swap_ring(number, ring)
        raw.selection = int(scheduler.selection)

    def _servers(self, numbers: Sequence[int]) -> tuple[RealServer, ...]:
        assert self._live is not None
        return tuple(unpack_server(self._live.servers[n]) for n in numbers)

    def _swap_ring(self, number: int, ring: Ring) -> None:
        table, registry = self._changing()
        slots = registry.servers[number]
        raw = table.services[number]
        raw.turns_at_swap = raw.turns_taken
        load.make_ring(table, number, [slots[turn] for turn in ring.turns], ring.start)
        raw.mark, raw.ring_size, raw.ring_start = ring.mark, len(ring.turns), ring.start

    def _taken(self, number: int, servers: tuple[RealServer, ...]) -> Taken:
        """What the scheduler must know of the ring before it is made anew."""
        assert self._live is not None
        raw = self._live.services[number]
        count = raw.turns_taken - raw.turns_at_swap
        last = (raw.ring_start + count - 1) % raw.ring_size if count and raw.ring_size else None
        return Taken(servers, raw.mark, last)

    def _reschedule(self, number: int, taken: Taken) -> None:
        table, registry = self._changing()
        scheduler = SCHEDULERS[table.services[number].scheduler.decode()]
        self._swap_ring(number, scheduler.ring(self._servers(registry.servers[number]), taken))

    def delete_service(self, id: ServiceId) -> None:
        """Raises `NoSuchService`."""
        if self._find(id) is None:
            raise NoSuchService
        self._changing()[1].delete_service(id)  # type: ignore[arg-type]

    def add_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `DestinationExists`, `OutOfRange`, `InvalidOperation`, `NotYetSupported`."""
        if self._find(id) is None:
            raise ServiceNotDefined
        assert isinstance(id, VirtualAddress)
        rules.check_server(id, server)
        table, registry = self._changing()
        number = registry.services[id]
        if registry.find_server(number, server.endpoint) is not None:
            raise DestinationExists
        rules.check_unicast(server.endpoint.address)
        _check_method(server)
        taken = self._taken(number, self._servers(registry.servers[number]))
        slot = registry.add_server(number, id, server)
        if not _forwards():
            table.servers[slot].interface = attach.interface_towards(server.endpoint.address)
        self._reschedule(number, taken)

    def edit_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`, `OutOfRange`, `InvalidOperation`, `NotYetSupported`."""
        if self._find(id) is None:
            raise ServiceNotDefined
        assert isinstance(id, VirtualAddress)
        rules.check_server(id, server)
        _, registry = self._changing()
        number = registry.services[id]
        slot = registry.find_server(number, server.endpoint)
        if slot is None:
            raise NoSuchDestination
        _check_method(server)
        taken = self._taken(number, self._servers(registry.servers[number]))
        registry.write_server(slot, server)
        self._reschedule(number, taken)

    def delete_server(self, id: ServiceId, endpoint: Endpoint) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`."""
        if self._find(id) is None:
            raise ServiceNotDefined
        _, registry = self._changing()
        number = registry.services[id]  # type: ignore[index]
        slot = registry.find_server(number, endpoint)
        if slot is None:
            raise NoSuchDestination
        taken = self._taken(number, self._servers(registry.servers[number]))
        registry.delete_server(number, slot)
        self._reschedule(number, taken)

    def flush(self) -> None:
        """Delete every service."""
        if self._live is not None:
            _, registry = self._changing()
            for id in list(registry.services):
                registry.delete_service(id)

    def zero(self, id: ServiceId | None = None) -> None:
        """Set the counters of one service, or of all, to zero; raises `NoSuchService`."""
        if id is not None and self._find(id) is None:
            raise NoSuchService
        if self._live is None:
            return
        table, registry = self._changing()
        numbers = registry.services.values() if id is None else [registry.services[id]]  # type: ignore[index]
        for number in numbers:
            zero_service(table, registry, number)

    def timeouts(self) -> Timeouts:
        """The three timeouts that can be set, in seconds."""
        if self._live is None:
            return Timeouts()
        timeout = self._live.settings.timeout
        return Timeouts(**{name: timeout[state] // abi.TICKS_A_SECOND for name, state in _SETTABLE.items()})

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """They hold from each connection's next packet on; a field of 0 leaves that timeout as it is."""
        rules.check_timeouts(timeouts)
        timeout = self.loaded().settings.timeout
        for name, state in _SETTABLE.items():
            if seconds := getattr(timeouts, name):
                timeout[state] = seconds * abi.TICKS_A_SECOND

    def connections(self) -> Iterator[Connection]:
        """Every connection, in table order."""
        if self._live is not None:
            from pylvs.director.ebpf.listing import connections

            yield from connections(self._live)


def _forwards() -> bool:
    return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() != "0"


def _checked(service: VirtualService) -> VirtualAddress:
    """Refuse what the data plane doesn't do yet, by name."""
    id = service.id
    if not isinstance(id, VirtualAddress):
        raise NotYetSupported("firewall mark services are not supported yet")
    rules.check_service(service, SCHEDULERS)
    for missing, name in (
        (id.family == 6, "IPv6 services"),
        (id.protocol is Protocol.SCTP, "SCTP services"),
        (id.endpoint.port == 0, "services for every port"),
        (service.persistence is not None, "persistent services"),
        (service.one_packet, "one-packet scheduling"),
        (bool(service.persistence_engine), "persistence engines"),
        (bool(service.flags), "scheduler flags"),
    ):
        if missing:
            raise NotYetSupported(f"{name} are not supported yet" if name[-1] == "s" else f"{name} is not supported yet")
    return id


def _check_method(server: RealServer) -> None:
    if server.method not in METHODS:
        raise NotYetSupported(f"forwarding by {server.method} is not supported yet: use -m (NAT) or -g (DR)")
    if server.upper_threshold:
        raise NotYetSupported("connection thresholds are not supported yet")
