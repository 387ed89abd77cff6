"""A sync daemon as a process: `python -m pylvs.sync STATE PINS DAEMON`, started by `pylvs.director.ebpf.daemon`.

It says "ok" on standard output once it has its sockets, or else in one line what is in the way. It holds a lock on its
state's file for as long as it lives, so that nobody has to believe a process number.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pylvs.director.ebpf import daemon as daemons
from pylvs.director.ebpf.table import Table
from pylvs.model import SyncRole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NAMED = Path("/run/netns")


def goes_on_with(directory: int) -> Callable[[], bool]:
    """Whether the director is there, and its network namespace has a name if it had one: nothing else would end it."""
    names = _names()

    def goes_on() -> bool:
        try:
            os.stat("settings", dir_fd=directory)
        except FileNotFoundError:
            return False
        return not names or bool(names & _names())

    return goes_on


def _names() -> set[str]:
    """The names of the network namespace that we are in."""
    here = os.stat("/proc/self/ns/net")
    found = set()
    for path in _NAMED.glob("*"):
        try:
            if os.path.samestat(path.stat(), here):
                found.add(path.name)
        except OSError:
            continue
    return found


def main(state: str, pins: str, text: str) -> int:
    """Run it until its director is gone, or it is told to stop."""
    os.chdir("/")
    directory = os.open(pins, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    daemon = daemons.unpacked(text)
    table = Table(f"/proc/self/fd/{directory}")  # good whatever becomes of the mount that led there
    try:
        if daemon.role is SyncRole.MASTER:
            from pylvs.sync.master import Master as Daemon
        else:
            from pylvs.sync.backup import Backup as Daemon  # type: ignore[assignment]
        running = Daemon(daemon, table)
    except OSError as error:
        print(error.strerror)
        return 1
    lock = daemons.claim(state, daemon)
    print("ok", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever started it need not wait any longer
    running.run(goes_on_with(directory))
    daemons.remove(state)
    os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
