"""The eBPF director: the contract over the live maps of one network namespace. No process stays behind.

A command that only lists takes no lock and loads nothing; one that changes something holds the namespace's lock until
it is closed, and loads and attaches the data plane if there is none.
"""

from __future__ import annotations

import os

from pylvs.director import rules
from pylvs.director.ebpf import abi, bpffs, limit
from pylvs.director.ebpf.abi import Pool
from pylvs.director.ebpf.convert import counters_since, unpack_rate, unpack_server, unpack_service
from pylvs.director.ebpf.lock import Lock
from pylvs.director.ebpf.registry import Registry, zero_service
from pylvs.director.ebpf.ring import swap_rings
from pylvs.director.ebpf.table import Table
from pylvs.errors import (
    DestinationExists,
    InvalidOperation,
    NoSuchDestination,
    NoSuchService,
    NotPermitted,
    PylvsError,
    Refused,
    ServiceExists,
    ServiceNotDefined,
)
from pylvs.model import FirewallMark, ForwardingMethod, ServerSnapshot, ServiceSnapshot, Timeouts
from pylvs.model.value import Value
from pylvs.scheduler import SCHEDULERS, Taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pylvs.director.ebpf.attach import Interface
    from pylvs.director.ebpf.capacity import Capacity
    from pylvs.director.ebpf.route import Lookups, Way
    from pylvs.director.knob import KnobValue
    from pylvs.model import (
        Connection,
        Endpoint,
        IPAddress,
        RealServer,
        ServiceId,
        SyncDaemon,
        SyncRole,
        VirtualService,
    )
    from pylvs.model.connection_filter import ConnectionFilter
    from pylvs.scheduler import Ring, Selection

_SETTABLE = {
    "tcp": abi.ConnectionState.ESTABLISHED,
    "tcp_fin": abi.ConnectionState.FIN_WAIT,
    "udp": abi.ConnectionState.UDP,
}


class Waiting(Value):
    """A service that needs a new ring: its scheduler, and the mark to lay the ring out from.

    `own` is what a scheduler of the user's own has answered already.
    """

    scheduler: str
    mark: int
    own: tuple[Selection, Ring] | None = None


