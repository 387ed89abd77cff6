"""What each address is to the director: the VIP of a service, a real server, its own towards one, FULLNAT's local one.

A fragment without ports is told by that whether it may be one of ours, and a client that claims one of the director's
addresses is known for none. So a role comes before what needs it, and goes after the last who did: the map says too
much at times, but never too little.
"""

from __future__ import annotations

from pylvs.director.ebpf import abi, libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pylvs.director.ebpf.table import Table

_SIZE = 16
_SOURCE = abi.Server.source.offset
_POOL_SIZE = abi.Server.pool.offset + 2 * abi.LOCALS_OF_SERVER
_VIP, _RIP, _LOCAL, _DIP = (getattr(abi.AddressRole, name) for name in ("VIP", "RIP", "LOCAL", "DIP"))


class Roles:
    """The `addresses` map, whose keys are packed addresses."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: dict[bytes, int] = {}
        self._leaving: set[bytes] = set()

    def of(self, address: bytes) -> int:
        """The roles of an address."""
        if address not in self._known:
            raw = libbpf.lookup(self._table.fd("addresses"), address, 4)
            self._known[address] = int.from_bytes(raw or b"", "little")
        return self._known[address]

    def add(self, address: bytes, role: abi.AddressRole) -> None:
        """From now on it has this role as well."""
        self._set(address, self.of(address) | role)

    def leave(self, address: bytes) -> None:
        """Somebody who gave it a role is gone: `settle` will see whether others are left."""
        self._leaving.add(address)

    def settle(self) -> None:
        """Take the roles that nobody needs any more, in one pass over the tables for all who have left."""
        if not self._leaving:
            return
        needed = dict.fromkeys(self._leaving, 0)
        for address, role in (*self._of_services(), *self._of_servers()):
            if address in needed:
                needed[address] |= role
        for address, roles in needed.items():
            self._set(address, roles)
        self._leaving.clear()

    def _set(self, address: bytes, roles: int) -> None:
        if self.of(address) == roles:
            return
        if roles:
            libbpf.update(self._table.fd("addresses"), address, roles.to_bytes(4, "little"))
        else:
            libbpf.delete(self._table.fd("addresses"), address)
        self._known[address] = roles

    def _of_services(self) -> Iterator[tuple[bytes, int]]:
        services = self._table.services
        for number in range(self._table.settings.services_used):
            service = services[number]
            if service.in_use:
                if service.key.protocol:
                    yield bytes(service.key.vip), _VIP
                yield from self._of_pool(service.pool)

    def _of_servers(self) -> Iterator[tuple[bytes, int]]:
        """A deleted server still sends the answers of its connections."""
        servers = self._table.servers
        for number in range(self._table.settings.servers_used):
            start = number * servers.stride
            address, source = (servers.memory[start + at : start + at + _SIZE] for at in (0, _SOURCE))
            if address in self._leaving or source in self._leaving or self._has_pool(number):
                server = servers[number]
                if server.phase == abi.ServerPhase.AVAILABLE or server.load:
                    yield address, _RIP
                    yield source, _DIP
                    yield from self._of_pool(server.pool)

    def _has_pool(self, number: int) -> bool:
        servers = self._table.servers
        return bool(servers.memory[number * servers.stride + _POOL_SIZE])

    def _of_pool(self, pool: abi.Pool) -> Iterator[tuple[bytes, int]]:
        for number in pool.local[: pool.size]:
            yield bytes(self._table.locals[number]), _LOCAL
