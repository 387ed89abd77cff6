"""When the pins are lost (somebody unmounted the bpffs), traffic goes on: programs hold their maps. Find both again."""

from __future__ import annotations

import os
import socket

from pylvs.director.ebpf import attach, here, libbpf, load, mark
from pylvs.director.ebpf.table import PINNED_MAPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.ebpf.table import Table

_KEPT_NAME = 15


def _maps_of(program: int) -> dict[str, int] | None:
    fd = libbpf.program_fd_by_id(program)
    try:
        by_kept_name = libbpf.program_maps(fd)
    finally:
        os.close(fd)
    found = {name: by_kept_name[name[:_KEPT_NAME]] for name in PINNED_MAPS if name[:_KEPT_NAME] in by_kept_name}
    return found if {"connections", "settings"} <= found.keys() else None


def attached() -> bool:
    """Whether a director is attached in this network namespace, pinned or not."""
    return any(attach.filter_on(index) for index, _ in socket.if_nameindex())


def pin_again(directory: str) -> Table | None:
    """The director that is attached here but not pinned, pinned anew; None where there is none."""
    tc = []
    maps: dict[str, int] = {}
    for index, name in socket.if_nameindex():
        number = attach.filter_on(index)
        found = _maps_of(number) if number else None
        if found:
            maps = maps or found
            tc.append(attach.interface_named(name))
    if not maps:
        return None
    table = load.load_again(directory, maps)
    attach.attach(table, tc, "tc")
    for interface in tc:
        number = libbpf.attached_xdp(interface.index)
        if attach.is_of(table, number):  # and no one else's
            attach.take_over_xdp(table, interface, number)
    mark.replace(table)
    here.attach_to(table)
    load.start_sweep(table)
    return table
