"""Reading the ring of events. The data plane makes them only while somebody says, every second, that he reads them.

A ring has one reader: the lock on the directory of pins is his, and ends with his process.
"""

from __future__ import annotations

import fcntl
import os
import time

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.convert import unpack_address
from pylvs.errors import DataPlaneError
from pylvs.model import Endpoint
from pylvs.model.event import Event, EventKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.ebpf.table import Table

_GOOD_FOR = 3 * abi.TICKS_A_SECOND
"""How long the data plane believes that it is watched; after a `kill -9` it makes events no longer than this."""
_WAIT = 500
"""Milliseconds between two looks at whether the director is still there."""


class Watch:
    """The only watcher of a director; raises `DataPlaneError` when there is one already."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lock = _lock(table.pins)
        self._settings = table.settings
        self._ring = libbpf.RingBuffer(table.fd("events"))
        while len(self._ring.read(0)) == libbpf.RingBuffer.MOST:
            pass  # what was left for a watcher who is gone
        self._lost = self._settings.events_lost
        self._keep_up()

    def _keep_up(self) -> None:
        self._settings.watched_until = (self._settings.now + _GOOD_FOR) % (1 << 32)

    def read(self, milliseconds: int = _WAIT) -> list[Event]:
        """What has happened, after waiting so long for the first; raises `DataPlaneError` when the director is gone."""
        self._keep_up()
        records = self._ring.read(milliseconds)
        if not records and not self._is_there():
            raise DataPlaneError("the director was taken away (pylvs detach)")
        since_1970 = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.monotonic_ns()
        return [_event(abi.Event.from_buffer_copy(record), since_1970) for record in records]

    def lost(self) -> int:
        """How many events had no room in the ring since this was last asked."""
        before, self._lost = self._lost, self._settings.events_lost
        return self._lost - before

    def _is_there(self) -> bool:
        """Pins are renewed by an upgrade; the map behind them stays."""
        try:
            fd = libbpf.pinned(f"{self._table.pins}/events")
        except FileNotFoundError:
            return False
        same = libbpf.map_info(fd).id == libbpf.map_info(self._table.fd("events")).id
        os.close(fd)
        return bool(same)

    def close(self) -> None:
        """Nobody watches any more."""
        self._settings.watched_until = self._settings.now
        self._ring.close()
        os.close(self._lock)


def _lock(directory: str) -> int:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise DataPlaneError(
            "another `pylvs watch` is at work on this director, and events can be read only once",
            hint="end it, or share its output: pylvs watch --json > events.jsonl",
        ) from None
    return fd


def _event(raw: abi.Event, since_1970: int) -> Event:
    server = _endpoint(raw.server, raw.server_port)
    dropped = raw.kind == abi.EventKind.DROPPED
    return Event(
        raw.at + since_1970,
        EventKind[abi.EventKind(raw.kind).name],
        raw.protocol,
        Endpoint(unpack_address(raw.client), raw.client_port),
        Endpoint(unpack_address(raw.virtual), raw.virtual_port),
        server,
        abi.ForwardingMethod(raw.method).name.lower() if server else None,
        abi.ConnectionState(raw.state).name if raw.state else None,
        abi.DropReason(raw.reason).name.lower() if dropped else None,
    )


def _endpoint(address: abi.Address, port: int) -> Endpoint | None:
    """None where nothing was written."""
    return Endpoint(unpack_address(address), port) if any(address.half) else None
