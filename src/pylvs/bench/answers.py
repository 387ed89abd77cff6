"""Read from a live table, and written into it: FULLNAT's local ports, what its servers know, and how full it is."""

from __future__ import annotations

from pylvs.director.ebpf import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy

    from pylvs.director.ebpf.table import Table

_WORDS = 16
"""Of a slot, 32 bits each."""


def _slots(table: Table) -> numpy.ndarray:
    import numpy

    return numpy.frombuffer(table.connections.memory, "<u4").reshape(-1, _WORDS)


def _word(field: str) -> int:
    offset: int = getattr(abi.Connection, field).offset
    return offset // 4


def _owners(slots: numpy.ndarray) -> numpy.ndarray:
    """Which of them are live and a client's side."""
    control = slots[:, 0]
    live = control >> abi.ControlShift.PHASE & 3 == abi.SlotPhase.LIVE
    owners: numpy.ndarray = live & (control >> abi.ControlShift.SIDE & 1 == abi.SlotSide.CLIENT)
    return owners


def live(table: Table) -> int:
    """How many connections there are."""
    return int(_owners(_slots(table)).sum())


def settle(table: Table) -> None:
    """As if every server had been told who its clients are."""
    slots = _slots(table)
    slots[_owners(slots), 0] |= 1 << abi.ControlShift.SETTLED


def answers(table: Table, count: int) -> bytes:
    """`count` draws of connections, at random, as the driver wants FULLNAT's answers."""
    import numpy

    slots = _slots(table)
    owners = slots[_owners(slots)]
    drawn = owners[numpy.random.default_rng(1).integers(len(owners), size=count)]
    listed: bytes = (drawn[:, _word("server")] << 24 | drawn[:, _word("link")]).astype("<u4").tobytes()
    return listed
