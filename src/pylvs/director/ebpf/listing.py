"""Reading the connection table: a numpy view of the mapped array, whatever its size."""

from __future__ import annotations

from ipaddress import IPv4Address

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.convert import unpack_address
from pylvs.model import Connection, Endpoint, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pylvs.director.ebpf.table import Table

_FIELDS = (
    ("control", "<u8"),
    ("source", "V16"),
    ("destination", "V16"),
    ("source_port", ">u2"),
    ("destination_port", ">u2"),
    ("deadline", "<u4"),
    ("server", "<u4"),
    ("link", "<u4"),
    ("peer", "<u4"),
    ("overflow", "<u4"),
)


def _field(control: int, shift: abi.ControlShift, bits: int) -> int:
    return control >> shift & (1 << bits) - 1


def connections(table: Table) -> Iterator[Connection]:
    """Every live connection, in table order."""
    import numpy

    kind = numpy.dtype(list(_FIELDS))
    slots = numpy.frombuffer(table.connections.memory, dtype=kind)
    wanted = numpy.uint64(abi.SlotPhase.LIVE | abi.SlotSide.CLIENT << abi.ControlShift.SIDE)
    mask = numpy.uint64(3 | 1 << abi.ControlShift.SIDE)
    servers: dict[int, Endpoint] = {}
    now = table.settings.now
    for slot in slots[slots["control"] & mask == wanted]:
        number = int(slot["server"])
        if number not in servers:
            raw = table.servers[number]
            servers[number] = Endpoint(unpack_address(raw.address), raw.port)
        control = int(slot["control"])
        deadline = int(slot["deadline"])
        if slot["peer"]:
            deadline = max(deadline, int(slots[int(slot["peer"]) - 1]["deadline"]))
        virtual = _endpoint(slot["destination"], slot["destination_port"])
        yield Connection(
            Protocol(_field(control, abi.ControlShift.PROTOCOL, 8)),
            _endpoint(slot["source"], slot["source_port"]),
            virtual,
            servers[number],
            abi.ConnectionState(_field(control, abi.ControlShift.STATE, 8)).name,
            max(0, deadline - now) // abi.TICKS_A_SECOND,
        )


def _endpoint(address: bytes, port: int) -> Endpoint:
    return Endpoint(IPv4Address(bytes(address)[12:]), int(port))
