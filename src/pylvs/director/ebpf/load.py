"""Loading the data plane into a network namespace, and swapping it under live traffic.

Published by rename: everything is pinned in a directory of its own first, so nobody ever sees half a director. (No dots in the
names: a bpffs refuses them.)
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from importlib import resources
from pathlib import Path

from pylvs.director.ebpf import abi, bpffs, libbpf
from pylvs.director.ebpf.table import PINNED_MAPS, PINNED_PROGRAMS, Array, Table, word
from pylvs.errors import DataPlaneError, NotPermitted
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_TIMEOUTS = {
    "NONE": 2,
    "ESTABLISHED": 900,
    "SYN_SENT": 120,
    "SYN_RECV": 60,
    "FIN_WAIT": 120,
    "TIME_WAIT": 120,
    "CLOSE": 10,
    "CLOSE_WAIT": 60,
    "LAST_ACK": 30,
    "LISTEN": 120,
    "SYNACK": 120,
    "UDP": 300,
}
"""Seconds in each state, as in the kernel's net/netfilter/ipvs."""


class Capacity(Value):
    """How much a table holds; fixed when it is loaded. A NAT connection takes two slots, any other one."""

    connections: int = abi.DEFAULT_BUCKETS * abi.SLOTS
    services: int = abi.DEFAULT_SERVICES
    servers: int = abi.DEFAULT_SERVERS

    def __post_init__(self) -> None:
        for name in ("connections", "services", "servers"):
            if not 1 <= getattr(self, name) <= 1 << 28:
                raise ValueError(f"--{name} {getattr(self, name)} is not in 1..{1 << 28}")

    @property
    def buckets(self) -> int:
        """A power of two, and at least one bucket for each part of the sweep."""
        wanted = max(-(-self.connections // abi.SLOTS), 8 * abi.SWEEP_TICKS)
        return 1 << (wanted - 1).bit_length()


class Lock:
    """Only one process at a time changes a namespace's director."""

    def __init__(self, cookie: int) -> None:
        self._path = bpffs.RUN / f"netns-{cookie}.lock"
        self._fd = -1

    def __enter__(self) -> None:
        try:
            bpffs.RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError as error:
            raise NotPermitted(f"{self._path}: Permission denied") from error
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def object_path() -> Path:
    """The compiled data plane; raises `DataPlaneError` where it wasn't built."""
    path = Path(str(resources.files("pylvs"))) / "bpf" / "director.bpf.o"
    if not path.exists():
        raise DataPlaneError(f"{path} is missing", hint="build it with script/build, or install pylvs again")
    return path


def _prepare(constants: bytes) -> libbpf.Object:
    opened = libbpf.Object(object_path())
    opened.set_constants(".rodata.table", constants)
    return opened


def _verify(opened: libbpf.Object) -> None:
    try:
        opened.load()
    except PermissionError as error:
        raise NotPermitted("the data plane can't be loaded: Operation not permitted") from error
    except MemoryError as error:
        raise DataPlaneError("not enough memory for a table of this size", hint="a smaller --connections") from error


def _constants(seeds: tuple[int, ...], buckets: int) -> bytes:
    return struct.pack("<6QI", *seeds, buckets - 1)


def load(directory: Path, capacity: Capacity) -> Table:
    """A new, empty director in a directory that does not exist yet. Nothing is left of one that fails."""
    seeds = tuple(seed | 1 for seed in struct.unpack("<6Q", os.urandom(48)))
    opened = _prepare(_constants(seeds, capacity.buckets))
    try:
        opened.set_max_entries("connections", capacity.buckets)
        for name in ("service_index", "services", "rings", "service_statistics"):
            opened.set_max_entries(name, capacity.services)
        for name in ("servers", "server_statistics"):
            opened.set_max_entries(name, capacity.servers)
        _verify(opened)
        _publish(opened, directory)
    finally:
        opened.close()
    table = Table(directory)
    settings = table.settings
    settings.abi_version, settings.buckets = abi.ABI_VERSION, capacity.buckets
    settings.seed[:] = seeds
    for state in abi.ConnectionState:
        if state.name in _TIMEOUTS:
            settings.timeout[state] = _TIMEOUTS[state.name] * abi.TICKS_A_SECOND
    start_sweep(table)
    return table


def _publish(opened: libbpf.Object, directory: Path) -> None:
    building = directory.with_name(f"{directory.name}-new")
    bpffs.remove_pins(building)
    building.mkdir(mode=0o700)
    try:
        for name in (*PINNED_MAPS, *PINNED_PROGRAMS):
            _pin_over(opened, name, building / name)
        building.rename(directory)
    except BaseException:
        bpffs.remove_pins(building)
        raise


def start_sweep(table: Table) -> None:
    """Start the timer that keeps the clock and ends connections; it takes over from one that runs."""
    result = libbpf.test_run(table.fd("start_sweep")).retval
    if result:
        raise DataPlaneError(f"the sweep can't be started ({result})")


def load_again(directory: Path, live_fds: Mapping[str, int]) -> Table:
    """This pylvs's programs over live maps, pinned in place of what is pinned there; nothing is attached yet.

    Raises `DataPlaneError` when the maps have another layout than this pylvs knows.
    """
    settings = check_layout(live_fds["settings"])
    opened = _prepare(_constants(tuple(settings.seed), settings.buckets))
    try:
        for name in PINNED_MAPS:
            if name in live_fds:
                opened.reuse(name, live_fds[name])
        _verify(opened)
        directory.mkdir(mode=0o700, exist_ok=True)
        for name in (*PINNED_MAPS, *PINNED_PROGRAMS):
            _pin_over(opened, name, directory / name)
    finally:
        opened.close()
    return Table(directory)


def _pin_over(opened: libbpf.Object, name: str, path: Path) -> None:
    fd = opened.map_fd(name) if name in PINNED_MAPS else opened.program_fd(name)
    fresh = path.with_name(f"{name}-new")
    fresh.unlink(missing_ok=True)
    libbpf.pin(fd, fresh)
    os.close(fd)
    fresh.rename(path)


def check_layout(settings_fd: int) -> abi.Settings:
    """The settings of live maps; raises `DataPlaneError` when another version of pylvs laid them out."""
    try:
        settings: abi.Settings = Array(settings_fd, abi.Settings)[0]  # type: ignore[assignment]
        found = settings.abi_version
    except ValueError:
        found = 0
    if found != abi.ABI_VERSION:
        raise DataPlaneError(
            f"the running director has map layout {found}, this pylvs {abi.ABI_VERSION}",
            hint="save the rules (pylvs ipvsadm -S with the old version), then `pylvs detach` and restore them",
        )
    return settings


def sweep_stands_still(table: Table) -> bool:
    """Whether the timer is dead: the clock is more than two seconds behind."""
    now = time.monotonic_ns() // abi.TICK_NS
    return not table.settings.clock_stopped and now - table.settings.now > 2 * abi.TICKS_A_SECOND


def make_ring(table: Table, service: int, turns: list[int], start: int) -> None:
    """Swap a service's ring: `turns` are server numbers, `start` is where the next turn is among them."""
    offset = (start - table.services[service].turns_taken) % len(turns) if turns else 0
    fd = libbpf.create_inner_array("ring", abi.RING_HEADER + len(turns))
    try:
        libbpf.update_words(fd, [len(turns), offset, *turns])
        libbpf.update(table.fd("rings"), word(service), word(fd))
    finally:
        os.close(fd)
