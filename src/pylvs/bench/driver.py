"""The driver program of bpf/bench.bpf.c: it draws a flow for each packet and jumps to the program under test."""

from __future__ import annotations

import os
import struct
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address

from pylvs.bench import place
from pylvs.director.ebpf import libbpf
from pylvs.director.ebpf.load import object_path
from pylvs.director.ebpf.table import word
from pylvs.errors import DataPlaneError, NotPermitted
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylvs.director.ebpf.attach import Interface

DRAWS = 1 << 20
"""How many flows a listed draw names before it begins again."""

PORT = 80
SYN, ACK = 0x02, 0x10
_FRAME = {4: 64, 6: 74}
_TTL, _TCP = 64, 6


class Hook(StrEnum):
    XDP = "xdp"
    TC = "tc"


HANDLED = {Hook.XDP: {2, 3}, Hook.TC: {0, 7}}
"""XDP_PASS and XDP_TX, TC_ACT_OK and TC_ACT_REDIRECT."""


class Draw(IntEnum):
    """Which flow is next: any, the one after the last, or what a list says."""

    UNIFORM = 0
    ORDERED = 1
    LISTED = 2


class Load(Value):
    """The packets of one measurement. Flow i is of server i modulo `servers`, a power of two.

    `to_locals`: replies to FULLNAT's local addresses, by a list of answers. `wrapped`: the bytes that a tunnel adds.
    """

    flows: int
    draw: Draw = Draw.UNIFORM
    flags: int = ACK
    reply: bool = False
    first: int = 0
    servers: int = 2
    family: int = 4
    to_locals: bool = False
    wrapped: int = 0


_ANY = Load(1)


def load_object(opened: libbpf.Object, entries: Mapping[str, int]) -> None:
    """Create its maps, so large, and verify its programs."""
    for name, number in entries.items():
        opened.set_max_entries(name, number)
    try:
        opened.load()
    except PermissionError as error:
        raise NotPermitted("the benchmark's programs can't be loaded: Operation not permitted") from error


def _macs(interface: Interface) -> bytes:
    source = bytes.fromhex(place.GATEWAY_MAC.replace(":", ""))
    return interface.mac + source


def _constants(load: Load, interface: Interface) -> bytes:
    """`load` of bpf/bench.bpf.c."""
    return struct.pack(
        "<12sBBHIIII4s2sHIIIIII12s",
        _macs(interface),
        _TTL,
        _TCP,
        0,
        load.draw,
        load.flows,
        load.first,
        int(IPv4Address(place.CLIENTS)) + 1,
        IPv4Address(place.VIP).packed,
        PORT.to_bytes(2, "big"),
        load.reply,
        int(IPv4Address(place.SERVERS[0])),
        load.servers - 1,
        int(IPv4Address(place.LOCALS[0])) if load.to_locals else 0,
        load.wrapped,
        _FRAME[load.family],
        load.family == 6,
        place.PREFIX.packed[:12],
    )


def frame(load: Load, interface: Interface) -> bytes:
    """The packet before the driver puts a flow into it. Nothing here looks at checksums."""
    if load.family == 4:
        kind, ip = b"\x08\x00", struct.pack("!BBHHHBBH8x", 0x45, 0, 40, 0, 0x4000, _TTL, _TCP, 0)
    else:
        kind, ip = b"\x86\xdd", struct.pack("!IHBB32x", 6 << 28, 20, _TCP, _TTL)
    tcp = struct.pack("!HHIIBBHHH", 0, 0, 1, 1, 5 << 4, load.flags, 0xFFFF, 0, 0)
    return (_macs(interface) + kind + ip + tcp).ljust(_FRAME[load.family], b"\0")


def _context(hook: Hook, interface: Interface, length: int) -> bytes:
    """`struct xdp_md` or the start of `struct __sk_buff`: the packet came in by the interface."""
    if hook is Hook.XDP:
        return struct.pack("<6I", 0, length, 0, interface.index, 0, 0)
    return struct.pack("<11I", *[0] * 10, interface.index)


class Alone:
    """A program that BPF_PROG_TEST_RUN runs without the driver, on a packet that it had better not change."""

    def __init__(self, hook: Hook, interface: Interface, program: int, load: Load = _ANY) -> None:
        self._fd = os.dup(program)
        self._hook = hook
        self._frame = frame(load, interface)
        self._context = _context(hook, interface, len(self._frame))
        self._last = 0
        self.packets = 0

    def run(self, packets: int) -> int:
        """Nanoseconds a packet, whole ones, as the kernel took them: without its preparations, with interrupts."""
        self.packets += packets
        done = libbpf.test_run(self._fd, self._frame, context=self._context, repeat=packets)
        self._last = done.retval
        return done.duration

    def check(self) -> None:
        """Raises `DataPlaneError` unless the last packet was sent on, or passed."""
        if self._last not in HANDLED[self._hook]:
            raise DataPlaneError(f"the benchmark's packet was not forwarded: the program returned {self._last}")

    def close(self) -> None:
        """Unload it."""
        os.close(self._fd)


class Driver(Alone):
    """One load on one program. `draws` are the flows of a listed draw."""

    def __init__(self, load: Load, hook: Hook, interface: Interface, program: int, draws: bytes = b"") -> None:
        opened = libbpf.Object(object_path("bench"))
        try:
            opened.set_constants(".rodata.load", _constants(load, interface))
            load_object(opened, {} if draws else {"draws": 1})
            # the jump is taken away with the map, so its descriptor is kept
            self._under_test = opened.map_fd(f"{hook}_under_test")
            libbpf.update(self._under_test, word(0), word(program))
            if draws:
                fill(opened.map_fd("draws"), _spread(draws))
            fd = opened.program_fd(f"drive_{hook}")
        finally:
            opened.close()
        super().__init__(hook, interface, fd, load)
        os.close(fd)

    def close(self) -> None:
        """Unload it."""
        super().close()
        os.close(self._under_test)


def _spread(words: bytes) -> bytes:
    """Words of 32 bits as an array map has them: each element begins at a multiple of 8 bytes."""
    import numpy

    spread: bytes = numpy.frombuffer(words, "<u4").astype("<u8").tobytes()
    return spread


def fill(fd: int, data: bytes) -> None:
    """Write a mapped array from its start; closes the descriptor."""
    import mmap

    size = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
    with mmap.mmap(fd, size) as memory:
        memory[: len(data)] = data
    os.close(fd)
