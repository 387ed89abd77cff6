"""Which slots of the services and servers maps are whose. Read once for a command; changes go to the maps at once.

A deleted server keeps its slot while it has connections, and comes back to them when it is added again.
"""

from __future__ import annotations

import time

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.convert import METHODS, pack_address, pack_key, unpack_address, unpack_key
from pylvs.director.ebpf.table import word
from pylvs.errors import TableFull
from pylvs.model import Endpoint, FirewallMark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.ebpf.table import Array, Table
    from pylvs.model import RealServer, ServiceId

_SETTLE_TICKS = 2 * abi.TICKS_A_SECOND
"""So long after its deletion no packet can still be on its way to a server."""


class Registry:
    """Slots by identity. `servers[n]` are the slot numbers of service n's servers in scheduling order."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.services: dict[ServiceId, int] = {}
        self.servers: dict[int, list[int]] = {}
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
        server = self._table.servers[number]
        return Endpoint(unpack_address(server.address), server.port)

    def find_server(self, service: int, endpoint: Endpoint) -> int | None:
        """The slot of one of a service's servers."""
        return next((n for n in self.servers[service] if self.endpoint(n) == endpoint), None)

    def _serial(self) -> int:
        self._table.settings.next_serial += 1
        return int(self._table.settings.next_serial)

    def add_service(self, id: ServiceId) -> int:
        """A slot for a new service, not yet in use; raises `TableFull`."""
        number = self._free_service()
        services = self._table.services
        services.clear(number)
        services[number].key = abi.ServiceKey.from_buffer_copy(pack_key(id))
        _set_zero(self._table, services, "service_statistics", number)
        self.services[id] = number
        self.servers[number] = []
        return number

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
        self._table.services[number].in_use = 1
        libbpf.update(self._table.fd("service_index"), pack_key(id), word(number))

    def delete_service(self, id: ServiceId) -> None:
        """Packets find it no more; its servers are deleted with it."""
        number = self.services.pop(id)
        libbpf.delete(self._table.fd("service_index"), pack_key(id))
        for server in self.servers.pop(number):
            self.retire_server(server)
        self._table.services[number].in_use = 0
        self._free_services.append(number)

    def add_server(self, service: int, id: ServiceId, server: RealServer) -> int:
        """A slot at the head of the service's list, available at once; raises `TableFull`.

        A deleted server with the same identity comes back with its connections and counters.
        """
        key = pack_key(id)
        revived = self._deleted.pop((key, server.endpoint), None)
        number = self._free_slot() if revived is None else revived
        raw = self._table.servers[number]
        if revived is None:
            self._table.servers.clear(number)
            raw.address = abi.Address.from_buffer_copy(pack_address(server.endpoint.address))
            raw.port = server.endpoint.port
            raw.service_key = abi.ServiceKey.from_buffer_copy(key)
            _set_zero(self._table, self._table.servers, "server_statistics", number)
        raw.service = service
        raw.virtual_port = raw.service_key.port
        raw.many_to_one = not raw.service_key.port
        raw.serial = self._serial()
        self.write_server(number, server)
        raw.phase = abi.ServerPhase.AVAILABLE
        self.servers[service].insert(0, number)
        return number

    def write_server(self, number: int, server: RealServer) -> None:
        """What can be edited of a server."""
        raw = self._table.servers[number]
        raw.method = METHODS[server.method]
        raw.mapped_port = server.endpoint.port
        raw.weight = server.weight
        raw.upper_threshold, raw.lower_threshold = server.upper_threshold, server.lower_threshold

    def retire_server(self, number: int) -> None:
        """It keeps its connections, whose packets are dropped. No ring may name it any more."""
        raw = self._table.servers[number]
        raw.deleted_at = self._table.settings.now
        raw.phase = abi.ServerPhase.DELETED
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


def _set_zero(table: Table, records: Array[abi.Service] | Array[abi.Server], statistics: str, number: int) -> None:
    records[number].zero = abi.Statistics(*table.statistics(statistics, number))


def zero_service(table: Table, registry: Registry, number: int) -> None:
    """Count a service and its servers from nothing again."""
    _set_zero(table, table.services, "service_statistics", number)
    for server in registry.servers[number]:
        _set_zero(table, table.servers, "server_statistics", server)
