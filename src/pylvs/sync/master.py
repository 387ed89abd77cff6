"""The master: looks over the table once a second, an eighth of it at a time, and tells the group of what is due."""

from __future__ import annotations

import time

from pylvs.director.ebpf.abi import TICKS_A_SECOND, Knob
from pylvs.director.ebpf.knobs import number
from pylvs.director.ebpf.outgoing import Outgoing
from pylvs.sync.channel import senders
from pylvs.sync.due import Refresh
from pylvs.sync.message import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylvs.director.ebpf.abi import Settings
    from pylvs.director.ebpf.table import Table
    from pylvs.model import SyncDaemon
    from pylvs.sync.message import SyncConnection

_PARTS = 8
_MOST = 2500
"""Connections told at one time. More would only be lost on the way: what has to wait is found by the next look."""


class Master:
    """One daemon; its sockets are open when it is made."""

    def __init__(self, daemon: SyncDaemon, table: Table) -> None:
        self._daemon, self._settings = daemon, table.settings
        self._sockets = senders(daemon, table.settings)
        self._outgoing = Outgoing(table)

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Until it is not to go on, which is asked once a look."""
        while goes_on():
            self._outgoing.servers.clear()
            for part in range(_PARTS):
                started = time.monotonic()
                self._look(part)
                time.sleep(max(0.0, 1 / _PARTS - (time.monotonic() - started)))

    def _look(self, part: int) -> None:
        only_templates = bool(number(self._settings, Knob.SYNC_PERSIST_MODE))
        due = self._outgoing.part(part, _PARTS, refresh(self._settings), _MOST, only_templates=only_templates)
        version = number(self._settings, Knob.SYNC_VERSION)
        try:
            for sender, connections in zip(self._sockets, shared_out(due, len(self._sockets)), strict=True):
                for datagram in messages(connections, self._daemon.sync_id, self._daemon.maxlen, version):
                    sender.send(datagram)
        except OSError:  # the interface is down, say: once it works, all is told again
            self._outgoing.forget()


def refresh(settings: Settings) -> Refresh:
    """What the knobs say of telling a state again."""
    period = max(0, number(settings, Knob.SYNC_REFRESH_PERIOD))
    repeats = bool(period or number(settings, Knob.SYNC_THRESHOLD))
    return Refresh(period * TICKS_A_SECOND, number(settings, Knob.SYNC_RETRIES), repeats=repeats)


def shared_out(connections: Sequence[SyncConnection], among: int) -> list[list[SyncConnection]]:
    """By port: all that is told of one client goes by the same."""
    lists: list[list[SyncConnection]] = [[] for _ in range(among)]
    for one in connections:
        lists[int(one.client) % among].append(one)
    return lists
