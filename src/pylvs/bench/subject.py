"""What is measured: directors, each a data plane of its own as `pylvs attach` loads it, and yardsticks beside them."""

from __future__ import annotations

import os
import struct
import time
from ipaddress import IPv4Address

from pylvs.bench import place
from pylvs.bench.driver import ACK, PORT, SYN, Draw, Driver, Hook, Load, fill, load_object
from pylvs.director.ebpf import abi, libbpf, load
from pylvs.director.ebpf.capacity import Capacity
from pylvs.director.ebpf.registry import Registry
from pylvs.director.ebpf.ring import swap_rings
from pylvs.director.ebpf.route import Way
from pylvs.director.ebpf.table import word
from pylvs.errors import DataPlaneError
from pylvs.model import Endpoint, ForwardingMethod, Protocol, RealServer, VirtualAddress, VirtualService
from pylvs.scheduler import SCHEDULERS, Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.ebpf.attach import Interface

CHASE_STEPS = 64
_HOUR = 3600 * abi.TICKS_A_SECOND
_FOR_GOOD = 1 << 30
_SERVICE = VirtualAddress(Protocol.TCP, Endpoint(IPv4Address(place.VIP), PORT))
_SLOTS_OF = {ForwardingMethod.DR: 1, ForwardingMethod.NAT: 2}


def _wire(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


class Director:
    """A live data plane with one service. `flows` connections fill `slots_of(method)` slots each."""

    def __init__(
        self,
        interface: Interface,
        name: str,
        method: ForwardingMethod,
        slots: int,
        *,
        scheduler: str = "rr",
        servers: int = 2,
    ) -> None:
        self.interface = interface
        self._servers = servers
        self.table = load.load(str(place.PINS / name), Capacity(slots * _SLOTS_OF[method], 16, 64))
        self._add_service(method, scheduler, servers)
        self._keep_connections()
        self._know_interface()
        self.drivers: list[Driver] = []

    def _add_service(self, method: ForwardingMethod, scheduler: str, servers: int) -> None:
        registry = Registry(self.table)
        number = registry.add_service(VirtualService(_SERVICE, scheduler))
        slots = []
        for turn in range(servers):
            endpoint = Endpoint(IPv4Address(place.SERVERS[turn]), PORT)
            slots.append(registry.add_server(number, RealServer(endpoint, method), Way(), abi.Pool()))
            self._know_server(slots[-1], place.server_mac(turn))
        swap_rings(self.table, {number: (Ring(tuple(range(len(slots)))), slots)})
        self.table.services[number].selection = int(SCHEDULERS[scheduler].selection)
        registry.publish_service(_SERVICE)

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
        made = Driver(
            load.replace(servers=self._servers), hook, self.interface, self.table.fd(f"director_{hook}"), draws
        )
        self.drivers.append(made)
        return made

    def establish(self, flows: int, *, first: int = 0, acknowledged: bool = True) -> None:
        """Open so many connections; all but the first packet of a handshake can be left out."""
        for flags in (SYN, ACK) if acknowledged else (SYN,):
            self.driver(Load(flows, Draw.ORDERED, flags, first=first), Hook.XDP).run(flows)

    def check(self) -> None:
        """Raises `DataPlaneError` unless every packet so far was forwarded."""
        totals = self.table.statistics("service_statistics", 0)
        sent, forwarded = sum(driver.packets for driver in self.drivers), totals[1] + totals[2]
        if forwarded != sent:
            drops = ", ".join(f"{count} {reason}" for reason, count in self.table.drops().items() if count)
            what = f"only {forwarded} of the benchmark's {sent} packets were forwarded"
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
            self._programs = {
                name: opened.program_fd(name)
                for name in ("pass_xdp", "pass_tc", "minimal_dr_xdp", "minimal_dr_tc", "insert_lru", "insert_hash")
            }
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
