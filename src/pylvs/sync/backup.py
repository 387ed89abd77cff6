"""The backup: takes in what the group is told, from whoever has the right sync id. It believes nothing of it."""

from __future__ import annotations

import select
import time

from pylvs.director.ebpf.incoming import Incoming
from pylvs.sync.channel import receivers
from pylvs.sync.message import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pylvs.director.ebpf.table import Table
    from pylvs.model import SyncDaemon

_AT_ONCE = 64
"""Datagrams read from one port before others, and the servers, are looked at again."""


class Backup:
    """One daemon; its sockets are open when it is made."""

    def __init__(self, daemon: SyncDaemon, table: Table) -> None:
        self._daemon = daemon
        self._sockets = receivers(daemon, table.settings)
        self._incoming = Incoming(table)

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Until it is not to go on, which is asked once a second."""
        while goes_on():
            self._incoming.look_again()
            until = time.monotonic() + 1
            while (left := until - time.monotonic()) > 0:
                for ready in select.select(self._sockets, [], [], left)[0]:
                    self._receive(ready)

    def _receive(self, ready: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                datagram = ready.recv(self._daemon.maxlen)
            except OSError:  # nothing is left, or the interface went down
                return
            self.take(datagram)

    def take(self, datagram: bytes) -> int:
        """How many connections of it are in the table now."""
        message = decode(datagram)
        if message is None or self._daemon.sync_id not in {0, message.sync_id}:
            return 0
        return self._incoming.take(message.connections)
