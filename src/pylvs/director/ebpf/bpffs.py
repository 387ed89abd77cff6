"""Where a network namespace's director is kept: a directory of pins in a bpffs of pylvs's own, named by the namespace's cookie.

The cookie (unlike an inode) is never used twice, so pins of a namespace that is gone are never taken for another's. The bpffs is
not /sys/fs/bpf, because `ip netns exec` hides that one. It is mounted in the outermost mount namespace that can be reached:
what is mounted inside `ip netns exec` would vanish with the command.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import threading
from pathlib import Path

from pylvs.errors import DataPlaneError, NotPermitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = Path("/run/pylvs")
_MOUNT = RUN / "bpf"
_SO_NETNS_COOKIE = 71
_CLONE_NEWNET = 0x40000000
_BPFFS_MAGIC = 0xCAFE4A11


def netns_cookie() -> int:
    """The number of this network namespace, which no other will ever have until the machine restarts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")


def _is_bpffs(path: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_long * 32)()
    return libc.statfs(str(path).encode(), buffer) == 0 and buffer[0] == _BPFFS_MAGIC


def _ancestors() -> Iterator[int]:
    """This process's parents, nearest first."""
    pid = os.getppid()
    while pid > 0:
        yield pid
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        pid = int(stat.rpartition(")")[2].split()[1])


def _outermost_root() -> Path:
    """The root directory of the outermost mount namespace among our ancestors'."""
    own = os.readlink("/proc/self/ns/mnt")
    found = Path("/")
    for pid in _ancestors():
        try:
            if os.readlink(f"/proc/{pid}/ns/mnt") != own:
                found = Path(f"/proc/{pid}/root")
        except OSError:
            continue
    return found


def _mount_in(root: Path) -> None:
    """Mount the bpffs where `root` belongs, from a child that enters that mount namespace."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        number = os.waitstatus_to_exitcode(status)
        if number:
            raise OSError(number, f"mount a bpffs on {_MOUNT}: {os.strerror(number)}")
        return
    code = errno.EIO
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if root != Path("/"):
            with (root.parent / "ns/mnt").open("rb") as namespace:
                if libc.setns(namespace.fileno(), 0):
                    os._exit(ctypes.get_errno())
        _MOUNT.mkdir(mode=0o700, parents=True, exist_ok=True)
        failed = not _is_bpffs(_MOUNT) and libc.mount(b"bpf", str(_MOUNT).encode(), b"bpf", 0, b"mode=0700")
        code = ctypes.get_errno() if failed else 0
    except OSError as error:
        code = error.errno or errno.EIO
    finally:
        os._exit(code)


def ensure_mounted() -> Path:
    """The bpffs, mounted if it was not. Raises `NotPermitted` and `DataPlaneError`."""
    if _is_bpffs(_MOUNT):
        return _MOUNT
    root = _outermost_root()
    try:
        _mount_in(root)
    except PermissionError as error:
        raise NotPermitted(str(error)) from error
    except OSError as error:
        raise DataPlaneError(f"no bpffs to keep the data plane in: {error}") from error
    return _MOUNT if _is_bpffs(_MOUNT) else root / _MOUNT.relative_to("/")


def mounted() -> Path | None:
    """The bpffs, if there is one."""
    if _is_bpffs(_MOUNT):
        return _MOUNT
    outer = _outermost_root() / _MOUNT.relative_to("/")
    return outer if _is_bpffs(outer) else None


def _namespaces() -> Iterator[Path]:
    """A path for every network namespace that a process lives in or that is mounted somewhere; some come twice."""
    yield from Path("/proc").glob("[0-9]*/ns/net")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[3].startswith("net:["):
            yield Path(fields[4])


def _live_cookies() -> set[int]:
    """The cookies of all network namespaces, asked from a thread that enters them."""
    libc = ctypes.CDLL(None, use_errno=True)
    seen: set[int] = set()
    cookies: set[int] = set()

    def ask() -> None:
        for path in _namespaces():
            try:
                inode = path.stat().st_ino
                if inode in seen:
                    continue
                seen.add(inode)
                with path.open("rb") as namespace:
                    if not libc.setns(namespace.fileno(), _CLONE_NEWNET):
                        cookies.add(netns_cookie())
            except OSError:
                continue

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return cookies


def remove_orphans(base: Path) -> None:
    """Unpin the directors of network namespaces that are gone: their pins alone keep their memory and their timer."""
    pins = {int(path.name.split("-")[1]): path for path in base.glob("netns-*")}
    if pins:
        for cookie in pins.keys() - _live_cookies():
            remove_pins(pins[cookie])
            (RUN / f"netns-{cookie}.lock").unlink(missing_ok=True)


def pin_directory(base: Path, cookie: int | None = None) -> Path:
    """Where a namespace's director is pinned (this one's, if no cookie is given); it may not exist."""
    return base / f"netns-{netns_cookie() if cookie is None else cookie}"


def remove_pins(directory: Path) -> None:
    """Unpin everything in a directory of pins, and the directory."""
    if not directory.is_dir():
        return
    for pin in directory.iterdir():
        pin.unlink()
    directory.rmdir()
