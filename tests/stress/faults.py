"""What must hold in a connection table that nobody is using at the moment, whatever has been done to it before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ctypes import sizeof

from pylvs.director.ebpf import abi
from tests.stress.plane import Plane

_WORD = 2**64 - 1
_ACTIVE = {
    abi.ConnectionState.ESTABLISHED,
    abi.ConnectionState.SYN_SENT,
    abi.ConnectionState.SYN_RECV,
    abi.ConnectionState.SYNACK,
}


class Slot:
    """One slot, read once."""

    def __init__(self, index: int, raw: abi.Connection) -> None:
        self.index = index
        control = raw.control
        self.phase = abi.SlotPhase(control & 3)
        self.side = control >> abi.ControlShift.SIDE & 1
        self.method = control >> abi.ControlShift.METHOD & 15
        self.state = abi.ConnectionState(control >> abi.ControlShift.STATE & 255)
        self.protocol = control >> abi.ControlShift.PROTOCOL & 255
        self.away = control >> abi.ControlShift.AWAY & 1
        self.source = (bytes(raw.source), raw.source_port)
        self.destination = (bytes(raw.destination), raw.destination_port)
        self.server, self.peer, self.deadline = raw.server, raw.peer, raw.deadline

    @property
    def tuple(self) -> tuple[object, ...]:
        return (self.source, self.destination, self.protocol)

    def home(self, seed: list[int], buckets: int) -> int:
        """The bucket that the tuple belongs in: place_of() again, from its description."""
        ends = self.source, self.destination
        halves = [int.from_bytes(address[at : at + 8], "little") for address, _ in ends for at in (0, 8)]
        ports = int.from_bytes(b"".join(port.to_bytes(2, "big") for _, port in ends), "little")
        words = (*halves, ports << 8 | self.protocol)
        value = sum(word * key for word, key in zip(words, seed, strict=False)) & _WORD
        value = (value ^ value >> 32) * seed[5] & _WORD
        return (value ^ value >> 32) & buckets - 1

    def __repr__(self) -> str:
        ends = " > ".join(f"{'.'.join(map(str, end[0][12:]))}:{end[1]}" for end in (self.source, self.destination))
        return (
            f"slot {self.index} {self.phase.name} {abi.SlotSide(self.side).name} {ends}/{self.protocol}"
            f" {self.state.name} server {self.server} peer {self.peer - 1}"
        )


def faults(plane: Plane, *, servers_stay: bool = False) -> list[str]:
    """Each thing that is wrong, in words. `servers_stay`: no server was ever deleted, so every packet was counted."""
    used = [slot for slot in slots(plane) if slot.phase is not abi.SlotPhase.FREE]
    live = {slot.index: slot for slot in used if slot.phase is abi.SlotPhase.LIVE}
    found = [f"busy: {slot}" for slot in used if slot.phase is abi.SlotPhase.BUSY]
    times = Counter(slot.tuple for slot in live.values())
    found += [f"live {times[slot.tuple]} times: {slot}" for slot in live.values() if times[slot.tuple] > 1]
    found += _pairs(live)
    found += _places(plane, used)
    found += _loads(plane, live)
    found += _connections(plane, live)
    found += _packets(plane, servers_stay=servers_stay)
    return found


def slots(plane: Plane) -> list[Slot]:
    """The whole table."""
    return [Slot(index, _slot(plane, index)) for index in range(plane.table.settings.buckets * abi.SLOTS)]


def _slot(plane: Plane, index: int) -> abi.Connection:
    return abi.Connection.from_buffer_copy(plane.table.connections.memory, index * sizeof(abi.Connection))


def _pairs(live: dict[int, Slot]) -> Iterator[str]:
    for slot in live.values():
        if slot.method == abi.ForwardingMethod.DR:
            if slot.peer or slot.side:
                yield f"a DR connection with two sides: {slot}"
            continue
        peer = live.get(slot.peer - 1)
        if peer is None or peer.peer != slot.index + 1 or peer.side == slot.side:
            yield f"without its other side: {slot}, there: {peer}"
        elif (peer.server, peer.method, peer.protocol) != (slot.server, slot.method, slot.protocol):
            yield f"sides of different connections: {slot}, {peer}"
        elif not slot.side and (peer.destination, peer.state) != (slot.source, slot.state):
            yield f"sides that differ: {slot}, {peer}"


def _places(plane: Plane, used: list[Slot]) -> Iterator[str]:
    seed, buckets = list(plane.table.settings.seed), plane.table.settings.buckets
    elsewhere: Counter[int] = Counter()
    for slot in used:
        home = slot.home(seed, buckets)
        elsewhere[home] += slot.away
        if not slot.away and home != slot.index // abi.SLOTS:
            yield f"not at home in bucket {home}, and doesn't know: {slot}"
    for bucket in range(buckets):
        counted = _slot(plane, bucket * abi.SLOTS).overflow
        if counted != elsewhere[bucket]:
            yield f"bucket {bucket} has {elsewhere[bucket]} slots elsewhere, but counts {counted}"


def _loads(plane: Plane, live: dict[int, Slot]) -> Iterator[str]:
    load: Counter[int] = Counter()
    for slot in live.values():
        if not slot.side:
            load[slot.server] += abi.LOAD_ACTIVE if slot.state in _ACTIVE else abi.LOAD_INACTIVE
    for number in range(plane.table.settings.servers_used):
        counted = plane.table.servers[number].load
        if counted != load[number]:
            yield f"server {number} has {_load(load[number])}, but counts {_load(counted)}"


def _load(load: int) -> str:
    return f"{load >> 32} active {load & 0xFFFFFFFF} inactive"


def _connections(plane: Plane, live: dict[int, Slot]) -> Iterator[str]:
    claimed = sum(tally.claimed[abi.SlotSide.CLIENT] for tally in plane.tallies)
    ended = plane.total("ended")
    owners = sum(not slot.side for slot in live.values())
    if claimed - ended != owners:
        yield f"{claimed} connections claimed, {ended} ended, but {owners} are live"
    created = plane.total("created")
    settings = plane.table.settings
    for name, count in (("service_statistics", settings.services_used), ("server_statistics", settings.servers_used)):
        counted = sum(plane.table.statistics(name, number)[0] for number in range(count))
        if counted != created:
            yield f"{created} connections created, but {name} counts {counted}"


def _packets(plane: Plane, *, servers_stay: bool) -> Iterator[str]:
    dropped = {
        reason.name.lower(): sum(tally.dropped[reason] for tally in plane.tallies)
        for reason in abi.DropReason
        if reason is not abi.DropReason.REASONS
    }
    if dropped != plane.table.drops():
        yield f"dropped {dropped}, counted {plane.table.drops()}"
    passed = sum(sum(tally.passed) for tally in plane.tallies)
    forwarded = plane.total("requests") + plane.total("replies")
    named = forwarded + passed + plane.total("late") + sum(dropped.values())
    if named != plane.total("packets"):
        yield f"{plane.total('packets')} packets, but {named} have a verdict"
    for what, count in (
        ("first packets to a service that were passed", sum(tally.passed[1] for tally in plane.tallies)),
        ("packets misdirected", plane.total("misdirected")),
        ("tuples in two slots at once", plane.total("doubled")),
    ):
        if count:
            yield f"{count} {what}"
    settings = plane.table.settings
    totals = [plane.table.statistics("server_statistics", number) for number in range(settings.servers_used)]
    counted = sum(row[1] + row[2] for row in totals)
    if counted > forwarded or (servers_stay and counted != forwarded):
        yield f"{forwarded} packets forwarded, {counted} counted"
