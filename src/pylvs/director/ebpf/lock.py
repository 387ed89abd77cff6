"""Only one process at a time changes what a network namespace is (a director, say). A lock ends with its process."""

from __future__ import annotations

import fcntl
import os

from pylvs.director.ebpf import bpffs
from pylvs.errors import DataPlaneError, NotPermitted


class Lock:
    """Taken when made, until it is released."""

    def __init__(self, cookie: int, what: str = "netns") -> None:
        path = bpffs.lock_path(cookie, what)
        try:
            os.makedirs(bpffs.RUN, mode=0o700, exist_ok=True)
            self._fd = self._take(path)
        except PermissionError as error:
            raise NotPermitted(f"{path}: Permission denied") from error
        except OSError as error:
            raise DataPlaneError(f"{path}: {error.strerror}", hint=f"{bpffs.RUN} must be writable") from error

    @staticmethod
    def _take(path: str) -> int:
        """Whoever held it may have removed the file: a lock on what has no name any more locks nobody out."""
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    return fd
            except FileNotFoundError:
                pass
            os.close(fd)

    def release(self) -> None:
        """Let others change the director again."""
        os.close(self._fd)
