"""Loading the data plane into a network namespace, and swapping it under live traffic.

Published by rename: everything is pinned in a directory of its own first, so nobody ever sees half a director. (No dots
in the names: a bpffs refuses them.)
"""

from __future__ import annotations

import errno
import os
import struct
import time

import pylvs
from pylvs.director import knob
from pylvs.director.ebpf import abi, bpffs, knobs, libbpf
from pylvs.director.ebpf.table import PINNED_MAPS, PINNED_PROGRAMS, Array, Table
from pylvs.errors import DataPlaneError, NotPermitted, NotSupportedHere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylvs.director.ebpf.capacity import Capacity

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
    "SCTP_NONE": 2,
    "SCTP_INIT1": 4,
    "SCTP_INIT": 61,
    "SCTP_COOKIE_SENT": 61,
    "SCTP_COOKIE_REPLIED": 61,
    "SCTP_COOKIE_WAIT": 61,
    "SCTP_COOKIE": 61,
    "SCTP_COOKIE_ECHOED": 61,
    "SCTP_ESTABLISHED": 900,
    "SCTP_SHUTDOWN_SENT": 61,
    "SCTP_SHUTDOWN_RECEIVED": 61,
    "SCTP_SHUTDOWN_ACK_SENT": 61,
    "SCTP_REJECTED": 4,
    "SCTP_CLOSED": 61,
}
"""Seconds in each state, as in the kernel's net/netfilter/ipvs."""


def object_path(name: str = "director") -> str:
    """A compiled BPF object of this package; raises `DataPlaneError` where it wasn't built."""
    path = f"{os.path.dirname(pylvs.__file__)}/bpf/{name}.bpf.o"
    if not os.path.exists(path):
        raise DataPlaneError(f"{path} is missing", hint="build it with script/build, or install pylvs again")
    return path


def _prepare(constants: bytes) -> libbpf.Object:
    opened = libbpf.Object(object_path())
    opened.set_constants(".rodata.table", constants)
    opened.set_max_entries("cuttings", libbpf.possible_cpus())
    return opened


def verify(opened: libbpf.Object) -> None:
    """Load it; what the kernel has against it becomes an error that says what to do."""
    try:
        opened.load()
    except libbpf.VerifierError as error:
        path = f"{bpffs.RUN}/verifier.log"
        with open(path, "w") as file:
            file.write(error.log)
        raise DataPlaneError(str(error), hint=f"{error.hint}; what the verifier said is in {path}") from error
    except PermissionError as error:
        raise NotPermitted("the data plane can't be loaded: Operation not permitted") from error
    except OSError as error:
        if error.errno in {errno.ENOMEM, errno.E2BIG}:
            raise DataPlaneError(
                f"no memory for tables of this size: {error.strerror}",
                hint="try a smaller --connections, --services or --servers",
            ) from error
        raise NotSupportedHere(
            f"this kernel can't load the data plane: {error.strerror}",
            hint="it needs CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT",
        ) from error


def _constants(seeds: tuple[int, ...], buckets: int) -> bytes:
    return struct.pack("<6QI", *seeds, buckets - 1)


def load(directory: str, capacity: Capacity) -> Table:
    """A new, empty director in a directory that does not exist yet. Nothing is left of one that fails."""
    seeds = tuple(seed | 1 for seed in struct.unpack("<6Q", os.urandom(48)))
    opened = _prepare(_constants(seeds, capacity.buckets))
    try:
        opened.set_max_entries("connections", capacity.buckets)
        for name in ("service_index", "services", "rings", "service_statistics", "service_rates", "scheduler_files"):
            opened.set_max_entries(name, capacity.services)
        for name in ("servers", "server_statistics", "server_rates"):
            opened.set_max_entries(name, capacity.servers)
        opened.set_max_entries("addresses", capacity.services + capacity.servers + abi.LOCALS)
        verify(opened)
        _hold_scheduler_files(opened)
        fd = opened.map_fd("settings")
        _settle(Array(fd, abi.Settings)[0], seeds, capacity)
        os.close(fd)
        _publish(opened, directory)
    finally:
        opened.close()
    table = Table(directory)
    start_sweep(table)
    return table


def _hold_scheduler_files(opened: libbpf.Object) -> None:
    """No program reads them, but where the pins are lost it is an attached program that is asked for its maps."""
    program, held = opened.program_fd("director_tc"), opened.map_fd("scheduler_files")
    try:
        libbpf.bind_map(program, held)
    finally:
        os.close(program)
        os.close(held)


def _settle(settings: abi.Settings, seeds: tuple[int, ...], capacity: Capacity) -> None:
    """Before anybody can see it: a director without its settings is of no use to the next command."""
    settings.abi_version, settings.buckets = abi.ABI_VERSION, capacity.buckets
    settings.seed[:] = list(seeds)
    for state in abi.ConnectionState:
        if state.name in _TIMEOUTS:
            settings.timeout[state] = _TIMEOUTS[state.name] * abi.TICKS_A_SECOND
    knobs.write(settings, knob.defaults())


def _publish(opened: libbpf.Object, directory: str) -> None:
    building = f"{directory}-new"
    bpffs.remove_pins(building)
    os.mkdir(building, mode=0o700)
    try:
        for name in (*PINNED_MAPS, *PINNED_PROGRAMS):
            _pin_over(opened, name, f"{building}/{name}")
        os.rename(building, directory)
    except BaseException:
        bpffs.remove_pins(building)
        raise


def start_sweep(table: Table) -> None:
    """Start the timer that keeps the clock and ends connections; it takes over from one that runs."""
    result = libbpf.test_run(table.fd("start_sweep")).retval
    if result:
        raise DataPlaneError(f"the sweep can't be started ({result})")


def load_again(directory: str, live_fds: Mapping[str, int]) -> Table:
    """This pylvs's programs over live maps, pinned in place of what is pinned there; nothing is attached yet.

    Raises `DataPlaneError` when the maps have another layout than this pylvs knows.
    """
    settings = check_layout(live_fds["settings"])
    opened = _prepare(_constants(tuple(settings.seed), settings.buckets))
    try:
        for name in PINNED_MAPS:
            if name in live_fds:
                opened.reuse(name, live_fds[name])
        verify(opened)
        _hold_scheduler_files(opened)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for name in (*PINNED_MAPS, *PINNED_PROGRAMS):
            _pin_over(opened, name, f"{directory}/{name}")
    finally:
        opened.close()
    return Table(directory)


def _pin_over(opened: libbpf.Object, name: str, path: str) -> None:
    fd = opened.map_fd(name) if name in PINNED_MAPS else opened.program_fd(name)
    fresh = f"{path}-new"
    if os.path.exists(fresh):
        os.unlink(fresh)
    libbpf.pin(fd, fresh)
    os.close(fd)
    os.rename(fresh, path)


def check_layout(settings_fd: int) -> abi.Settings:
    """The settings of live maps; raises `DataPlaneError` when another version of pylvs laid them out."""
    try:
        settings = Array(settings_fd, abi.Settings)[0]
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
