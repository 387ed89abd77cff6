"""The connections that a backup is to be told of, read out of the mapped table: one part of it at a time, so that a whole
look takes as long as the master says. What was told is remembered by slot, outside of the table.
"""

from __future__ import annotations

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.abi import ConnectionState, ControlShift, ForwardingMethod
from pylvs.director.ebpf.convert import unpack_address
from pylvs.director.ebpf.servers import view
from pylvs.model import Protocol
from pylvs.model.value import Value
from pylvs.sync.due import Refresh, due
from pylvs.sync.message import DR, NAT, TUN, Flag, SyncConnection
from pylvs.sync.states import ACTIVE, FIRST, TOLD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pylvs.director.ebpf.table import Table
    from pylvs.model import IPAddress

_SLOT = {
    "control": "<u8",
    "source": "V16",
    "destination": "V16",
    "source_port": ">u2",
    "destination_port": ">u2",
    "deadline": "<u4",
    "server": "<u4",
    "link": "<u4",
    "peer": "<u4",
}
_METHODS = {
    ForwardingMethod.NAT: NAT,
    ForwardingMethod.DR: DR | Flag.NOOUTPUT,
    ForwardingMethod.TUN: TUN | Flag.NOOUTPUT,
}
_FRESH = 2 * abi.TICKS_A_SECOND  # a look later, what was put off just before the last one is no older than this
_LAST_TICK = abi.TICKS_A_SECOND - 1


class Server(Value):
    """What a connection's server says of it."""

    address: IPAddress
    port: int
    mapped_port: int
    virtual_port: int
    mark: int
    method: int


