"""What the guest boots: Debian's part, the virtualenv's packages, and this tree as it is now."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guest.cpio import Archive
from tests.guest.debian import base
from tests.guest.packages import GuestError

HERE = "/pylvs"
"""Where this tree is in the guest."""

_TREE = Path(__file__).resolve().parents[2]
_AGENT = Path(__file__).with_name("agent.py")
_SITE = "/usr/local/lib/python3.11/dist-packages"
_UNWANTED = re.compile(
    r"(ziglang|clang_format|mypy|mypyc|ruff|pip|setuptools|pkg_resources|_distutils_hack)(-.*)?"
    r"|tests|f2py|_pyinstaller|.*\.pth"
)
"""What has no use in the guest, by name: developers' tools, and what is large in other packages."""
_SCAPY = Path.home() / ".cache/scapy"
"""What scapy works out when it is first imported, which takes ten seconds in the guest."""


@contextmanager
def booting() -> Iterator[tuple[Path, Path]]:
    """The kernel and its first file system."""
    if sys.version_info[:2] != (3, 11):
        raise GuestError(
            "the guest has Python 3.11, so the virtualenv's packages must be for that",
            hint="make .venv with python3.11",
        )
    kernel, debian = base()
    with tempfile.TemporaryDirectory(prefix="pylvs-guest-") as folder:
        initrd = Path(folder) / "initrd"
        shutil.copyfile(debian, initrd)
        with initrd.open("ab") as out:
            archive = Archive(out)
            _add_ours(archive)
            archive.close()
        yield kernel, initrd


def _add_ours(archive: Archive) -> None:
    archive.file("init", _AGENT.read_bytes(), 0o755)
    archive.folder(_SITE)
    archive.tree(sysconfig.get_path("purelib"), _SITE, lambda name: _UNWANTED.fullmatch(name) is not None)
    if _SCAPY.is_dir():
        archive.folder("root/.cache/scapy")
        archive.tree(str(_SCAPY), "root/.cache/scapy")
    archive.folder("usr/local/bin")
    archive.file("usr/local/bin/pylvs", b'#!/bin/sh\nexec python3 -m pylvs "$@"\n', 0o755)
    archive.folder(HERE)
    archive.tree(str(_TREE), HERE, lambda name: name.startswith("."))
