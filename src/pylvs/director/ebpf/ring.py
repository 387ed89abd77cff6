"""Putting schedulers' rings into the data plane."""

from __future__ import annotations

import ctypes
import os

from pylvs.director.ebpf import abi, libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylvs.director.ebpf.table import Table
    from pylvs.scheduler import Ring


def swap_rings(table: Table, rings: Mapping[int, tuple[Ring, list[int]]]) -> None:
    """Swap the rings of services, each a ring and the server numbers that it indexes, and note where they stood."""
    taken = {number: int(table.services[number].turns_taken) for number in rings}
    fds = {number: _make(*rings[number], taken[number]) for number in rings}
    try:
        libbpf.swap_inner_maps(table.fd("rings"), fds)
    finally:
        for fd in fds.values():
            os.close(fd)
    for number, (ring, _) in rings.items():
        raw = table.services[number]
        raw.turns_at_swap = taken[number]
        raw.mark, raw.ring_size, raw.ring_start = ring.mark, len(ring.turns), ring.start


def _make(ring: Ring, servers: list[int], taken: int) -> int:
    """A ring as the data plane reads it: see `struct ring_part`."""
    turns = len(ring.turns)
    offset = (ring.start - taken) % turns if turns else 0
    words = [turns, offset, ring.last_lap, *(servers[turn] for turn in ring.turns)]
    words += [0] * (-len(words) % abi.RING_WORDS)
    fd = libbpf.create_inner_array("ring", ctypes.sizeof(abi.RingPart), len(words) // abi.RING_WORDS)
    libbpf.update_words(fd, words, abi.RING_WORDS)
    return fd
