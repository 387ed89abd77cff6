"""Loading, attaching, detaching and upgrading as a whole: what the commands of these names do."""

from __future__ import annotations

import os

from pylvs.director.ebpf import attach as attaching
from pylvs.director.ebpf import bpffs, load
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.director.ebpf.table import PINNED_MAPS
from pylvs.errors import DataPlaneError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylvs.director.ebpf.capacity import Capacity
    from pylvs.director.ebpf.table import Table


def attach(names: Sequence[str], hook: str, capacity: Capacity) -> None:
    """Attach to the named interfaces, or to every one that needs it; loads the data plane first if need be."""
    interfaces = [attaching.interface_named(name) for name in names]
    director = EbpfDirector(hook=hook, capacity=capacity, interfaces=interfaces)
    try:
        was_there = director.table is not None
        table = director.loaded()
        if was_there:
            attaching.attach(table, interfaces or attaching.candidates(), hook)
    finally:
        director.close()


def _running(director: EbpfDirector) -> Table:
    if director.table is None:
        raise DataPlaneError(
            "no director runs in this network namespace", hint="`pylvs attach`, or the first `ipvsadm -A`, starts one"
        )
    return director.loaded()


def detach(names: Sequence[str]) -> None:
    """Detach from the named interfaces, or from all and unload; services and connections are gone then."""
    director = EbpfDirector()
    try:
        table = _running(director)
        attached = attaching.attachments(table)
        known = {one.interface.name for one in attached}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"no data plane on interface {name!r}", hint=f"it is on: {', '.join(sorted(known)) or 'none'}"
                )
        attaching.detach(table, [one for one in attached if not names or one.interface.name in names])
        if not names:
            bpffs.forget(table.pins, bpffs.netns_cookie())
    finally:
        director.close()


def upgrade() -> None:
    """Swap the programs. The maps, and so services and connections, stay as they are."""
    director = EbpfDirector()
    try:
        table = _running(director)
        attached = attaching.attachments(table)
        old_xdp = os.dup(table.fd("director_xdp"))
        fresh = load.load_again(table.pins, {name: table.fd(name) for name in PINNED_MAPS})
        attaching.replace(fresh, attached, old_xdp)
        load.start_sweep(fresh)
        os.close(old_xdp)
        fresh.close()
    finally:
        director.close()


def drops() -> dict[str, int]:
    """Counts by reason since the data plane was loaded."""
    director = EbpfDirector()
    try:
        if director.table is None:
            return {}
        return director.table.drops()
    finally:
        director.close()


def forget(cookie: int) -> None:
    """Unpin the director of a network namespace that is gone or about to go."""
    base = bpffs.mounted()
    if base:
        bpffs.forget(bpffs.pin_directory(base, cookie), cookie)
