"""Putting a scheduler's ring into the data plane."""

from __future__ import annotations

import os

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.table import word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.ebpf.table import Table


def make_ring(table: Table, service: int, turns: list[int], offset: int) -> None:
    """Swap a service's ring: `turns` are server numbers, `offset` added to `turns_taken` gives the next one of them."""
    offset = offset % len(turns) if turns else 0
    fd = libbpf.create_inner_array("ring", abi.RING_HEADER + len(turns))
    try:
        libbpf.update_words(fd, [len(turns), offset, *turns])
        libbpf.update(table.fd("rings"), word(service), word(fd))
    finally:
        os.close(fd)
