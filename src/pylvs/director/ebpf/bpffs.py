"""Where a network namespace's director is kept: a directory of pins in a bpffs of pylvs's own.

It is named by the namespace's cookie. The cookie (unlike an inode) is never used twice, so pins of a namespace that is
gone are never taken for another's. The bpffs is not /sys/fs/bpf, because `ip netns exec` hides that one. It is mounted
in the outermost mount namespace that can be reached: what is mounted inside `ip netns exec` would vanish with the
command.
"""

from __future__ import annotations

import ctypes
import errno
import os

from pylvs.errors import DataPlaneError, NotPermitted, NotSupportedHere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = "/run/pylvs"
_MOUNT = f"{RUN}/bpf"
_AF_UNIX, _SOCK_STREAM, _SOL_SOCKET, _SO_NETNS_COOKIE = 1, 1, 1, 71
_CLONE_NEWNET = 0x40000000
_BPFFS_MAGIC = 0xCAFE4A11


def netns_cookie() -> int:
    """The number of this network namespace, which no other will ever have until the machine restarts."""
    libc = _libc()
    cookie, size = ctypes.c_uint64(), ctypes.c_uint32(8)
    probe = libc.socket(_AF_UNIX, _SOCK_STREAM, 0)  # the socket module would take longer to import than all of this
    try:
        if libc.getsockopt(probe, _SOL_SOCKET, _SO_NETNS_COOKIE, ctypes.byref(cookie), ctypes.byref(size)):
            raise NotSupportedHere(
                "this kernel has no network namespace cookies", hint="pylvs needs Linux 6.1 or newer"
            )
        return cookie.value
    finally:
        os.close(probe)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _is_bpffs(path: str) -> bool:
    buffer = (ctypes.c_long * 32)()
    return bool(_libc().statfs(path.encode(), buffer) == 0 and buffer[0] == _BPFFS_MAGIC)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _ancestors() -> Iterator[int]:
    """This process's parents, nearest first."""
    pid = os.getppid()
    while pid > 0:
        yield pid
        try:
            stat = _read(f"/proc/{pid}/stat")
        except OSError:
            return
        pid = int(stat.rpartition(")")[2].split()[1])


def _outermost_process() -> int | None:
    """An ancestor in the outermost mount namespace that can be reached; None when that is our own."""
    own = os.readlink("/proc/self/ns/mnt")
    found = None
    for pid in _ancestors():
        try:
            if os.readlink(f"/proc/{pid}/ns/mnt") != own:
                found = pid
        except OSError:
            continue
    return found


def _through(process: int | None) -> str:
    """The mount point as seen by way of a process."""
    return _MOUNT if process is None else f"/proc/{process}/root{_MOUNT}"


