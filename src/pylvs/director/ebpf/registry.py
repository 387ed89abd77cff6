"""Which slots of the services and servers maps are whose. Read once for a command; changes go to the maps at once.

A deleted server keeps its slot while it has connections, and comes back to them when it is added again.
"""

from __future__ import annotations

import os
import time

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.convert import (
    METHODS,
    pack_address,
    pack_key,
    pack_netmask,
    pack_tunnel,
    unpack_address,
    unpack_key,
)
from pylvs.director.ebpf.pool import Locals
from pylvs.director.ebpf.role import Roles
from pylvs.director.ebpf.table import word
from pylvs.director.rules import LOCAL_PORTS
from pylvs.errors import TableFull
from pylvs.model import Endpoint, FirewallMark, Protocol, VirtualAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pylvs.director.ebpf.route import Way
    from pylvs.director.ebpf.table import Array, Table
    from pylvs.model import IPAddress, RealServer, ServiceId, VirtualService

_SETTLE_TICKS = 2 * abi.TICKS_A_SECOND
"""So long after its deletion no packet can still be on its way to a server."""

_FTP = 21


class Registry:
    """Slots by identity. `servers[n]` are the slot numbers of service n's servers in scheduling order."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.roles = Roles(table)
        self.locals = Locals(table)
        self.services: dict[ServiceId, int] = {}
        self.servers: dict[int, list[int]] = {}
        self._endpoints: dict[int, Endpoint] = {}  # of server slots, as far as they were asked for
        self._deleted: dict[tuple[bytes, Endpoint], int] = {}
        self._free_servers: list[int] = []
        self._free_services: list[int] = []
        self._read_services()
        self._read_servers()

    def _read_services(self) -> None:
        for number in range(self._table.settings.services_used):
            service = self._table.services[number]
            if service.in_use:
                self.services[unpack_key(service.key)] = number
                self.servers[number] = []
            else:
                self._free_services.append(number)

    def _read_servers(self) -> None:
        for number in range(self._table.settings.servers_used):
            server = self._table.servers[number]
            if server.phase == abi.ServerPhase.AVAILABLE:
                if server.service in self.servers:  # else its service came after we had looked
                    self.servers[server.service].append(number)
            elif server.phase == abi.ServerPhase.DELETED:
                self._deleted[bytes(server.service_key), self.endpoint(number)] = number
            else:
                self._free_servers.append(number)
        for numbers in self.servers.values():
            numbers.sort(key=lambda number: -self._table.servers[number].serial)

    @property
    def marks(self) -> set[FirewallMark]:
        """The firewall marks that have services."""
        return {id for id in self.services if isinstance(id, FirewallMark)}

    def endpoint(self, number: int) -> Endpoint:
        """The address and port in a server slot."""
        if number not in self._endpoints:
            server = self._table.servers[number]
            self._endpoints[number] = Endpoint(unpack_address(server.address), server.port)
        return self._endpoints[number]

    def find_server(self, service: int, endpoint: Endpoint) -> int | None:
        """The slot of one of a service's servers."""
        return next((n for n in self.servers[service] if self.endpoint(n) == endpoint), None)

    def source(self, server: int) -> IPAddress | None:
        """The director's own address towards a server, as far as the kernel knew one."""
        source = bytes(self._table.servers[server].source)
        return unpack_address(source) if any(source) else None

    @property
    def local_ports(self) -> range:
        """Those that FULLNAT uses of local addresses."""
        knob = self._table.settings.knob
        first, last = knob[abi.Knob.LOCAL_PORT_FIRST], knob[abi.Knob.LOCAL_PORT_LAST]
        return range(first, last + 1) if last else LOCAL_PORTS

    def may_overlap(self, service: VirtualService) -> bool:
        """Whether one of its addresses may be both a VIP and a local one."""
        if any(self.roles.of(pack_address(local)) & abi.AddressRole.VIP for local in service.local_addresses):
            return True
        if not isinstance(service.id, VirtualAddress):
            return False
        vip = service.id.endpoint.address
        return vip in service.local_addresses or bool(self.roles.of(pack_address(vip)) & abi.AddressRole.LOCAL)

    def _serial(self) -> int:
        self._table.settings.next_serial += 1
        return int(self._table.settings.next_serial)

    def begin_scheduling(self, number: int) -> None:
        """A service's scheduler starts anew: it remembers no destinations."""
        raw = self._table.services[number]
        raw.memory, raw.scheduled_from = self._serial(), self._table.settings.now

    def scheduler_file(self, number: int) -> str:
        """Where the user's own scheduler of a service is; "" for an entry point's."""
        found = libbpf.lookup(self._table.fd("scheduler_files"), word(number), abi.PATH_SIZE)
        return os.fsdecode(found.rstrip(b"\0")) if found else ""

    def remember_scheduler_file(self, number: int, file: str) -> None:
        """Or that it has none ("")."""
        fd, path = self._table.fd("scheduler_files"), os.fsencode(file)
        if not path:
            libbpf.delete(fd, word(number))
            return
        libbpf.update(fd, word(number), path.ljust(abi.PATH_SIZE, b"\0"))

    def add_service(self, service: VirtualService) -> int:
        """A slot for a new service, not yet in use; raises `TableFull`."""
        pool = self.pack_pool(service.local_addresses)
        number = self._free_service()
        services = self._table.services
        services.clear(number)
        self.remember_scheduler_file(number, "")
        services[number].key = abi.ServiceKey.from_buffer_copy(pack_key(service.id))
        _zero_service(self._table, number)
        self.services[service.id] = number
        self.servers[number] = []
        self.write_service(number, service, pool, {})
        return number

    def write_service(
        self, number: int, service: VirtualService, pool: abi.Pool, pools: Mapping[int, abi.Pool]
    ) -> None:
        """What can be edited of a service but its scheduler, and what follows from it for its servers."""
        raw = self._table.services[number]
        raw.persistence = (service.persistence or 0) * abi.TICKS_A_SECOND
        raw.one_packet = service.one_packet
        raw.scheduler_flags = service.flags
        raw.netmask = abi.Address.from_buffer_copy(pack_netmask(service))
        raw.engine = service.persistence_engine.encode()
        raw.pool = pool
        for server in self.servers[number]:
            self._write_ports(server)
            self._table.servers[server].pool = pools[server]

    def _free_service(self) -> int:
        if self._free_services:
            return self._free_services.pop()
        settings = self._table.settings
        if settings.services_used >= self._table.services.entries:
            raise TableFull(
                f"no room for another service: there are {len(self.services)}",
                hint="`pylvs detach`, then `pylvs attach --services N` with a larger N",
            )
        settings.services_used += 1
        return int(settings.services_used) - 1

    def publish_service(self, id: ServiceId) -> None:
        """From now on packets find it."""
        number = self.services[id]
        if not isinstance(id, FirewallMark):
            self.roles.add(pack_address(id.endpoint.address), abi.AddressRole.VIP)
        self._table.services[number].in_use = 1
        libbpf.update(self._table.fd("service_index"), pack_key(id), word(number))

    def delete_service(self, id: ServiceId) -> None:
        """Packets find it no more; its servers are deleted with it."""
        number = self.services.pop(id)
        libbpf.delete(self._table.fd("service_index"), pack_key(id))
        for server in self.servers.pop(number):
            self.retire_server(server)
        raw = self._table.services[number]
        raw.in_use = 0
        self.roles.leave(bytes(raw.key.vip))
        self._leave_pool(raw.pool)
        self._free_services.append(number)

    def add_server(self, service: int, server: RealServer, way: Way, pool: abi.Pool) -> int:
        """A slot at the head of the service's list, available at once; raises `TableFull`.

        A deleted server with the same identity comes back with its connections and counters.
        """
        owner = self._table.services[service]
        key, address = bytes(owner.key), pack_address(server.endpoint.address)
        revived = self._deleted.pop((key, server.endpoint), None)
        number = self._free_slot() if revived is None else revived
        raw = self._table.servers[number]
        if revived is None:
            self._table.servers.clear(number)
            raw.address = abi.Address.from_buffer_copy(address)
            raw.port = server.endpoint.port
            raw.service_key = abi.ServiceKey.from_buffer_copy(key)
            self._endpoints[number] = server.endpoint
            _zero_server(self._table, number)
        raw.service = service
        raw.virtual_port = owner.key.port
        raw.serial = self._serial()
        raw.last_weight = 0
        self.write_server(number, server, way, pool)
        self.roles.add(address, abi.AddressRole.RIP)
        raw.phase = abi.ServerPhase.AVAILABLE
        self.servers[service].insert(0, number)
        return number

    def write_server(self, number: int, server: RealServer, way: Way, pool: abi.Pool) -> None:
        """What can be edited of a server, and what the kernel says of the way to it."""
        self._write_ports(number)
        raw = self._table.servers[number]
        raw.pool = pool
        raw.local, raw.interface = way.local, way.interface
        self._write_source(raw, way.source)
        raw.tunnel = pack_tunnel(server.tunnel)
        raw.weight = server.weight
        raw.last_weight = server.weight or raw.last_weight
        raw.upper_threshold, raw.lower_threshold = server.upper_threshold, server.lower_threshold
        compare_with_thresholds(raw)
        raw.method = METHODS[server.method]  # last: the others are there when a packet sees it

    def _write_source(self, raw: abi.Server, source: IPAddress | None) -> None:
        before, after = bytes(raw.source), pack_address(source) if source else bytes(16)
        if source:
            self.roles.add(after, abi.AddressRole.DIP)
        if before != after:
            self.roles.leave(before)
        raw.source = abi.Address.from_buffer_copy(after)

    def pack_pool(self, local_addresses: Sequence[IPAddress]) -> abi.Pool:
        """A pool whose addresses are known as local ones; raises `TableFull`."""
        pool = self.locals.pack(local_addresses)
        for address in local_addresses:
            self.roles.add(pack_address(address), abi.AddressRole.LOCAL)
        return pool

    def _leave(self, raw: abi.Server) -> None:
        for address in (raw.address, raw.source):
            self.roles.leave(bytes(address))
        self._leave_pool(raw.pool)

    def _leave_pool(self, pool: abi.Pool) -> None:
        for address in self.locals.unpack(pool):
            self.roles.leave(pack_address(address))

    def _write_ports(self, number: int) -> None:
        """Where a service has every port, or FTP's, packets keep theirs: all of it or all but FTP's own."""
        raw = self._table.servers[number]
        service = self._table.services[raw.service]
        key, persistent = service.key, bool(service.persistence)
        raw.mapped_port = 0 if persistent and not key.port else raw.port
        with_data = persistent and key.port == _FTP and key.protocol == Protocol.TCP
        raw.many_to_one = not key.port or with_data

    def retire_server(self, number: int) -> None:
        """It keeps its connections, whose packets are dropped. No ring may name it any more."""
        raw = self._table.servers[number]
        raw.deleted_at = self._table.settings.now
        raw.phase = abi.ServerPhase.DELETED
        self._leave(raw)
        self._deleted[bytes(raw.service_key), self.endpoint(number)] = number

    def _free_slot(self) -> int:
        if self._free_servers:
            return self._free_servers.pop()
        settings = self._table.settings
        if settings.servers_used < self._table.servers.entries:
            settings.servers_used += 1
            return int(settings.servers_used) - 1
        for identity, number in self._deleted.items():
            raw = self._table.servers[number]
            if not raw.load:
                del self._deleted[identity]
                self._let_settle(raw)
                self._leave(raw)
                return number
        raise TableFull(
            f"no room for another server: there are {settings.servers_used}, deleted ones with connections included",
            hint="`pylvs detach`, then `pylvs attach --servers N` with a larger N",
        )

    def _let_settle(self, raw: abi.Server) -> None:
        """Wait until no packet can still be on its way to a server that was deleted just now."""
        settings = self._table.settings
        while (settings.now - raw.deleted_at) % 2**32 <= _SETTLE_TICKS and not settings.clock_stopped:
            time.sleep(0.1)


def compare_with_thresholds(raw: abi.Server) -> None:
    """As the kernel does after an edit, too: between the two it stays what it was."""
    upper, lower = raw.upper_threshold, raw.lower_threshold
    has = (raw.load >> 32) + (raw.load & 0xFFFFFFFF)
    if upper and has >= upper:
        raw.overloaded = 1
    elif not upper or (has < lower if lower else has * 4 < upper * 3):
        raw.overloaded = 0


def _zero_service(table: Table, number: int) -> None:
    totals = abi.Statistics(*table.statistics("service_statistics", number))
    table.services[number].zero = totals
    _start_rate(table.service_rates, number, totals)


def _zero_server(table: Table, number: int) -> None:
    totals = abi.Statistics(*table.statistics("server_statistics", number))
    table.servers[number].zero = totals
    _start_rate(table.server_rates, number, totals)


def _start_rate(rates: Array[abi.Rate], number: int, totals: abi.Statistics) -> None:
    """From nothing, and from what there is now on."""
    rates.clear(number)
    rates[number].last = totals


def zero_service(table: Table, registry: Registry, number: int) -> None:
    """Count a service and its servers from nothing again, and their rates."""
    _zero_service(table, number)
    for server in registry.servers[number]:
        _zero_server(table, server)
