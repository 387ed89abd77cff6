"""What is measured: directors, each a data plane of its own as `pylvs attach` loads it, and yardsticks beside them."""

from __future__ import annotations

import os
import struct
import time
from ipaddress import IPv4Address

from pylvs.bench import place
from pylvs.bench.answers import answers, settle
from pylvs.bench.driver import ACK, DRAWS, PORT, SYN, Draw, Driver, Hook, Load, fill, load_object
from pylvs.director.ebpf import abi, libbpf, load
from pylvs.director.ebpf.capacity import Capacity
from pylvs.director.ebpf.registry import Registry
from pylvs.director.ebpf.ring import swap_rings
from pylvs.director.ebpf.route import Way
from pylvs.director.ebpf.table import word
from pylvs.errors import DataPlaneError
from pylvs.model import ForwardingMethod, Protocol
from pylvs.scheduler import SCHEDULERS, Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.bench.kind import Kind
    from pylvs.director.ebpf.attach import Interface

CHASE_STEPS = 64
_YARDSTICKS = (
    "pass_xdp",
    "pass_tc",
    "make_room_xdp",
    "minimal_dr_xdp",
    "minimal_dr_tc",
    "insert_lru",
    "insert_hash",
)
_HOUR = 3600 * abi.TICKS_A_SECOND
_FOR_GOOD = 1 << 30