class EbpfDirector:
    """The director of the network namespace that this process is in."""

    table_size = rules.USUAL_TABLE_SIZE

    def __init__(
        self,
        *,
        hook: str = "auto",
        capacity: Capacity | None = None,
        interfaces: Sequence[Interface] = (),
        scheduler_file: str = "",
    ) -> None:
        if os.geteuid() != 0:
            raise NotPermitted("Permission denied (you must be root)")
        self._hook = hook
        self._capacity = capacity
        self._interfaces = interfaces
        self._scheduler_file = scheduler_file
        self._cookie = bpffs.netns_cookie()
        self._lock: Lock | None = None
        self._live: Table | None = None
        self._slots: Registry | None = None
        self._waiting: dict[int, Waiting] | None = None
        self._remembered: Lookups | None = None
        self._unattached = False
        self._unpacked: dict[int, tuple[RealServer, ...]] = {}  # in a batch: the servers of services that wait
        self._open()

    def _open(self) -> None:
        base = bpffs.mounted()
        directory = bpffs.pin_directory(base, self._cookie) if base else None
        if directory is not None and os.path.isdir(directory):
            from pylvs.director.ebpf.load import check_layout

            self._live = Table(directory)
            check_layout(self._live.fd("settings"))
        else:
            self._recover()

    def _recover(self) -> None:
        from pylvs.director.ebpf import recover

        if recover.attached():
            self._lock = self._lock or Lock(self._cookie)
            self._live = recover.pin_again(bpffs.pin_directory(bpffs.ensure_mounted(), self._cookie))

    def close(self) -> None:
        """Let others change the director again."""
        if self._live:
            self._live.close()
        if self._lock:
            self._lock.release()
            self._lock = None

    @property
    def table(self) -> Table | None:
        """The live maps, None while nothing is loaded."""
        return self._live

    def loaded(self) -> Table:
        """The live maps, locked for this process, loaded and attached if they were not there."""
        from pylvs.director.ebpf import load

        fresh = self._lock is None
        if self._lock is None:
            self._lock, self._slots = Lock(self._cookie), None
            if self._live is not None:  # what was seen without the lock may be gone by now
                self._live.close()
                self._live = None
            self._open()
        if self._live is None:
            self._live = self._start()
        elif load.sweep_stands_still(self._live):
            load.start_sweep(self._live)
        if fresh:
            try:
                self._lead_marks()  # an earlier command may have been cut short
            except PylvsError:
                pass  # what this one is for may be possible all the same
        return self._live

    def _start(self) -> Table:
        from pylvs.director.ebpf import attach, here, load
        from pylvs.director.ebpf.capacity import Capacity

        base = bpffs.ensure_mounted()
        bpffs.remove_orphans(base)
        table = load.load(bpffs.pin_directory(base, self._cookie), self._capacity or Capacity())
        try:
            attach.attach(table, self._interfaces or attach.candidates(), self._hook)
            here.attach_to(table)
        except BaseException:
            attach.detach(table, attach.attachments(table))
            here.detach(table)
            bpffs.remove_pins(table.pins)
            raise
        return table

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
        return self._snapshot(registry, registry.services[id])

    def rates(self) -> Sequence[ServiceSnapshot]:
        """As `services()`, with what there is per second in place of totals."""
        registry = self._registry
        if registry is None:
            return []
        return [self._with_rates(registry, number) for number in reversed(registry.services.values())]

    def _with_rates(self, registry: Registry, number: int) -> ServiceSnapshot:
        assert self._live is not None
        snapshot = self._snapshot(registry, number)
        rates = self._live.server_rates
        servers = zip(snapshot.servers, registry.servers[number], strict=True)
        return snapshot.replace(
            servers=tuple(server.replace(counters=unpack_rate(rates[slot])) for server, slot in servers),
            counters=unpack_rate(self._live.service_rates[number]),
        )

    def _snapshot(self, registry: Registry, number: int) -> ServiceSnapshot:
        assert self._live is not None
        raw = self._live.services[number]
        service = self._service(registry, number)
        zero = abi.Statistics.from_buffer_copy(raw.zero)  # before the totals: they only grow
        totals = self._live.statistics("service_statistics", number)
        servers = tuple(self._server_snapshot(n) for n in registry.servers[number])
        return ServiceSnapshot(service, servers, counters_since(totals, zero))

    def _service(self, registry: Registry, number: int) -> VirtualService:
        assert self._live is not None
        raw = self._live.services[number]
        return unpack_service(raw, self._scheduler_of(number), registry.locals.unpack(raw.pool))

    def _server_snapshot(self, number: int) -> ServerSnapshot:
        assert self._live is not None
        raw = self._live.servers[number]
        zero = abi.Statistics.from_buffer_copy(raw.zero)
        counters = counters_since(self._live.statistics("server_statistics", number), zero)
        load_now = raw.load
        return ServerSnapshot(unpack_server(raw), load_now >> 32, load_now & 0xFFFFFFFF, raw.templates, counters)

    def _find(self, id: ServiceId) -> int | None:
        registry = self._registry
        return registry.services.get(id) if registry else None

    def _to_change(self, id: ServiceId, missing: type[Refused]) -> tuple[Registry, int]:
        """A service's slot, under the lock; raises `missing`. Looks before it locks: nothing is loaded for nothing."""
        if self._find(id) is None:
            raise missing
        _, registry = self._changing()
        number = self._find(id)
        if number is None:
            raise missing
        return registry, number

    @property
    def _lookups(self) -> Lookups:
        """Between `begin` and `commit` nothing is asked twice."""
        from pylvs.director.ebpf.route import Lookups

        if self._waiting is None or self._remembered is None:
            self._remembered = Lookups()
        return self._remembered

    def add_service(self, service: VirtualService) -> None:
        """Raises `ServiceExists`, `SchedulerNotFound`, `NotYetSupported`, `TableFull`, ... The first one loads all."""
        if self._find(service.id) is not None:
            raise ServiceExists
        own = self._check_service(service, ())
        table, registry = self._changing()
        if service.id in registry.services:
            raise ServiceExists
        self._check_overlap(registry, service)
        if isinstance(service.id, FirewallMark):
            self._expect_mark(service.id)
        number = registry.add_service(service)
        table.services[number].scheduler = service.scheduler.encode()  # a restore that is killed leaves it editable
        self._set_scheduler(number, service.scheduler, own)
        registry.publish_service(service.id)
        self._lead_marks()
        self._unattached = True
        self._attach_where_missing()

    def _attach_where_missing(self) -> None:
        """To interfaces that came after the data plane was loaded; in a batch, at its end."""
        if self._waiting is None and self._unattached:
            from pylvs.director.ebpf import attach, here

            table, _ = self._changing()
            if attach.attach_missing(table, self._hook):
                here.attach_to(table)
            self._unattached = False

    def edit_service(self, service: VirtualService) -> None:
        """Raises `NoSuchService`, `SchedulerNotFound`, `NotYetSupported`, `FullnatRefused`, ..."""
        if self._find(service.id) is None:
            raise NoSuchService
        registry, number = self._to_change(service.id, NoSuchService)
        own = self._check_service(service, self._service_servers(number), number)
        self._check_overlap(registry, service)
        rules.check_fullnat(service, self._service_servers(number))
        pools = self._pools(registry, service, number)
        registry.write_service(number, service, registry.pack_pool(service.local_addresses), pools)
        if own or self._scheduler_of(number) != service.scheduler:
            self._set_scheduler(number, service.scheduler, own)

    def hold(self) -> None:
        """Take the lock; where nothing is loaded, there is nothing to hold."""
        if self._live is not None:
            self.loaded()

    def judge_service(self, service: VirtualService) -> None:
        """Raises `SchedulerNotFound`, `NotYetSupported`, `InvalidOperation`, `FullnatRefused`, ..."""
        number = self._find(service.id)
        self._check_service(service, () if number is None else self._service_servers(number), number)

    def _check_service(
        self, service: VirtualService, servers: Sequence[RealServer], number: int | None = None
    ) -> Waiting | None:
        """Raises what is wrong with it; what a scheduler of the user's own answers for its servers comes back."""
        rules.check_service(service, {*SCHEDULERS, service.scheduler})
        limit.check_service(service)
        if service.local_addresses:
            rules.check_owned(service, self._lookups.own)
        if service.scheduler in SCHEDULERS:
            return None
        remembered = number is not None and self._scheduler_of(number) == service.scheduler
        return self._ask(
            service.scheduler, self._scheduler_file or (self._file_of(number) if remembered else ""), servers
        )

    def _file_of(self, number: int | None) -> str:
        registry = self._registry
        return registry.scheduler_file(number) if registry and number is not None else ""

    def _ask(self, name: str, file: str, servers: Sequence[RealServer]) -> Waiting:
        from pylvs.scheduler import own

        limit.check_scheduler(name, file)
        return Waiting(name, 0, own.ask(name, file, servers))

    def _asked_again(self, number: int, servers: Sequence[RealServer]) -> Waiting | None:
        """What a service's own scheduler says to other servers than it has now, before anything is changed."""
        name = self._scheduler_of(number)
        return None if name in SCHEDULERS else self._ask(name, self._file_of(number), servers)

    def _check_overlap(self, registry: Registry, service: VirtualService) -> None:
        """Among thousands of services there is nothing to look for where no address is both a VIP and a local one."""
        if registry.may_overlap(service):
            others = (self._service(registry, n) for id, n in registry.services.items() if id != service.id)
            rules.check_overlap(service, others, registry.local_ports)

    def _pool(self, registry: Registry, service: VirtualService, server: RealServer, source: IPAddress | None) -> Pool:
        """Only FULLNAT has one: the service's local addresses of the server's family, or else the director's own."""
        if server.method is not ForwardingMethod.FULLNAT:
            return Pool()
        version = server.endpoint.address.version
        own = [address for address in service.local_addresses if address.version == version]
        return registry.pack_pool(own or [limit.source_towards(server, source)])

    def _pools(self, registry: Registry, service: VirtualService, number: int) -> dict[int, Pool]:
        """Those of a service's servers once it is edited to this."""
        servers = zip(registry.servers[number], self._service_servers(number), strict=True)
        return {slot: self._pool(registry, service, server, registry.source(slot)) for slot, server in servers}

    def _expect_mark(self, id: FirewallMark) -> None:
        """Refuse a mark whose packets can't come here; else they do from now on."""
        from pylvs.director.ebpf import mark

        table, registry = self._changing()
        mark.check(table, id)
        self._unsettle_marks()
        if self._waiting is None:
            mark.ensure(table, {*registry.marks, id})

    def _unsettle_marks(self) -> None:
        """From here on `_lead_marks` has something to do, if need be in the next command."""
        with open(bpffs.marks_path(self._cookie), "w"):
            pass

    def _lead_marks(self) -> None:
        """Lead the packets of every mark that has a service here, and no others; in a batch, at its end."""
        if self._waiting is None and os.path.exists(bpffs.marks_path(self._cookie)):
            from pylvs.director.ebpf import mark

            table, registry = self._changing()
            mark.ensure(table, registry.marks)
            os.unlink(bpffs.marks_path(self._cookie))

    def lead_marks(self) -> None:
        """Mend what others have done to the ways of marked packets."""
        if self._changing()[1].marks:
            self._unsettle_marks()
            self._lead_marks()

    def _set_scheduler(self, number: int, name: str, own: Waiting | None) -> None:
        _, registry = self._changing()
        registry.begin_scheduling(number)
        file = self._scheduler_file if own else ""
        if file or own is None or self._scheduler_of(number) != name:
            registry.remember_scheduler_file(number, file)
        self._wait(number, own or Waiting(name, SCHEDULERS[name].place(self._service_servers(number), None)))

    def _service_servers(self, number: int) -> tuple[RealServer, ...]:
        """A service's servers in scheduling order; in a batch they are read once."""
        if self._waiting is not None and number in self._unpacked:
            return self._unpacked[number]
        table, registry = self._changing()
        servers = tuple(unpack_server(table.servers[n]) for n in registry.servers[number])
        if self._waiting is not None:
            self._unpacked[number] = servers
        return servers

    def begin(self) -> None:
        """From here to `commit` the rings of what is changed are only noted."""
        if self._waiting is None:
            self._waiting, self._remembered, self._unpacked = {}, None, {}

    def commit(self) -> None:
        """Make and swap the rings that were noted, all at once: for each swap the kernel waits for its packets."""
        noted, self._waiting, self._remembered, self._unpacked = self._waiting or {}, None, None, {}
        there = self._registry.servers if self._registry else {}
        waiting = {number: what for number, what in noted.items() if number in there}
        if waiting:
            self._swap(waiting)
        self._settle()
        self._lead_marks()
        self._attach_where_missing()

    def _settle(self) -> None:
        """Forget what was needed for what was deleted; between `begin` and `commit` that can wait."""
        if self._slots is not None and self._waiting is None:
            self._slots.roles.settle()
            self._forget_answers()

    def _wait(self, number: int, what: Waiting) -> None:
        """Note that a service needs a new ring; outside of `begin` and `commit` it gets it at once."""
        if self._waiting is None:
            self._swap({number: what})
        else:
            self._waiting[number] = what

    def _swap(self, waiting: Mapping[int, Waiting]) -> None:
        table, registry = self._changing()
        laid_out = {number: what.own or self._lay_out(number, what) for number, what in waiting.items()}
        swap_rings(table, {number: (ring, registry.servers[number]) for number, (_, ring) in laid_out.items()})
        for number, what in waiting.items():
            raw = table.services[number]
            raw.selection = int(laid_out[number][0])
            raw.scheduler = what.scheduler.encode()  # last: an edit that was cut short can be repeated

    def _lay_out(self, number: int, what: Waiting) -> tuple[Selection, Ring]:
        table, registry = self._changing()
        scheduler, servers = SCHEDULERS[what.scheduler], self._service_servers(number)
        if scheduler.by_last_weight:
            weights = [table.servers[slot].last_weight for slot in registry.servers[number]]
            servers = tuple(one.replace(weight=weight) for one, weight in zip(servers, weights, strict=True))
        return scheduler.selection, scheduler.lay_out(servers, what.mark)

    def _scheduler_of(self, number: int) -> str:
        assert self._live is not None
        noted = (self._waiting or {}).get(number)
        name: bytes = self._live.services[number].scheduler
        return noted.scheduler if noted else name.decode()

    def _taken(self, number: int) -> Taken:
        """What the scheduler must know of the ring before it is made anew."""
        assert self._live is not None
        servers = self._service_servers(number)
        noted = (self._waiting or {}).get(number)
        if noted:
            return Taken(servers, noted.mark)
        raw = self._live.services[number]
        count = raw.turns_taken - raw.turns_at_swap
        last = (raw.ring_start + count - 1) % raw.ring_size if count and raw.ring_size else None
        return Taken(servers, raw.mark, last)

    def _reschedule(self, number: int, taken: Taken, own: Waiting | None) -> None:
        name = self._scheduler_of(number)
        self._wait(number, own or Waiting(name, SCHEDULERS[name].place(self._service_servers(number), taken)))

    def delete_service(self, id: ServiceId) -> None:
        """Raises `NoSuchService`."""
        registry, _ = self._to_change(id, NoSuchService)
        self._delete(registry, [id])

    def _delete(self, registry: Registry, ids: Sequence[ServiceId]) -> None:
        if any(isinstance(id, FirewallMark) for id in ids):
            self._unsettle_marks()
        for id in ids:
            self._unpacked.pop(registry.services[id], None)
            registry.delete_service(id)
        self._settle()
        self._lead_marks()

    def add_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `DestinationExists`, `OutOfRange`, `InvalidOperation`, `FullnatRefused`, ..."""
        if self._find(id) is None:
            raise ServiceNotDefined
        rules.check_server(id, server)
        registry, number = self._to_change(id, ServiceNotDefined)
        if registry.find_server(number, server.endpoint) is not None:
            raise DestinationExists
        self._check_synchronised(id, server)
        way = self._judged_way(id, server, new=True)
        pool = self._checked_pool(registry, number, server, way)
        taken = self._taken(number)
        own = self._asked_again(number, (server, *taken.servers))
        self._expect_answers(server, way)
        registry.add_server(number, server, way, pool)
        if number in self._unpacked:
            self._unpacked[number] = (server, *self._unpacked[number])
        self._settle()
        self._reschedule(number, taken, own)

    def edit_server(self, id: ServiceId, server: RealServer) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`, `OutOfRange`, `InvalidOperation`, `FullnatRefused`, ..."""
        if self._find(id) is None:
            raise ServiceNotDefined
        rules.check_server(id, server)
        registry, number = self._to_change(id, ServiceNotDefined)
        slot = registry.find_server(number, server.endpoint)
        if slot is None:
            raise NoSuchDestination
        self._check_synchronised(id, server)
        way = self._judged_way(id, server, new=False)
        pool = self._checked_pool(registry, number, server, way)
        taken = self._taken(number)
        own = self._asked_again(
            number, tuple(server if one.endpoint == server.endpoint else one for one in taken.servers)
        )
        self._expect_answers(server, way)
        registry.write_server(slot, server, way, pool)
        self._unpacked.pop(number, None)
        self._settle()
        self._reschedule(number, taken, own)

    def judge_server(self, id: ServiceId, server: RealServer, *, new: bool) -> None:
        """Raises `InvalidOperation`, `NotYetSupported`, `TunnelRefused`."""
        self._judged_way(id, server, new=new)

    def _judged_way(self, id: ServiceId, server: RealServer, *, new: bool) -> Way:
        way = self._lookups.way(server.endpoint.address)
        if new:
            _check_address(server.endpoint.address, way)
        limit.check_server(id, server, way)
        return way

    def _expect_answers(self, server: RealServer, way: Way) -> None:
        """What a program on the director answers as a real server of NAT is to be seen on its way out."""
        if way.local and server.method is ForwardingMethod.NAT:
            from pylvs.director.ebpf import here

            here.answer(self._changing()[0])

    def _forget_answers(self) -> None:
        assert self._live is not None
        if self._live.settings.own_programs & abi.ForOwnPrograms.SEES_ANSWERS:
            from pylvs.director.ebpf import here

            here.stop_answering(self._live)

    def _checked_pool(self, registry: Registry, number: int, server: RealServer, way: Way) -> Pool:
        if server.method is not ForwardingMethod.FULLNAT:
            return Pool()
        service = self._service(registry, number)
        rules.check_fullnat(service, [server])
        return self._pool(registry, service, server, way.source)

    def delete_server(self, id: ServiceId, endpoint: Endpoint) -> None:
        """Raises `ServiceNotDefined`, `NoSuchDestination`."""
        registry, number = self._to_change(id, ServiceNotDefined)
        slot = registry.find_server(number, endpoint)
        if slot is None:
            raise NoSuchDestination
        taken = self._taken(number)
        own = self._asked_again(number, tuple(one for one in taken.servers if one.endpoint != endpoint))
        registry.servers[number].remove(slot)
        self._unpacked.pop(number, None)
        self._reschedule(number, taken, own)
        if self._waiting is not None and number in self._waiting:  # no ring may name it when it is retired
            self._swap({number: self._waiting.pop(number)})
        registry.retire_server(slot)
        self._settle()

    def flush(self) -> None:
        """Delete every service."""
        if self._live is not None:
            _, registry = self._changing()
            ids = list(registry.services)
            self._delete(registry, ids)

    def zero(self, id: ServiceId | None = None) -> None:
        """Set the counters of one service, or of all, to zero; raises `NoSuchService`."""
        if id is not None:
            numbers = [self._to_change(id, NoSuchService)[1]]
        elif self._live is None:
            return
        else:
            numbers = list(self._changing()[1].services.values())
        table, registry = self._changing()
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

    def knobs(self) -> Mapping[str, KnobValue]:
        """What every knob is set to; the defaults while nothing is loaded."""
        from pylvs.director import knob
        from pylvs.director.ebpf import knobs

        return knobs.read(self._live.settings) if self._live else knob.defaults()

    def set_knobs(self, changes: Mapping[str, KnobValue]) -> None:
        """All of them or none; raises `InvalidKnob`."""
        from pylvs.director import knob
        from pylvs.director.ebpf import knobs

        knob.check(changes, self.knobs())
        settings = self.loaded().settings
        knob.check(changes, self.knobs())  # under the lock, which another may have held until now
        knobs.write(settings, changes)

    def daemons(self) -> Sequence[SyncDaemon]:
        """The connection sync daemons that were started, the master first."""
        from pylvs.director.ebpf import daemon

        return daemon.found(self._cookie) if self._live else []

    def start_daemon(self, daemon: SyncDaemon) -> None:
        """Raises `InvalidOperation`, `NoSuchDevice`, `DaemonRuns`, `DaemonFailed`. It loads the data plane."""
        from pylvs.director.ebpf import daemon as daemons

        rules.check_families(self.services())
        settled = rules.settled(daemon, daemons.mtu(daemon.interface))
        daemons.start(self._cookie, self.loaded().pins, settled)

    def stop_daemon(self, role: SyncRole) -> None:
        """Raises `NoDaemon`."""
        from pylvs.director.ebpf import daemon

        daemon.stop(self._cookie, role)

    def _check_synchronised(self, id: ServiceId, server: RealServer) -> None:
        if rules.crosses_families(id, server) and any(daemon.runs for daemon in self.daemons()):
            raise InvalidOperation

    def connections(self) -> Iterator[Connection]:
        """Every connection, in table order."""
        if self._live is not None:
            from pylvs.director.ebpf.listing import connections

            yield from connections(self._live)

    def connection_rows(self) -> Iterator[tuple[str, int, str, str, str, str]]:
        """The same in the words of a numeric listing, without a value for each of a million."""
        if self._live is not None:
            from pylvs.director.ebpf.listing import rows

            yield from rows(self._live)

    def end_connections(self, which: ConnectionFilter) -> int:
        """End every connection that is selected; returns how many there were. Their next packets are strangers'."""
        if self._live is None:
            return 0
        from pylvs.director.ebpf import ending

        return ending.end(self.loaded(), which)


def _check_address(address: IPAddress, way: Way) -> None:
    """As the kernel: one of its own addresses, or one machine's. It knows which are broadcast addresses."""
    if address.is_unspecified or not way.local:
        rules.check_unicast(address)
    if way.broadcast:
        raise InvalidOperation
