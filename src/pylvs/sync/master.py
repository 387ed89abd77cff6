"""The master: looks over the table once a second, an eighth of it at a time, and tells the group of what is due."""

from __future__ import annotations

import time

from pylvs.director.ebpf import abi, knobs
from pylvs.director.ebpf.outgoing import Outgoing
from pylvs.sync.channel import senders
from pylvs.sync.due import Refresh
from pylvs.sync.message import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from pylvs.director.ebpf.table import Table
    from pylvs.director.knob import KnobValue
    from pylvs.model import SyncDaemon
    from pylvs.sync.message import SyncConnection

_PARTS = 8
_MOST = 2500
"""Connections told at one time. More would only be lost on the way: what has to wait is found by the next look."""


class Master:
    """One daemon; its sockets are open when it is made."""

    def __init__(self, daemon: SyncDaemon, table: Table) -> None:
        self._daemon, self._table = daemon, table
        known = knobs.read(table.settings)
        self._sockets = senders(daemon, _number(known["sync_ports"]), _number(known["sync_sock_size"]))
        self._outgoing = Outgoing(table)

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Until it is not to go on, which is asked once a look."""
        while goes_on():
            for part in range(_PARTS):
                started = time.monotonic()
                self._look(part)
                time.sleep(max(0.0, 1 / _PARTS - (time.monotonic() - started)))

    def _look(self, part: int) -> None:
        known = knobs.read(self._table.settings)
        if not part:
            self._outgoing.servers.clear()
        due = self._outgoing.part(part, _PARTS, refresh(known), _MOST, only_templates=bool(known["sync_persist_mode"]))
        try:
            for sender, connections in zip(self._sockets, shared_out(due, len(self._sockets)), strict=True):
                self._send(sender, connections, _number(known["sync_version"]))
        except OSError:  # the interface is down, say: once it works, all is told again
            self._outgoing.forget()

    def _send(self, sender: socket.socket, connections: Sequence[SyncConnection], version: int) -> None:
        for datagram in messages(connections, self._daemon.sync_id, self._daemon.maxlen, version):
            sender.send(datagram)


def refresh(known: Mapping[str, KnobValue]) -> Refresh:
    """What the knobs say of telling a state again."""
    period = _number(known["sync_refresh_period"])
    threshold = known["sync_threshold"]
    every = threshold[1] if isinstance(threshold, tuple) else threshold
    return Refresh(period * abi.TICKS_A_SECOND, _number(known["sync_retries"]), repeats=bool(period or every))


def shared_out(connections: Sequence[SyncConnection], ports: int) -> list[list[SyncConnection]]:
    """By port: all that is told of one client goes by the same."""
    lists: list[list[SyncConnection]] = [[] for _ in range(ports)]
    for one in connections:
        lists[int(one.client) % ports].append(one)
    return lists


def _number(value: KnobValue) -> int:
    return value if isinstance(value, int) else value[0]
