"""Loading, attaching, detaching and upgrading as a whole: what the commands of these names do."""

from __future__ import annotations

from contextlib import contextmanager

from pylvs.director.ebpf import attach as attaching
from pylvs.director.ebpf import bpffs, daemon, here, load, mark
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.director.ebpf.table import PINNED_MAPS
from pylvs.errors import DataPlaneError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pylvs.director.ebpf.capacity import Capacity
    from pylvs.director.ebpf.table import Table
    from pylvs.director.ebpf.watch import Watch


def attach(names: Sequence[str], hook: str, capacity: Capacity | None) -> None:
    """Attach to the named interfaces, or to every one that needs it; loads the data plane first if need be."""
    interfaces = [attaching.interface_named(name) for name in names]
    director = EbpfDirector(hook=hook, capacity=capacity, interfaces=interfaces)
    try:
        if director.table is not None and capacity is not None:
            raise DataPlaneError(
                "the data plane is loaded already, and its capacities are fixed",
                hint="save the rules (ipvsadm -Sn), `pylvs detach`, attach anew and restore them",
            )
        interfaces = interfaces or attaching.candidates()
        if not interfaces:
            raise DataPlaneError(
                "there is no interface to attach to: none is Ethernet, up, and has an IP address",
                hint="bring one up, or name one: pylvs attach INTERFACE",
            )
        attaching.attach(director.loaded(), interfaces, hook)
        here.attach_to(director.loaded())
        director.lead_marks()
    finally:
        director.close()


def _found(director: EbpfDirector) -> Table:
    if director.table is None:
        raise DataPlaneError(
            "no director runs in this network namespace", hint="`pylvs attach`, or the first `ipvsadm -A`, starts one"
        )
    return director.table


def _running(director: EbpfDirector) -> Table:
    _found(director)
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
        leaving = [one for one in attached if not names or one.interface.name in names]
        attaching.detach(table, leaving, whole=not names)
        if not names:
            daemon.stop_all(bpffs.netns_cookie())
            mark.remove()
            here.detach(table)
            bpffs.forget(table.pins, bpffs.netns_cookie())
    finally:
        director.close()


def upgrade() -> None:
    """Swap the programs. The maps, and so services and connections, stay as they are."""
    director = EbpfDirector()
    try:
        table = _running(director)
        attached = attaching.attachments(table)
        fresh = load.load_again(table.pins, {name: table.fd(name) for name in PINNED_MAPS})
        attaching.replace(fresh, attached)
        mark.replace(fresh)
        here.attach_to(fresh)
        load.start_sweep(fresh)
        fresh.close()
    finally:
        director.close()


@contextmanager
def watching() -> Iterator[Watch]:
    """Events are made, and can be read, from here to the end of the block; raises `DataPlaneError`."""
    from pylvs.director.ebpf.watch import Watch

    director = EbpfDirector()
    try:
        watch = Watch(_found(director))
        try:
            yield watch
        finally:
            watch.close()
    finally:
        director.close()


def drops() -> dict[str, int]:
    """Counts by reason since the data plane was loaded."""
    director = EbpfDirector()
    try:
        return _found(director).drops()
    finally:
        director.close()


def forget(cookie: int) -> None:
    """Unpin the director of a network namespace that is gone or about to go."""
    base = bpffs.mounted()
    if base:
        bpffs.forget(bpffs.pin_directory(base, cookie), cookie)
