"""Ending connections: their slots are named to a program of the data plane, which ends them as it ends any."""

from __future__ import annotations

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.listing import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylvs.director.ebpf.listing import Found
    from pylvs.director.ebpf.table import Table
    from pylvs.model.connection_filter import ConnectionFilter


def end(table: Table, which: ConnectionFilter) -> int:
    """End what is selected; templates last, for one that has connections stays. Returns how many were there."""
    found = [each for each in find(table) if which.matches(each.connection)]
    found.sort(key=lambda each: each.connection.is_template)
    return sum(_end_some(table, found[first : first + abi.ENDINGS]) for first in range(0, len(found), abi.ENDINGS))


def _end_some(table: Table, found: Sequence[Found]) -> int:
    frame = bytes(abi.ENDINGS_AT) + b"".join(map(_name, found))
    return libbpf.test_run(table.fd("end_connections"), frame).retval


def _name(found: Found) -> bytes:
    return bytes(abi.Named(found.slot, found.control >> 32))
