"""The connections that a backup is to be told of, read out of the mapped table, one part of it at a time.

What was told is remembered by slot, outside of the table.
"""

from __future__ import annotations

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.abi import ConnectionState, ControlShift, ForwardingMethod
from pylvs.director.ebpf.convert import unpack_address
from pylvs.director.ebpf.servers import view
from pylvs.model.value import Value
from pylvs.sync.due import SOON, Refresh, due, later
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
_FLAGS = {
    int(ForwardingMethod.NAT): NAT,
    int(ForwardingMethod.DR): DR | Flag.NOOUTPUT,
    int(ForwardingMethod.TUN): TUN | Flag.NOOUTPUT,
}
"""By the method, as the kernel sets them. FULLNAT is not in the protocol."""
_FIRST = {int(protocol): int(state) for protocol, state in FIRST.items()}
_ACTIVE = frozenset(map(int, ACTIVE))
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
    """A look over one director's table. `servers` are remembered until they are cleared."""

    def __init__(self, table: Table) -> None:
        import numpy

        self._table = table
        buckets = table.connections
        self._slots = numpy.frombuffer(buckets.memory, _dtype(), count=buckets.entries * abi.SLOTS)
        kept = {"control": "<u8", "deadline": "<u4", "server": "<u4", "at": "<u4", "tries": "u1", "sent": "?"}
        self._told = {name: numpy.zeros(len(self._slots), kind) for name, kind in kept.items()}
        self.servers: dict[int, Server | None] = {}

    def forget(self) -> None:
        """Nothing counts as told any more."""
        self._told["control"][:] = 0

    def part(
        self, number: int, parts: int, refresh: Refresh, most: int, *, only_templates: bool = False
    ) -> list[SyncConnection]:
        """What is to be told now of one of so many parts of the table, `most` at most; it counts as told then.

        A template comes after its connections; `only_templates` leaves out those that have one.
        """
        size = -(-len(self._slots) // parts)
        here = slice(number * size, (number + 1) * size)
        slots, told = self._slots[here], {name: array[here] for name, array in self._told.items()}
        control = slots["control"].copy()
        live = _candidates(control)
        if not live.any():
            return []
        deadline, server, now = slots["deadline"].copy(), slots["server"].copy(), self._table.settings.now
        self._look_at_peers(slots, live, deadline, now)
        identity = _identity(control)
        new = live & ((told["control"] != identity) | (told["server"] != server))
        fresh = new & ~_is_of_udp(control) | live & ~new & ~told["sent"] & _may_be_told(control, deadline, told)
        known = live & ~new & told["sent"]
        timeout = self._timeouts(control, server, live)
        regular, retried = due(refresh, now, deadline=deadline, timeout=timeout, told=told)
        wanted = (fresh | known & (regular | retried)) & _is_own(control, deadline) & (later(deadline, now) > 0)
        if only_templates:
            wanted &= _is_of_template(control) | (slots["link"] == 0)
        _note(told, new, control=identity, server=server, deadline=deadline)
        picked = self._picked(slots, wanted, identity, most)
        told["tries"][picked] = (told["tries"][picked] + 1) * ~(fresh | regular)[picked]
        told["deadline"][picked], told["at"][picked], told["sent"][picked] = deadline[picked], now, True
        connections = list(self._connections(slots[picked], deadline[picked], timeout[picked]))
        return sorted(connections, key=_is_template)

    def _look_at_peers(self, slots: Any, live: Any, deadline: Any, now: int) -> None:
        """A connection that is about to end may have another side that ends later."""
        import numpy

        near = numpy.flatnonzero(live & (later(deadline, now) <= SOON))
        peers = slots["peer"][near]
        others = self._slots["deadline"][numpy.maximum(peers, 1) - 1]
        longer = (peers != 0) & (later(others, deadline[near]) > 0)
        deadline[near[longer]] = others[longer]

    def _timeouts(self, control: Any, server: Any, live: Any) -> Any:
        """In ticks, of each one's state; a template's is its service's."""
        import numpy

        by_state = numpy.zeros(256, "<u4")
        by_state[: abi.STATE_SLOTS] = self._table.settings.timeout
        timeouts = by_state[_state(control)]
        templates = numpy.flatnonzero(live & _is_of_template(control))
        if len(templates):
            services = view(self._table.services, self._table.services.entries, persistence="<u4")["persistence"]
            servers = view(self._table.servers, self._table.servers.entries, service="<u4")["service"]
            timeouts[templates] = services[servers[server[templates]]]
        return timeouts

    @staticmethod
    def _picked(slots: Any, wanted: Any, identity: Any, most: int) -> Any:
        """Those that are whole, and still the ones that were looked at."""
        import numpy

        picked = numpy.flatnonzero(wanted)[:most]
        rows = slots[picked]
        half_made = (_bits(rows["control"], ControlShift.METHOD, 4) == ForwardingMethod.NAT) & (rows["peer"] == 0)
        return picked[~half_made & (_identity(slots["control"][picked]) == identity[picked])]

    def _connections(self, rows: Any, deadlines: Any, timeouts: Any) -> Iterator[SyncConnection]:
        left = later(deadlines, self._table.settings.now).astype("<i8")
        fresh = timeouts.astype("<i8") - left < _FRESH
        ticks = left * ~fresh + timeouts * fresh
        for row, rest in zip(rows.tolist(), ticks.tolist(), strict=True):
            server = self._server(row[6])
            if server and server.method in _FLAGS:
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


def _has(control: Any, bit: int) -> Any:
    import numpy

    return control & numpy.uint64(1 << bit) != 0


def _state(control: Any) -> Any:
    return _bits(control, ControlShift.STATE, 8).astype("u1")


def _is_of_template(control: Any) -> Any:
    return _has(control, ControlShift.PROTOCOL + abi.TEMPLATE_PROTOCOL.bit_length() - 1)


def _is_of_udp(control: Any) -> Any:
    return _state(control) == ConnectionState.UDP


def _may_be_told(control: Any, deadline: Any, told: Any) -> Any:
    """All that waits for its turn; UDP only once a second packet has come."""
    return ~_is_of_udp(control) | (deadline != told["deadline"])


def _is_own(control: Any, deadline: Any) -> Any:
    """It was not told by another director, or a packet has been here since: see bpf/take_over.h."""
    return ~_has(control, ControlShift.TOLD) | (deadline % abi.TICKS_A_SECOND != _LAST_TICK)


def _note(told: dict[str, Any], new: Any, **values: Any) -> None:
    """What is seen for the first time, or in another state: it has not been told."""
    import numpy

    numbers = numpy.flatnonzero(new)
    for name, value in values.items():
        told[name][numbers] = value[numbers]
    told["sent"][numbers] = False
    told["tries"][numbers] = 0


def _candidates(control: Any) -> Any:
    """Live client sides, in states that are told, by methods that the protocol has; no own programs'."""
    import numpy

    wanted = abi.SlotPhase.LIVE | abi.SlotSide.CLIENT << ControlShift.SIDE
    mask = 3 | 1 << ControlShift.SIDE | 1 << ControlShift.HERE
    live = control & numpy.uint64(mask) == numpy.uint64(wanted)
    if not live.any():
        return live
    told = numpy.zeros(256, bool)
    told[list(TOLD)] = True
    fullnat = _bits(control, ControlShift.METHOD, 4) == ForwardingMethod.FULLNAT
    return live & (told[_state(control)] | _is_of_template(control)) & ~fullnat


def _identity(control: Any) -> Any:
    """What of the control word is told: whose slot it is, and the state; a template's is whether it is assured."""
    import numpy

    told = 0xFF << ControlShift.STATE | 1 << ControlShift.ASSURED | 0xFFFFFFFF << ControlShift.GENERATION
    return control & numpy.uint64(told) | numpy.uint64(1)


def _connection(row: tuple[Any, ...], server: Server, timeout: int) -> SyncConnection:
    control, source, destination, client_port, virtual_port, *_ = row
    protocol, method = control >> ControlShift.PROTOCOL & 0xFF, _FLAGS[server.method]
    if protocol & abi.TEMPLATE_PROTOCOL:
        protocol &= ~abi.TEMPLATE_PROTOCOL
        flags, state = Flag.TEMPLATE | Flag.INACTIVE | method, control >> ControlShift.ASSURED & 1
        server_port = server.port if virtual_port else 0
    else:
        own = control >> ControlShift.STATE & 0xFF
        flags, state = method | (0 if own in _ACTIVE else Flag.INACTIVE), own - _FIRST[protocol]
        mapped = server.mapped_port and server.virtual_port in (0, virtual_port)
        server_port = server.mapped_port if mapped else virtual_port
    return SyncConnection(
        protocol,
        unpack_address(source),
        client_port,
        unpack_address(destination),
        virtual_port,
        server.address,
        server_port,
        flags,
        state,
        timeout,
        server.mark,
    )


def _is_template(connection: SyncConnection) -> bool:
    return connection.is_template