class Outgoing:
    """A look over one director's table."""

    def __init__(self, table: Table) -> None:
        import numpy

        self._table = table
        buckets = table.connections
        self._slots = numpy.frombuffer(buckets.memory, _dtype(), count=buckets.entries * abi.SLOTS)
        kept = [
            ("control", "<u8"),
            ("deadline", "<u4"),
            ("server", "<u4"),
            ("at", "<u4"),
            ("tries", "u1"),
            ("sent", "?"),
        ]
        self._told = numpy.zeros(len(self._slots), numpy.dtype(kept))
        self.servers: dict[int, Server | None] = {}

    def forget(self) -> None:
        """Nothing counts as told any more."""
        self._told["sent"] = False
        self._told["control"] = 0

    def part(
        self, number: int, parts: int, refresh: Refresh, most: int, *, only_templates: bool = False
    ) -> list[SyncConnection]:
        """What is to be told now of one of so many parts of the table, `most` at most; it counts as told then. A template
        comes after its connections; `only_templates` leaves out those that have one.
        """
        import numpy

        size = -(-len(self._slots) // parts)
        first = number * size
        part = self._slots[first : first + size]
        chosen = numpy.flatnonzero(_candidates(part["control"]))
        if not len(chosen):
            return []
        rows = part[chosen]
        same = _identity(part["control"][chosen]) == _identity(rows["control"])  # the others are another's by now
        rows, chosen = self._with_ends(rows[same]), chosen[same]
        told = self._told[first + chosen]
        timeout = self._timeouts(rows)
        wanted = self._wanted(rows, told, timeout, refresh, only_templates=only_templates)
        picked = numpy.flatnonzero(wanted)[:most]
        self._note(first + chosen, rows, told, picked)
        connections = list(self._connections(rows[picked], timeout[picked]))
        return sorted(connections, key=_is_template)

    def _with_ends(self, rows: Any) -> Any:
        """With the later end of both sides, of those that have two."""
        import numpy

        others = self._slots["deadline"][numpy.maximum(rows["peer"], 1) - 1]
        later = (others - rows["deadline"]).astype("<i4") > 0
        rows["deadline"] = numpy.where((rows["peer"] != 0) & later, others, rows["deadline"])
        return rows

    def _timeouts(self, rows: Any) -> Any:
        """In ticks, of each one's state; a template's is its service's."""
        import numpy

        by_state = numpy.array(self._table.settings.timeout, "<u4")
        control = rows["control"]
        timeouts = by_state[_bits(control, ControlShift.STATE, 8).astype(int) % abi.STATE_SLOTS]
        services = view(self._table.services, self._table.services.entries, persistence="<u4")["persistence"]
        servers = view(self._table.servers, self._table.servers.entries, service="<u4")["service"]
        return numpy.where(_is_of_template(control), services[servers[rows["server"]]], timeouts)

    def _wanted(self, rows: Any, told: Any, timeout: Any, refresh: Refresh, *, only_templates: bool) -> Any:
        control, now = rows["control"], self._table.settings.now
        identity = _identity(control)
        same = (told["control"] == identity) & (told["server"] == rows["server"])
        template = _is_of_template(control)
        udp = _bits(control, ControlShift.STATE, 8) == ConnectionState.UDP
        fresh = ~(same & told["sent"]) & ~(udp & ~template & ~(same & (told["deadline"] != rows["deadline"])))
        wanted = due(refresh, now, fresh, rows["deadline"], timeout, told) & (fresh | same & told["sent"])
        untouched = _bits(control, ControlShift.TOLD, 1).astype(bool) & (
            rows["deadline"] % (_LAST_TICK + 1) == _LAST_TICK
        )
        half_made = (_bits(control, ControlShift.METHOD, 4) == ForwardingMethod.NAT) & (rows["peer"] == 0)
        wanted &= ~untouched & ~half_made & ((rows["deadline"] - now).astype("<i4") > 0)
        return wanted & (template | (rows["link"] == 0)) if only_templates else wanted

    def _note(self, indexes: Any, rows: Any, told: Any, picked: Any) -> None:
        """What is told now, and how what is not looks, to see whether it changes."""
        import numpy

        sent = numpy.zeros(len(rows), bool)
        sent[picked] = True
        identity = _identity(rows["control"])
        new = (told["control"] != identity) | (told["server"] != rows["server"])
        repeated = (rows["deadline"] - told["deadline"]).astype("<i4") <= 0
        after = told.copy()
        changed = sent | new
        for name, value in (("control", identity), ("server", rows["server"]), ("deadline", rows["deadline"])):
            after[name] = numpy.where(changed, value, told[name])
        after["at"] = numpy.where(changed, self._table.settings.now, told["at"])
        after["tries"] = numpy.where(sent & ~new & ~repeated, numpy.minimum(told["tries"], 254) + 1, told["tries"])
        after["tries"][new] = 0
        after["sent"] = numpy.where(new, sent, told["sent"] | sent)
        self._told[indexes] = after

    def _connections(self, rows: Any, timeouts: Any) -> Iterator[SyncConnection]:
        now = self._table.settings.now
        left = (rows["deadline"] - now).astype("<i4")
        fresh = timeouts.astype("<i8") - left < _FRESH
        ticks = [
            whole if full else rest for whole, rest, full in zip(timeouts.tolist(), left.tolist(), fresh, strict=True)
        ]
        for row, rest in zip(rows.tolist(), ticks, strict=True):
            server = self._server(row[6])
            if server and server.method in _METHODS:
                yield _connection(row, server, max(1, -(-rest // abi.TICKS_A_SECOND)))

    def _server(self, number: int) -> Server | None:
        if number not in self.servers:
            self.servers[number] = self._read_server(number)
        return self.servers[number]

    def _read_server(self, number: int) -> Server | None:
        raw = self._table.servers[number]
        if raw.phase == abi.ServerPhase.FREE:
            return None
        mark = 0 if raw.service_key.protocol else int(unpack_address(raw.service_key.vip))
        address = unpack_address(raw.address)
        return Server(address, raw.port, raw.mapped_port, raw.virtual_port, mark & 0xFFFFFFFF, raw.method)


def _dtype() -> Any:
    import numpy

    kind = abi.Connection
    return numpy.dtype(
        {
            "names": list(_SLOT),
            "formats": list(_SLOT.values()),
            "offsets": [getattr(kind, name).offset for name in _SLOT],
            "itemsize": 64,
        }
    )


def _bits(control: Any, shift: ControlShift, bits: int) -> Any:
    import numpy

    return control >> numpy.uint64(shift) & numpy.uint64((1 << bits) - 1)


def _is_of_template(control: Any) -> Any:
    return _bits(control, ControlShift.PROTOCOL, 8) & 0x40 != 0


def _candidates(control: Any) -> Any:
    """Live client sides, in states that are told, of methods that the protocol has, and not of the director's own programs."""
    import numpy

    wanted = abi.SlotPhase.LIVE | abi.SlotSide.CLIENT << ControlShift.SIDE
    mask = 3 | 1 << ControlShift.SIDE | 1 << ControlShift.HERE
    live = control & numpy.uint64(mask) == numpy.uint64(wanted)
    if not live.any():
        return live
    told = numpy.zeros(256, bool)
    told[list(TOLD)] = True
    fullnat = _bits(control, ControlShift.METHOD, 4) == ForwardingMethod.FULLNAT
    return live & (told[_bits(control, ControlShift.STATE, 8).astype(int)] | _is_of_template(control)) & ~fullnat


def _identity(control: Any) -> Any:
    """What of the control word is told: whose slot it is, and the state; a template's is whether it is assured."""
    import numpy

    told = 0xFF << ControlShift.STATE | 1 << ControlShift.ASSURED | 0xFFFFFFFF << ControlShift.GENERATION
    return control & numpy.uint64(told) | numpy.uint64(1)


def _connection(row: tuple[Any, ...], server: Server, timeout: int) -> SyncConnection:
    control, source, destination, client_port, virtual_port, *_ = row
    protocol = control >> ControlShift.PROTOCOL & 0xFF
    method = _METHODS[ForwardingMethod(server.method)]
    client, virtual = unpack_address(source), unpack_address(destination)
    if protocol & abi.TEMPLATE_PROTOCOL:
        assured = control >> ControlShift.ASSURED & 1
        server_port = server.port if virtual_port else 0
        protocol &= ~abi.TEMPLATE_PROTOCOL
        flags = Flag.TEMPLATE | Flag.INACTIVE | method
        return SyncConnection(
            *(protocol, client, 0, virtual, virtual_port, server.address, server_port),
            *(int(flags), assured, timeout, server.mark),
        )
    state = ConnectionState(control >> ControlShift.STATE & 0xFF)
    server_port = virtual_port
    if server.mapped_port and server.virtual_port in (0, virtual_port):
        server_port = server.mapped_port
    flags = Flag(method) if state in ACTIVE else method | Flag.INACTIVE
    return SyncConnection(
        *(protocol, client, client_port, virtual, virtual_port, server.address, server_port),
        *(int(flags), state - FIRST[Protocol(protocol)], timeout, server.mark),
    )


def _is_template(connection: SyncConnection) -> bool:
    return connection.is_template
