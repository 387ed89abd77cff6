"""The processes of the sync daemons: started, found and stopped. No traffic depends on them.

A daemon's file says what it was started with. The process holds a lock on it, which ends with the process, so a file
without a lock is that of a daemon that died.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from contextlib import suppress

from pylvs.director.ebpf import bpffs
from pylvs.errors import DaemonFailed, DaemonRuns, DataPlaneError, NoDaemon, NoSuchDevice
from pylvs.model import SyncDaemon, SyncRole, parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIOCGIFMTU = 0x8921
_PATIENCE = 10.0
"""Seconds that a daemon is given to end before it is killed; it ends at once."""


def mtu(interface: str) -> int:
    """Raises `NoSuchDevice`."""
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFMTU, struct.pack("16s16x", interface.encode()))
        except OSError:
            raise NoSuchDevice from None
    return int(struct.unpack_from("i", answer, 16)[0])


def packed(daemon: SyncDaemon) -> str:
    """As one word, for a file or a command line."""
    return json.dumps({name: str(value) if name == "group" else value for name, value in daemon.__dict__.items()})


def unpacked(text: str) -> SyncDaemon:
    """What `packed` made a word of."""
    fields: dict[str, Any] = json.loads(text)
    return SyncDaemon(**{**fields, "role": SyncRole(fields["role"]), "group": parse_address(fields["group"])})


def claim(path: str, daemon: SyncDaemon) -> int:
    """The file of the daemon that this process is, locked; it appears when it is whole."""
    fresh = f"{path}-{os.getpid()}"
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, json.dumps([os.getpid(), packed(daemon)]).encode())
    os.rename(fresh, path)
    return fd


def remove(path: str) -> None:
    """Nobody is to find that daemon any more."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _read(path: str) -> tuple[int, SyncDaemon] | None:
    """The process and what it was started with; `runs` says whether it still does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        pid, text = json.loads(os.read(fd, 4096))
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return pid, unpacked(text)
        return pid, unpacked(text).replace(runs=False)
    finally:
        os.close(fd)


def found(cookie: int) -> list[SyncDaemon]:
    """Those of a network namespace, the master first."""
    there = (_read(bpffs.daemon_path(cookie, role)) for role in SyncRole)
    return [one[1] for one in there if one]


def start(cookie: int, pins: str, daemon: SyncDaemon) -> None:
    """Raises `DaemonRuns`, `DaemonFailed`."""
    path = bpffs.daemon_path(cookie, daemon.role)
    there = _read(path)
    if there and there[1].runs:
        raise DaemonRuns
    pid, answers = _spawn([sys.executable, "-m", "pylvs.sync", path, pins, packed(daemon)], f"{path}.log")
    with os.fdopen(answers) as file:
        answer = file.readline().strip()
    if answer == "ok":
        return
    os.waitpid(pid, 0)
    if answer:
        remove(f"{path}.log")
        raise DaemonFailed(answer)
    raise DataPlaneError("the sync daemon ended before it had begun", hint=f"what it said is in {path}.log")


def _spawn(command: list[str], log: str) -> tuple[int, int]:
    """A process of its own session, and the other end of its standard output."""
    answers, its_end = os.pipe()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, its_end, 1),
    ]
    try:
        return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True), answers
    finally:
        os.close(its_end)


def stop(cookie: int, role: SyncRole) -> None:
    """Raises `NoDaemon`. One that had died is put away."""
    path = bpffs.daemon_path(cookie, role)
    there = _read(path)
    if there is None:
        raise NoDaemon
    pid, daemon = there
    if daemon.runs:
        _end(path, pid)
    for left in (path, f"{path}.log"):
        remove(left)


def _end(path: str, pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    os.kill(pid, signal.SIGTERM)
    while (there := _read(path)) and there[1].runs:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    with suppress(ChildProcessError):  # it is only where one process starts and stops it
        os.waitpid(pid, 0)


def stop_all(cookie: int) -> None:
    """Both, if they are there."""
    for role in SyncRole:
        with suppress(NoDaemon):
            stop(cookie, role)
