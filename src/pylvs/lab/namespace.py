"""Network namespaces as `ip netns` keeps them: made, entered, removed, and who lives in them."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pylvs.errors import NotSupportedHere
from pylvs.lab.errors import LabError

_NAMED = Path("/run/netns")
# No node has a hyphen in its name, so the last one always parts lab and node.
_OURS = re.compile(r"pylvs-(?P<lab>.+)-(?P<node>client|router2?|director|switch2?|rs[0-9]+)")
_CLONE_NEWNET = 0x40000000
_GRACE = 2.0
_PATIENCE = 10.0
_libc = ctypes.CDLL(None, use_errno=True)

Identity = tuple[int, int]


def labs() -> dict[str, set[str]]:
    """The nodes that are really there, by lab."""
    found: dict[str, set[str]] = {}
    for name in _names():
        if match := _OURS.fullmatch(name):
            found.setdefault(match["lab"], set()).add(match["node"])
    return found


def add(names: Iterable[str]) -> None:
    """Raises `LabError`."""
    _ip_netns("add", names)


def delete(names: Iterable[str]) -> None:
    """Take the names away; the namespaces go when the last process in them does. Raises `LabError`."""
    _ip_netns("delete", names)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread, and the sockets, files of /proc/sys/net and processes it opens meanwhile, live in a namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(_NAMED / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def identities(names: Iterable[str]) -> frozenset[Identity]:
    """What tells namespaces apart even when their names are gone. Never the host's own."""
    own = {_identity("/proc/1/ns/net"), _identity("/proc/self/ns/net")}
    return frozenset(found for name in names if (found := _identity(_NAMED / name)) and found not in own)


def of_servers(lab: str) -> frozenset[Identity]:
    """Where the real servers of a lab live, also when the names of their namespaces were taken away behind its back."""
    own = {_identity("/proc/1/ns/net"), _identity("/proc/self/ns/net")}
    found = {_identity(entry / "ns/net") for entry in Path("/proc").iterdir() if _is_server(entry, lab)}
    return frozenset(one for one in found if one and one not in own)


def _is_server(process: Path, lab: str) -> bool:
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return "pylvs.lab.server" in words and "--lab" in words and words[words.index("--lab") + 1] == lab


def processes(namespaces: frozenset[Identity]) -> list[int]:
    """Who lives in any of them, except the caller."""
    everyone = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in everyone if pid != os.getpid() and _identity(f"/proc/{pid}/ns/net") in namespaces]


def end_processes(namespaces: frozenset[Identity]) -> None:
    """Ask them to end, then make them. Raises `LabError` when they don't."""
    asked: set[int] = set()
    begun = time.monotonic()
    while left := processes(namespaces):
        late = time.monotonic() > begun + _GRACE
        if time.monotonic() > begun + _PATIENCE:
            raise LabError(f"these processes of the lab do not end: {left}")
        for pid in left if late else set(left) - asked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked.update(left)
        time.sleep(0.01)


def _names() -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(entry.name for entry in _NAMED.iterdir())
    return []


def _identity(path: str | Path) -> Identity | None:
    try:
        status = Path(path).stat()
    except OSError:  # ended meanwhile, or a zombie
        return None
    return (status.st_dev, status.st_ino)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


def _ip_netns(verb: str, names: Iterable[str]) -> None:
    batch = "".join(f"netns {verb} {name}\n" for name in names)
    try:
        subprocess.run(["ip", "-force", "-batch", "-"], input=batch, text=True, capture_output=True, check=True)
    except FileNotFoundError:
        raise NotSupportedHere("the ip command is missing", hint="install iproute2: apt install iproute2") from None
    except subprocess.CalledProcessError as error:
        raise LabError(f"ip netns {verb}: {error.stderr.strip().splitlines()[0]}") from None
