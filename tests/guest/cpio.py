"""Archives in the form that the kernel unpacks as its first file system (cpio, "newc"); several may stand in a row."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

Skipped = Callable[[str], bool]


class Archive:
    """Writes one; everything in it belongs to root."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._serial = 0

    def add(self, path: str, mode: int, content: bytes, mtime: int = 0) -> None:
        """A file, a folder or a symlink (its content is where it leads)."""
        self._serial += 1
        name = path.strip("/").encode() + b"\0"
        fields = (self._serial, mode, 0, 0, 1, mtime, len(content), 0, 0, 0, 0, len(name), 0)
        self._aligned(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        self._aligned(content)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.add(path, stat.S_IFREG | mode, content)

    def folder(self, path: str) -> None:
        """With all folders above it."""
        parts = path.strip("/").split("/")
        for depth in range(len(parts)):
            self.add("/".join(parts[: depth + 1]), stat.S_IFDIR | 0o755, b"")

    def tree(self, source: str, target: str, skipped: Skipped = lambda _: False) -> None:
        """A folder with all that is in it, but for the names that are skipped."""
        for path in _walk(source, skipped):
            status = os.lstat(path)
            where = target + path[len(source) :]
            if stat.S_ISLNK(status.st_mode):
                self.add(where, status.st_mode, os.readlink(path).encode())
            elif stat.S_ISDIR(status.st_mode):
                self.add(where, status.st_mode, b"")
            elif stat.S_ISREG(status.st_mode):
                self.add(where, status.st_mode, Path(path).read_bytes(), int(status.st_mtime))

    def close(self) -> None:
        """The kernel looks for the next archive at a multiple of 4."""
        self.add("TRAILER!!!", 0, b"")

    def _aligned(self, data: bytes) -> None:
        self._out.write(data + bytes(-len(data) % 4))


def _walk(source: str, skipped: Skipped) -> Iterator[str]:
    with os.scandir(source) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if not skipped(entry.name):
                yield entry.path
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk(entry.path, skipped)
