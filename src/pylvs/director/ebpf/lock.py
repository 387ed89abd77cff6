"""Only one process at a time changes a network namespace's director. A lock ends with its process."""

from __future__ import annotations

import fcntl
import os

from pylvs.director.ebpf import bpffs
from pylvs.errors import NotPermitted


class Lock:
    """Taken when made, until it is released."""

    def __init__(self, cookie: int) -> None:
        path = bpffs.lock_path(cookie)
        try:
            os.makedirs(bpffs.RUN, mode=0o700, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError as error:
            raise NotPermitted(f"{path}: Permission denied") from error
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def release(self) -> None:
        """Let others change the director again."""
        os.close(self._fd)
