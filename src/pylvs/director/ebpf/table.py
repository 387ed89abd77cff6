"""The live maps of one network namespace's director, opened by their pins when first asked for."""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import cached_property

from pylvs.director.ebpf import abi, libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, TypeVar

    Kind = TypeVar("Kind", bound=ctypes.Structure)
else:  # importing typing would take longer than a listing may take to start

    class Generic:
        def __class_getitem__(cls, _):
            return cls

    Kind = None

PINNED_MAPS = (
    "connections",
    "creation_locks",
    "service_index",
    "services",
    "servers",
    "rings",
    "service_statistics",
    "server_statistics",
    "service_rates",
    "server_rates",
    "drops",
    "settings",
    "locals",
    "addresses",
    "fragmented",
    "early_fragments",
    "destinations",
    "scheduler_files",
    "events",
    "interfaces",
    "sweeps",
)
PINNED_PROGRAMS = (
    *("director_xdp", "director_tc", "director_mark", "director_answers"),
    *("start_sweep", "sweep_now", "estimate_now", "end_connections", "take_over"),
)


def word(number: int) -> bytes:
    """A 32-bit key."""
    return number.to_bytes(4, "little")


class Array(Generic[Kind]):
    """A mapped array of C structures: indexing gives a view of the live one, and assigning to its fields changes it."""

    def __init__(self, fd: int, kind: type[Kind]) -> None:
        info = libbpf.map_info(fd)
        self.fd = fd
        self.kind = kind
        self.stride = info.value_size
        self.entries = info.max_entries
        size = -(-self.stride * self.entries // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(fd, size)

    def __getitem__(self, index: int) -> Kind:
        if not 0 <= index < self.entries:
            raise IndexError(index)
        return self.kind.from_buffer(self.memory, index * self.stride)

    def clear(self, index: int) -> None:
        """Zero bytes."""
        start = index * self.stride
        self.memory[start : start + self.stride] = bytes(self.stride)


class Table:
    """Descriptors and views; whoever changes anything holds the namespace's lock."""

    def __init__(self, pins: str) -> None:
        self.pins = pins
        self._fds: dict[str, int] = {}

    def fd(self, name: str) -> int:
        """The descriptor of a map or program; raises `FileNotFoundError` when its pin is gone."""
        if name not in self._fds:
            self._fds[name] = libbpf.pinned(f"{self.pins}/{name}")
        return self._fds[name]

    def close(self) -> None:
        """Close every descriptor; views stay good until they are gone."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    @cached_property
    def services(self) -> Array[abi.Service]:
        return Array(self.fd("services"), abi.Service)

    @cached_property
    def servers(self) -> Array[abi.Server]:
        return Array(self.fd("servers"), abi.Server)

    @cached_property
    def service_rates(self) -> Array[abi.Rate]:
        return Array(self.fd("service_rates"), abi.Rate)

    @cached_property
    def server_rates(self) -> Array[abi.Rate]:
        return Array(self.fd("server_rates"), abi.Rate)

    @cached_property
    def locals(self) -> Array[abi.Address]:
        return Array(self.fd("locals"), abi.Address)

    @cached_property
    def settings(self) -> abi.Settings:
        return Array(self.fd("settings"), abi.Settings)[0]

    @cached_property
    def connections(self) -> Array[abi.Bucket]:
        return Array(self.fd("connections"), abi.Bucket)

    @cached_property
    def cpus(self) -> int:
        return libbpf.possible_cpus()

    def statistics(self, name: str, index: int) -> tuple[int, ...]:
        """The five totals of one service or server, over all CPUs, in the order of `struct statistics`."""
        size = ctypes.sizeof(abi.Statistics)
        raw = libbpf.lookup(self.fd(name), word(index), size * self.cpus)
        if raw is None or raw == bytes(len(raw)):
            return (0, 0, 0, 0, 0)
        values = (ctypes.c_uint64 * (len(raw) // 8)).from_buffer_copy(raw)
        fields = size // 8
        return tuple(sum(values[field::fields]) for field in range(fields))

    def drops(self) -> dict[str, int]:
        """How many packets were dropped for each reason, by its name in small letters."""
        counts = {}
        for reason in abi.DropReason:
            if reason is abi.DropReason.REASONS:
                continue
            raw = libbpf.lookup(self.fd("drops"), word(reason), 8 * self.cpus) or b""
            counts[reason.name.lower()] = sum((ctypes.c_uint64 * (len(raw) // 8)).from_buffer_copy(raw))
        return counts