def _wire(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


class Director:
    """A live data plane with one service. `flows` connections fill `kind.slots` slots each."""

    def __init__(self, interface: Interface, name: str, kind: Kind, slots: int) -> None:
        self.interface = interface
        self.kind = kind
        self.table = load.load(str(place.PINS / name), Capacity(slots * kind.slots, 128, 64))
        self._add_services()
        self._keep_connections()
        self._know_interface()
        self.drivers: list[Driver] = []

    def _add_services(self) -> None:
        registry = Registry(self.table)
        service = self.kind.service
        number = registry.add_service(service)
        slots = []
        for turn in range(self.kind.servers):
            pool = registry.pack_pool(service.local_addresses)
            way = Way(source=place.address(place.OWN, self.kind.family))
            slots.append(registry.add_server(number, self.kind.server(turn), way, pool))
            self._know_server(slots[-1], place.server_mac(turn))
        swap_rings(self.table, {number: (Ring(tuple(range(len(slots)))), slots)})
        self.table.services[number].selection = int(SCHEDULERS[service.scheduler].selection)
        registry.publish_service(service.id)
        for other in self.kind.others:
            registry.add_service(other)
            registry.publish_service(other.id)

    def _know_server(self, slot: int, mac: str) -> None:
        """In production the tc program asks the kernel for this once a second; here it holds for good."""
        hop = self.table.servers[slot].next_hop
        index = self.interface.index
        hop.destination_mac = int.from_bytes(_wire(mac), "little") | (index & 0xFFFF) << 48
        hop.source_mac = int.from_bytes(self.interface.mac, "little") | index >> 16 << 48
        hop.mtu = 1500
        hop.good_until = hop.answers_until = (self.table.settings.now + _FOR_GOOD) % 2**32

    def _keep_connections(self) -> None:
        """No connection ends while it is measured."""
        for state in (abi.ConnectionState.SYN_RECV, abi.ConnectionState.ESTABLISHED):
            self.table.settings.timeout[state] = _HOUR

    def _know_interface(self) -> None:
        entry = abi.Interface(index=self.interface.index, xdp_sending=abi.XdpSending.DIRECT)
        entry.mac[:] = list(self.interface.mac)
        libbpf.update(self.table.fd("interfaces"), word(self.interface.index % abi.INTERFACES), bytes(entry))

    def start(self) -> None:
        """The clock and the sweep run, as in production."""
        self.table.settings.now = time.monotonic_ns() // abi.TICK_NS % 2**32
        self.table.settings.clock_stopped = 0

    def stop(self) -> None:
        """It stands still, so that it takes no time from others that are measured."""
        self.table.settings.clock_stopped = 1

    def driver(self, load: Load, hook: Hook, draws: bytes = b"") -> Driver:
        """Packets for this director."""
        load = load.replace(servers=self.kind.servers, family=self.kind.family, wrapped=self.kind.wrapped)
        if load.to_locals:
            draws = answers(self.table, DRAWS)
        made = Driver(load, hook, self.interface, self.table.fd(f"director_{hook}"), draws)
        self.drivers.append(made)
        return made

    def establish(self, flows: int, *, first: int = 0, acknowledged: bool = True) -> None:
        """Open so many connections; all but the first packet of a handshake can be left out."""
        fullnat = self.kind.method is ForwardingMethod.FULLNAT
        opening = Load(flows, Draw.ORDERED, SYN, first=first)
        # XDP leaves FULLNAT's handshake to tc, which tells the server who the client is
        self.driver(opening, Hook.TC if fullnat else Hook.XDP).run(flows)
        if fullnat:
            settle(self.table)
        if acknowledged:
            self.driver(opening.replace(flags=ACK), Hook.XDP).run(flows)

    def check(self) -> None:
        """Raises `DataPlaneError` unless every packet so far was forwarded."""
        totals = self.table.statistics("service_statistics", 0)
        sent, forwarded = sum(driver.packets for driver in self.drivers), totals[1] + totals[2]
        if forwarded != sent:
            drops = ", ".join(f"{count} {reason}" for reason, count in self.table.drops().items() if count)
            kind = f"{self.kind.program}, {self.kind.way}, IPv{self.kind.family}"
            what = f"{kind}: only {forwarded} of the benchmark's {sent} packets were forwarded"
            raise DataPlaneError(f"{what} ({drops or 'passed'})")

    def close(self) -> None:
        """Give its memory back."""
        for driver in self.drivers:
            driver.close()
        self.table.close()
        from pylvs.director.ebpf.bpffs import remove_pins

        remove_pins(self.table.pins)


class Yardstick:
    """The programs of bpf/yardstick.bpf.c over maps for so many flows."""

    def __init__(self, interface: Interface, *, lru: int = 1, plain: int = 1) -> None:
        self.interface = interface
        opened = libbpf.Object(load.object_path("yardstick"))
        try:
            load_object(opened, {"lru_flows": lru, "hash_flows": plain})
            self._programs = {name: opened.program_fd(name) for name in _YARDSTICKS}
            self._know_service(opened)
        finally:
            opened.close()
        self.drivers: list[Driver] = []

    def _know_service(self, opened: libbpf.Object) -> None:
        key = IPv4Address(place.VIP).packed + PORT.to_bytes(2, "big") + bytes([Protocol.TCP, 0])
        libbpf.update(opened.map_fd("known_services"), key, word(0))
        way = _wire(place.server_mac(0)) + self.interface.mac + struct.pack("<I", self.interface.index)
        libbpf.update(opened.map_fd("ways"), word(0), way)

    def program(self, name: str) -> int:
        """The descriptor of one of its programs."""
        return self._programs[name]

    def driver(self, load: Load, hook: Hook, program: str, draws: bytes = b"") -> Driver:
        """Packets for one of its programs."""
        made = Driver(load, hook, self.interface, self._programs[program], draws)
        self.drivers.append(made)
        return made

    def insert(self, flows: int, program: str = "insert_lru") -> None:
        """Put the first flows into one of its tables."""
        driver = self.driver(Load(flows, Draw.ORDERED), Hook.XDP, program)
        driver.run(flows)
        driver.check()

    def close(self) -> None:
        """Give its memory back."""
        for driver in self.drivers:
            driver.close()
        for fd in self._programs.values():
            os.close(fd)


def chase(lines: int) -> int:
    """A loaded program whose every run makes CHASE_STEPS dependent loads, at random among so many cache lines."""
    import numpy

    order = numpy.random.default_rng(1).permutation(lines).astype("<u4")
    memory = numpy.zeros((lines, 16), "<u4")
    memory[order, 0] = numpy.roll(order, -1)
    opened = libbpf.Object(load.object_path("yardstick"))
    try:
        load_object(opened, {"lines": lines})
        fill(opened.map_fd("lines"), memory.tobytes())
        return opened.program_fd("chase")
    finally:
        opened.close()
