"""Which services and servers there are, by what connections say of them."""

from __future__ import annotations

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.convert import pack_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pylvs.director.ebpf.table import Array, Table
    from pylvs.model import IPAddress


def view(array: Array[Any], used: int, **fields: str) -> Any:
    """The fields of an array's first structures, each with the numpy format that it is to be read by."""
    import numpy

    kind = array.kind
    dtype = numpy.dtype(
        {
            "names": list(fields),
            "formats": list(fields.values()),
            "offsets": [getattr(kind, name).offset for name in fields],
            "itemsize": array.stride,
        }
    )
    return numpy.frombuffer(array.memory, dtype, count=used)


class Servers:
    """As they were at the last look."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._seen = b""
        self._services: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._numbers: dict[tuple[int, bytes, int], int] = {}
        self.look_again()

    def look_again(self) -> bool:
        """Whether anything has changed since the last look."""
        settings = self._table.settings
        services = view(self._table.services, settings.services_used, key="V24", in_use="<u4").copy()
        servers = view(
            self._table.servers, settings.servers_used, address="V16", port=">u2", phase="u1", service="<u4"
        ).copy()
        raw = b"".join(column.tobytes() for column in _columns(services, servers))
        if raw == self._seen:
            return False
        self._seen = raw
        used = zip(services["key"].tolist(), services["in_use"].tolist(), strict=True)
        self._keys = {number: key for number, (key, in_use) in enumerate(used) if in_use}
        self._services = {key: number for number, key in self._keys.items()}
        self._numbers = {
            (service, address, port): number
            for number, (address, port, phase, service) in enumerate(servers.tolist())
            if phase == abi.ServerPhase.AVAILABLE
        }
        return True

    def service(self, key: bytes) -> int | None:
        """The number of the service with this key."""
        return self._services.get(key)

    def key(self, service: int) -> bytes:
        """The key of a service, 24 bytes."""
        return self._keys[service]

    def number(self, service: int, address: IPAddress, port: int) -> int | None:
        """The number of a service's server; one without a port of its own has every port."""
        packed = pack_address(address)
        found = self._numbers.get((service, packed, port))
        return self._numbers.get((service, packed, 0)) if found is None else found


def _columns(*records: Any) -> list[Any]:
    return [record[name] for record in records for name in record.dtype.names]
