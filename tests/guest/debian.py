"""Debian's part of the guest, which is made once and kept: the kernel with its modules, and the programs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.guest import packages
from tests.guest.cpio import Archive
from tests.guest.packages import Apt, output_of

_PYTHON = "usr/lib/python3.11"
_MODULES = ("arch/x86/crypto", "crypto", "drivers/block", "drivers/char", "drivers/net", "drivers/virtio", "lib", "net")
_FOLDERS = ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "dev", "proc", "sys", "run", "tmp", "var", "root")
_UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/zoneinfo", "usr/share/bash-completion")
_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "hosts: files\nservices: files\nprotocols: files\n",
}


def base() -> tuple[Path, Path]:
    """The kernel, and the archive with the rest; made anew when what makes it has changed."""
    recipe = b"".join(Path(file).read_bytes() for file in (__file__, packages.__file__))
    made = _cache() / hashlib.sha256(recipe).hexdigest()[:16]
    made.parent.mkdir(parents=True, exist_ok=True)
    with (made.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            print("making the guest of Debian's packages (once, about a minute)", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=made.parent) as folder:
                _make(Path(folder) / "made", Path(folder) / "root")
                (Path(folder) / "made").rename(made)
    return made / "vmlinuz", made / "base.cpio"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pylvs" / "guest"


def _make(made: Path, root: Path) -> None:
    apt = Apt(_cache())
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


def _lay_out(root: Path) -> None:
    for folder in _FOLDERS:
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
        links |= {f"sbin/{table}{also}": "xtables-nft-multi" for also in ("", "-save", "-restore")}
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
