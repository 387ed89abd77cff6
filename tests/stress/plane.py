"""A real director in a network namespace of its own, with the traffic maker loaded over its maps."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import Structure, c_uint8, c_uint32, c_uint64
from ipaddress import IPv4Address
from pathlib import Path

from pylvs.director.ebpf import abi, bpffs, libbpf, load
from pylvs.director.ebpf.capacity import Capacity
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.director.ebpf.table import PINNED_MAPS, Array, Table
from pylvs.model import Endpoint, ForwardingMethod, Protocol, RealServer, VirtualAddress, VirtualService
from tools.bpf import compile_object

SOURCE = Path(__file__).with_name("stress.bpf.c")
CPUS, SERVICES, SERVERS = 2, 8, 8
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Tally(Structure):
    """struct tally"""

    _fields_ = (
        ("random", c_uint64),
        ("epoch", c_uint64),
        ("packets", c_uint64),
        ("passed", c_uint64 * 2),
        ("requests", c_uint64),
        ("replies", c_uint64),
        ("late", c_uint64),
        ("dropped", c_uint64 * abi.DropReason.REASONS),
        ("created", c_uint64),
        ("claimed", c_uint64 * 2),
        ("ended", c_uint64),
        ("misdirected", c_uint64),
        ("to_service", c_uint64),
        ("fresh", c_uint64),
        ("doubled", c_uint64),
        ("ip", c_uint8 * 20),
    )


class Traffic(Structure):
    """struct traffic"""

    _fields_ = (
        ("service", c_uint32 * 3 * SERVICES),
        ("server", c_uint32 * 2 * SERVERS),
        ("services", c_uint32),
        ("servers", c_uint32),
        ("clients", c_uint32),
        ("packets", c_uint32),
        ("sweep_every", c_uint32),
        ("sweeping", c_uint32),
        ("step", c_uint32),
        ("seen", c_uint32 * CPUS),
    )


class Plane:
    """The director, its table, and the traffic maker's program and maps."""

    def __init__(self, director: EbpfDirector, compiled: Path) -> None:
        self.director = director
        self.table: Table = director.loaded()
        fds = _load_over(self.table, compiled)
        self._make_traffic, self._sweep = fds["make_traffic"], fds["sweep_now"]
        self.tallies = [Array(fds["tallies"], Tally)[cpu] for cpu in range(CPUS)]
        self.traffic = Array(fds["traffics"], Traffic)[0]
        self.table.settings.clock_stopped = 1

    def draw_from(self, services: Sequence[VirtualAddress], servers: Sequence[Endpoint], clients: int) -> None:
        """The tuples that packets are made of."""
        self.traffic.services, self.traffic.servers, self.traffic.clients = len(services), len(servers), clients
        for number, service in enumerate(services):
            self.traffic.service[number][:] = (*_on_the_wire(service.endpoint), service.protocol)
        for number, server in enumerate(servers):
            self.traffic.server[number][:] = _on_the_wire(server)

    def make_traffic(self, cpu: int, runs: int) -> None:
        """To be called in a thread of its own, which stays on that CPU."""
        os.sched_setaffinity(0, {cpu})
        for _ in range(runs):
            libbpf.test_run(self._make_traffic)

    def rounds_of_the_sweep(self, count: int) -> None:
        """Whole rounds, the clock standing still; on a CPU that has a tally."""
        home = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {0})
        for _ in range(count):
            libbpf.test_run(self._sweep)
        os.sched_setaffinity(0, home)

    def total(self, name: str) -> int:
        """One count of both CPUs."""
        return sum(int(getattr(tally, name)) for tally in self.tallies)


def _on_the_wire(endpoint: Endpoint) -> tuple[int, int]:
    return int.from_bytes(endpoint.address.packed, "little"), int.from_bytes(endpoint.port.to_bytes(2, "big"), "little")


def _load_over(table: Table, compiled: Path) -> dict[str, int]:
    settings = table.settings
    opened = libbpf.Object(str(compiled))
    try:
        opened.set_constants(".rodata.table", load._constants(tuple(settings.seed), settings.buckets))
        for name in PINNED_MAPS:
            opened.reuse(name, table.fd(name))
        opened.load()
        programs = {name: opened.program_fd(name) for name in ("make_traffic", "sweep_now")}
        return programs | {name: opened.map_fd(name) for name in ("tallies", "traffics")}
    finally:
        opened.close()


@contextmanager
def own_namespace() -> Iterator[None]:
    """This thread, and those that it starts, in a fresh network namespace that nobody else can name."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        yield
    finally:
        _libc.setns(home, _CLONE_NEWNET)
        os.close(home)


@contextmanager
def plane(scratch: Path, connections: int) -> Iterator[Plane]:
    """A director with an empty table of so many slots; nothing is left of it."""
    compiled = scratch / "stress.bpf.o"
    compile_object(SOURCE, compiled)
    with own_namespace():
        cookie = bpffs.netns_cookie()
        director = EbpfDirector(capacity=Capacity(connections=connections))
        try:
            yield Plane(director, compiled)
        finally:
            pins = bpffs.pin_directory(bpffs.ensure_mounted(), cookie)
            director.close()
            bpffs.forget(pins, cookie)


NAT, DR = ForwardingMethod.NAT, ForwardingMethod.DR
TCP, UDP = Protocol.TCP, Protocol.UDP


def service(protocol: Protocol, text: str, scheduler: str) -> VirtualService:
    """A service at `address:port`."""
    return VirtualService(VirtualAddress(protocol, endpoint(text)), scheduler)


def endpoint(text: str) -> Endpoint:
    """`address:port`"""
    address, _, port = text.partition(":")
    return Endpoint(IPv4Address(address), int(port))


def server(text: str, method: ForwardingMethod) -> RealServer:
    """A real server of weight 1 at `address:port`."""
    return RealServer(endpoint(text), method)
