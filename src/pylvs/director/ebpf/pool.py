"""FULLNAT's local addresses, which the data plane knows by their numbers in `locals`."""

from __future__ import annotations

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.convert import pack_address, unpack_address
from pylvs.errors import TableFull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pylvs.director.ebpf.table import Table
    from pylvs.model import IPAddress


class Locals:
    """Numbers of local addresses. A number is its address's for good: connections speak of it long after an edit."""

    def __init__(self, table: Table) -> None:
        self._table = table
        used = table.settings.locals_used
        self._numbers = {bytes(table.locals[number]): number for number in range(used)}

    def pack(self, addresses: Iterable[IPAddress]) -> abi.Pool:
        """A pool of these; raises `TableFull`."""
        numbers = [self._number(pack_address(address)) for address in addresses]
        pool = abi.Pool(size=len(numbers))
        for place, number in enumerate(numbers):
            pool.local[place] = number
        return pool

    def unpack(self, pool: abi.Pool) -> tuple[IPAddress, ...]:
        """The addresses of a pool."""
        return tuple(unpack_address(self._table.locals[number]) for number in pool.local[: pool.size])

    def _number(self, address: bytes) -> int:
        if address not in self._numbers:
            self._numbers[address] = self._new(address)
        return self._numbers[address]

    def _new(self, address: bytes) -> int:
        settings, array = self._table.settings, self._table.locals
        number = int(settings.locals_used)
        if number >= array.entries:
            raise TableFull(
                f"no room for another local address: there have been {number}",
                hint="save the rules (ipvsadm -Sn), `pylvs detach`, attach anew and restore them",
            )
        start = number * array.stride
        array.memory[start : start + len(address)] = address
        settings.locals_used = number + 1
        return number