def _mount_in(process: int | None) -> None:
    """Mount the bpffs where a process lives, from a child that enters that mount namespace."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        number = os.waitstatus_to_exitcode(status)
        if number:
            raise OSError(number, f"mount a bpffs on {_MOUNT}: {os.strerror(number)}")
        return
    code = errno.EIO
    try:
        libc = _libc()
        if process is not None:
            with open(f"/proc/{process}/ns/mnt", "rb") as namespace:
                if libc.setns(namespace.fileno(), 0):
                    os._exit(ctypes.get_errno())
        os.makedirs(_MOUNT, mode=0o700, exist_ok=True)
        failed = not _is_bpffs(_MOUNT) and libc.mount(b"bpf", _MOUNT.encode(), b"bpf", 0, b"mode=0700")
        code = ctypes.get_errno() if failed else 0
    except OSError as error:
        code = error.errno or errno.EIO
    finally:
        os._exit(code)


def ensure_mounted() -> str:
    """The bpffs, mounted if it was not. Raises `NotPermitted` and `DataPlaneError`."""
    if _is_bpffs(_MOUNT):
        return _MOUNT
    process = _outermost_process()
    try:
        _mount_in(process)
    except PermissionError as error:
        raise NotPermitted(str(error)) from error
    except OSError as error:
        raise DataPlaneError(f"no bpffs to keep the data plane in: {error}") from error
    return _MOUNT if _is_bpffs(_MOUNT) else _through(process)


def mounted() -> str | None:
    """The bpffs, if there is one."""
    if _is_bpffs(_MOUNT):
        return _MOUNT
    outer = _through(_outermost_process())
    return outer if _is_bpffs(outer) else None


def _namespaces() -> Iterator[str]:
    """A path for every network namespace that lives by a thread, by an open file or by a mount; some come twice."""
    mounts: set[str] = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            yield from (f"/proc/{pid}/task/{thread}/ns/net" for thread in os.listdir(f"/proc/{pid}/task"))
            files = (f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd"))
            yield from (path for path in files if os.readlink(path).startswith("net:["))
            if (own := os.readlink(f"/proc/{pid}/ns/mnt")) not in mounts:
                mounts.add(own)
                yield from _mounted_namespaces(pid)
        except OSError:
            continue


def _mounted_namespaces(pid: str) -> Iterator[str]:
    for line in _read(f"/proc/{pid}/mountinfo").splitlines():
        fields = line.split()
        if fields[3].startswith("net:["):
            yield f"/proc/{pid}/root{fields[4]}"


def live_cookies() -> set[int]:
    """The cookies of all network namespaces, asked from a thread that enters them."""
    import threading

    libc = _libc()
    seen: set[int] = set()
    cookies: set[int] = set()

    def ask() -> None:
        for path in _namespaces():
            try:
                inode = os.stat(path).st_ino
                if inode in seen:
                    continue
                seen.add(inode)
                with open(path, "rb") as namespace:
                    if not libc.setns(namespace.fileno(), _CLONE_NEWNET):
                        cookies.add(netns_cookie())
            except OSError:
                continue

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return cookies


def remove_orphans(base: str) -> None:
    """Unpin the directors of network namespaces that are gone: their pins alone keep their memory and their timer."""
    pins = [(int(name.split("-")[1]), f"{base}/{name}") for name in os.listdir(base) if name.startswith("netns-")]
    live = live_cookies() if pins else set()
    for cookie, directory in pins:
        if cookie not in live:
            forget(directory, cookie)


def pin_directory(base: str, cookie: int | None = None) -> str:
    """Where a namespace's director is pinned (this one's, if no cookie is given); it may not exist."""
    return f"{base}/netns-{netns_cookie() if cookie is None else cookie}"


def lock_path(cookie: int, what: str = "netns") -> str:
    """The file by which one process at a time changes a namespace's director, or another role's state."""
    return f"{RUN}/{what}-{cookie}.lock"


def marks_path(cookie: int) -> str:
    """A file that is there while the ways of marked packets don't yet agree with the services."""
    return f"{RUN}/netns-{cookie}.marks"


def daemon_path(cookie: int, role: str) -> str:
    """The file of a namespace's sync daemon, master or backup."""
    return f"{RUN}/netns-{cookie}.sync-{role}"


def remove_pins(directory: str) -> None:
    """Unpin everything in a directory of pins, and the directory."""
    going = directory if directory.endswith(("-new", "-gone")) else f"{directory}-gone"
    if os.path.isdir(directory) and going != directory:
        remove_pins(going)  # of one that was cut short
        os.rename(directory, going)  # nobody sees half a director
    if os.path.isdir(going):
        for name in os.listdir(going):
            os.unlink(f"{going}/{name}")
        os.rmdir(going)


def forget(directory: str, cookie: int) -> None:
    """Unpin a director for good."""
    remove_pins(directory)
    daemons = [f"{daemon_path(cookie, role)}{end}" for role in ("master", "backup") for end in ("", ".log")]
    for path in (marks_path(cookie), *daemons, lock_path(cookie)):
        if os.path.exists(path):
            os.unlink(path)
