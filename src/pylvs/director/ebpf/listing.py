"""Reading the connection table: a numpy view of the mapped array, whatever its size."""

from __future__ import annotations

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.convert import IPV4_MAPPED, unpack_address
from pylvs.model import Connection, Endpoint, Protocol
from pylvs.model.value import Value
from pylvs.views.endpoint import numeric

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

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

_AT_ONCE = 1 << 16
"""So many slots are made Python's at one time: a million connections need no memory to speak of."""

_SHOWN = {
    "SCTP_COOKIE_SENT": "C-SENT",
    "SCTP_COOKIE_REPLIED": "C-REPLIED",
    "SCTP_COOKIE_WAIT": "C-WAIT",
    "SCTP_COOKIE_ECHOED": "C-ECHOED",
    "SCTP_SHUTDOWN_SENT": "S-SENT",
    "SCTP_SHUTDOWN_RECEIVED": "S-RECEIVED",
    "SCTP_SHUTDOWN_ACK_SENT": "S-ACK-SENT",
}
_STATES = [_SHOWN.get(state.name, state.name.removeprefix("SCTP_")) for state in abi.ConnectionState]
"""The states as the kernel calls them when it lists connections."""

_PROTOCOLS: dict[int, Protocol | None] = {0: None, **{protocol.value: protocol for protocol in Protocol}}


def _field(control: int, shift: abi.ControlShift, bits: int) -> int:
    return control >> shift & (1 << bits) - 1


class Found(Value):
    """A connection, the slot of its client's side, and the control word there."""

    slot: int
    control: int
    connection: Connection


def connections(table: Table) -> Iterator[Connection]:
    """Every live connection, in table order."""
    return (found.connection for found in find(table))


def find(table: Table) -> Iterator[Found]:
    """The same, and where they stand."""
    listing = _Listing(table)
    for place, row, deadline in _slots(table):
        yield Found(place, row[0], listing.connection(row, deadline))


def rows(table: Table) -> Iterator[tuple[str, int, str, str, str, str]]:
    """The same as text: protocol, seconds left, state, client, virtual address, server."""
    listing = _Listing(table)
    for _, row, deadline in _slots(table):
        yield listing.row(row, deadline)


def _slots(table: Table) -> Iterator[tuple[int, tuple[Any, ...], int]]:
    """The slots of live connections' client sides, with their indexes and deadlines."""
    import numpy

    slots = numpy.frombuffer(table.connections.memory, dtype=numpy.dtype(list(_FIELDS)))
    wanted = numpy.uint64(abi.SlotPhase.LIVE | abi.SlotSide.CLIENT << abi.ControlShift.SIDE)
    mask = numpy.uint64(3 | 1 << abi.ControlShift.SIDE)
    for start in range(0, len(slots), _AT_ONCE):
        part = slots[start : start + _AT_ONCE]
        there = numpy.flatnonzero(part["control"] & mask == wanted)
        if len(there):
            for place, (row, deadline) in zip(there.tolist(), _with_deadlines(part[there], slots), strict=True):
                yield start + place, row, deadline


def _with_deadlines(rows: Any, slots: Any) -> Iterator[tuple[tuple[Any, ...], int]]:
    """A connection ends with the later of its sides."""
    import numpy

    peers = rows["peer"]
    others = slots["deadline"][numpy.where(peers, peers - 1, 0)]
    deadlines = numpy.where(peers, numpy.maximum(rows["deadline"], others), rows["deadline"])
    yield from zip(rows.tolist(), deadlines.tolist(), strict=True)


class _Listing:
    """Slots as connections. What many of them have in common is made once."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._now = table.settings.now
        self._virtual: dict[tuple[bytes, int], Endpoint] = {}
        self._servers: dict[tuple[int, int, bool], Endpoint] = {}
        self._kinds: dict[int, tuple[str, str, bool]] = {}  # protocol, state, whether it is a template
        self._texts: dict[tuple[int, bytes, int, bool], tuple[str, str]] = {}  # the virtual address, the server

    def connection(self, row: tuple[Any, ...], deadline: int) -> Connection:
        control, source, destination, source_port, destination_port, _, server, *_ = row
        protocol = _field(control, abi.ControlShift.PROTOCOL, 8)
        template = bool(protocol & abi.TEMPLATE_PROTOCOL)
        return Connection(
            _PROTOCOLS[protocol & ~abi.TEMPLATE_PROTOCOL],
            Endpoint(unpack_address(source), source_port),
            self._virtual_endpoint(destination, destination_port),
            self._server(server, destination_port, template),
            _state(control, template),
            max(0, deadline - self._now) // abi.TICKS_A_SECOND,
        )

    def row(self, row: tuple[Any, ...], deadline: int) -> tuple[str, int, str, str, str, str]:
        """What a numeric listing says of a slot."""
        control, source, destination, source_port, destination_port, _, server, *_ = row
        kind = control & _KIND
        if kind not in self._kinds:
            protocol = _field(control, abi.ControlShift.PROTOCOL, 8)
            template = bool(protocol & abi.TEMPLATE_PROTOCOL)
            known = _PROTOCOLS[protocol & ~abi.TEMPLATE_PROTOCOL]
            self._kinds[kind] = (known.name if known else "IP", _state(control, template), template)
        name, state, template = self._kinds[kind]
        ends = (server, destination, destination_port, template)
        if ends not in self._texts:
            self._texts[ends] = (
                _text(destination, destination_port),
                numeric(self._server(server, destination_port, template), None),
            )
        virtual, real = self._texts[ends]
        left = deadline - self._now
        return (name, left // abi.TICKS_A_SECOND if left > 0 else 0, state, _text(source, source_port), virtual, real)

    def _virtual_endpoint(self, packed: bytes, port: int) -> Endpoint:
        if (packed, port) not in self._virtual:
            self._virtual[packed, port] = Endpoint(unpack_address(packed), port)
        return self._virtual[packed, port]

    def _server(self, number: int, port: int, template: bool) -> Endpoint:
        """Where packets to this port of the service go; a template is for one port, or for all of them."""
        key = (number, port, template)
        if key not in self._servers:
            raw = self._table.servers[number]
            if template:
                port = raw.port if port else 0
            elif raw.mapped_port and raw.virtual_port in (0, port):
                port = raw.mapped_port
            self._servers[key] = Endpoint(unpack_address(raw.address), port)
        return self._servers[key]


_KIND = 0xFF << abi.ControlShift.STATE | 0xFF << abi.ControlShift.PROTOCOL | 1 << abi.ControlShift.ASSURED
"""The bits of a control word that a listing says something of."""


def _text(packed: bytes, port: int) -> str:
    if packed.startswith(IPV4_MAPPED):
        return f"{packed[12]}.{packed[13]}.{packed[14]}.{packed[15]}:{port}"
    return numeric(Endpoint(unpack_address(packed), port), None)


def _state(control: int, template: bool) -> str:
    if template:
        return "ASSURED" if _field(control, abi.ControlShift.ASSURED, 1) else "NONE"
    return _STATES[_field(control, abi.ControlShift.STATE, 8)]
