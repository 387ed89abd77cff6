"""The guest's kernel and its first file system: Debian's programs (kept in the cache), the virtualenv and this tree."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guest import packages
from tests.guest.cpio import Archive
from tests.guest.packages import Apt, GuestError, output_of

HERE = "/pylvs"
"""Where this tree is in the guest."""

_TREE = Path(__file__).resolve().parents[2]
_AGENT = Path(__file__).with_name("agent.py")
_PYTHON = "usr/lib/python3.11"
_SITE = "/usr/local/lib/python3.11/dist-packages"
_MODULES = ("arch/x86/crypto", "crypto", "drivers/block", "drivers/char", "drivers/net", "drivers/virtio", "lib", "net")
_UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/zoneinfo", "usr/share/bash-completion")
_DEVELOPER_TOOLS = re.compile(
    r"(ziglang|clang_format|mypy|mypyc|ruff|pip|setuptools|pkg_resources|_distutils_hack)(-.*)?|.*\.pth"
)
_LEFT_OUT_OF_PACKAGES = {"tests", "f2py", "_pyinstaller"}
_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "hosts: files\nservices: files\nprotocols: files\n",
}


def cache() -> Path:
    """A folder of the user's for what takes long to make."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pylvs" / "guest"


@contextmanager
def booting() -> Iterator[tuple[Path, Path]]:
    """The kernel, and the file system with the tree as it is now."""
    if sys.version_info[:2] != (3, 11):
        raise GuestError(
            "the guest has Debian 12's Python 3.11, so the virtualenv's packages must be for that one, too"
        )
    base = _base()
    with tempfile.TemporaryDirectory(prefix="pylvs-guest-") as folder:
        initrd = Path(folder) / "initrd"
        shutil.copyfile(base / "base.cpio", initrd)
        with initrd.open("ab") as out:
            archive = Archive(out)
            archive.file("init", _AGENT.read_bytes(), 0o755)
            archive.folder(_SITE)
            archive.tree(sysconfig.get_path("purelib"), _SITE, _unwanted)
            archive.file(f"{_SITE}/pylvs.pth", f"{HERE}/src\n{HERE}\n".encode())
            archive.folder("usr/local/bin")
            archive.file("usr/local/bin/pylvs", b'#!/bin/sh\nexec python3 -m pylvs "$@"\n', 0o755)
            archive.folder(HERE)
            archive.tree(str(_TREE), HERE, lambda name: name.startswith("."))
            archive.close()
        yield base / "vmlinuz", initrd


def _unwanted(name: str) -> bool:
    return name in _LEFT_OUT_OF_PACKAGES or _DEVELOPER_TOOLS.fullmatch(name) is not None


def _base() -> Path:
    """Debian's part, made once for a version of the files that make it."""
    recipe = b"".join(Path(file).read_bytes() for file in (__file__, packages.__file__))
    made = cache() / hashlib.sha256(recipe).hexdigest()[:16]
    made.parent.mkdir(parents=True, exist_ok=True)
    with (made.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            print("making the guest of Debian's packages (once, about a minute)", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=made.parent) as folder:
                _make(Path(folder) / "made", Path(folder) / "root")
                (Path(folder) / "made").rename(made)
    return made


def _make(made: Path, root: Path) -> None:
    apt = Apt(made.parent.parent)
    apt.update()
    kernel, *userland = apt.download([apt.kernel(), *apt.needed(*packages.USERLAND)])
    made.mkdir()
    _lay_out(root)
    for deb in userland:
        packages.unpack(deb, root)
    _settle(root)
    _take_kernel(kernel, made, root)
    with (made / "base.cpio").open("wb") as out:
        archive = Archive(out)
        archive.tree(str(root), "")
        archive.close()
    shutil.rmtree(root)


def _lay_out(root: Path) -> None:
    for folder in (
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "etc",
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "var",
        "root",
    ):
        (root / folder).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "var/run").symlink_to("/run")


def _settle(root: Path) -> None:
    """What the packages' own scripts would do."""
    for folder in _UNUSED:
        shutil.rmtree(root / folder, ignore_errors=True)
    for name, content in _ETC.items():
        (root / "etc" / name).write_text(content)
    links = {"bin/python3": "python3.11", "bin/sh": "dash", "bin/awk": "mawk"}
    for table in ("iptables", "ip6tables"):
        for also in ("", "-save", "-restore"):
            links[f"sbin/{table}{also}"] = "xtables-nft-multi"
    for link, target in links.items():
        (root / "usr" / link).unlink(missing_ok=True)
        (root / "usr" / link).symlink_to(target)
    output_of(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(root / _PYTHON))


def _take_kernel(deb: Path, made: Path, root: Path) -> None:
    """The kernel, and the modules that have to do with networks."""
    unpacked = root.with_name("kernel")
    _lay_out(unpacked)
    packages.unpack(deb, unpacked)
    (image,) = (unpacked / "boot").glob("vmlinuz-*")
    release = image.name.removeprefix("vmlinuz-")
    shutil.copyfile(image, made / "vmlinuz")
    source, target = (one / "usr/lib/modules" / release for one in (unpacked, root))
    for folder in _MODULES:
        shutil.copytree(source / "kernel" / folder, target / "kernel" / folder)
    for listed in source.glob("modules.*"):
        shutil.copy(listed, target)
    output_of("depmod", "-b", str(root), release)
    shutil.rmtree(unpacked)
