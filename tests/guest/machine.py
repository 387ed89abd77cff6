"""A virtual machine with Debian 12's Linux 6.1, the oldest kernel that pylvs supports, to run commands in.

    with booted() as guest:
        done = guest.run(["ipvsadm", "-Ln"])
        done = guest.run(["pylvs", "--backend", "ipvs", "ipvsadm", "-R"], stdin="-A -t 192.0.2.80:80 -s rr\\n")
        done = guest.run(["python3", "/tmp/asked.py"], files={"/tmp/asked.py": "print('hello')"}, seconds=30)

`done` is a `subprocess.CompletedProcess` with text. The commands run as root, one after the other, in /pylvs, which is
a copy of this tree as it was when the guest booted; `python3` has the virtualenv's packages, pylvs and `tests`. The
guest has ipvsadm, ip_vs with all its modules, iproute2, nft, iptables, curl, tcpdump, ethtool and bpftool, and nothing
of it outlives the guest. In tests, ask for the fixture `guest`: one for all tests of a worker. It is a machine without
hardware virtualisation, so it boots in some ten seconds and is ten to twenty times as slow as the host.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tests.guest.image import HERE, booting
from tests.guest.packages import GuestError

_QEMU = "qemu-system-x86_64"
_MEMORY = "2G"
_BOOT_SECONDS = 120.0
_GRACE_SECONDS = 60.0
_OPTIONS = (
    *(
        "-accel",
        "tcg,tb-size=512",
        "-cpu",
        "max,la57=off",
        "-m",
        _MEMORY,
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ),
    *("-device", "virtio-serial-pci", "-chardev", "stdio,id=port,signal=off"),
    *("-device", "virtserialport,chardev=port,name=pylvs"),
)
_KERNEL_OPTIONS = "console=ttyS0 quiet panic=-1 mitigations=off init_on_alloc=0 random.trust_cpu=on"


class Guest:
    """One that is up. It serves one caller at a time."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process = process
        self._console = console
        self._unread = b""
        self.release: str = self._message(time.monotonic() + _BOOT_SECONDS)["ready"]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        files: Mapping[str, str | bytes] | None = None,
        cwd: str = HERE,
        env: Mapping[str, str] | None = None,
        seconds: float = 600,
        echo: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, after writing the files (by their paths in the guest).

        It ends with 124 if it takes longer than so many seconds, and with 127 if there is no such command. With `echo`
        what it says is shown meanwhile. Raises `GuestError` when the guest itself is gone.
        """
        request = {
            "argv": argv,
            "stdin": _sendable(stdin),
            "files": {path: _sendable(content) for path, content in (files or {}).items()},
            "cwd": cwd,
            "env": dict(env or {}),
            "seconds": seconds,
        }
        self._send(json.dumps(request).encode() + b"\n")
        until = time.monotonic() + seconds + _GRACE_SECONDS
        said: dict[str, list[str]] = {"out": [], "err": []}
        while "code" not in (message := self._message(until)):
            for where, text in message.items():
                said[where].append(text)
                if echo:
                    _show(text, sys.stdout if where == "out" else sys.stderr)
        out, err = ("".join(parts).encode("latin-1").decode(errors="surrogateescape") for parts in said.values())
        return subprocess.CompletedProcess(list(argv), message["code"], out, err)

    def _send(self, data: bytes) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone("is gone") from None

    def _message(self, until: float) -> dict[str, Any]:
        assert self._process.stdout
        port = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            if not select.select([port], [], [], max(0, until - time.monotonic()))[0]:
                raise self._gone("does not answer")
            if not (read := os.read(port, 1 << 20)):
                raise self._gone("is gone")
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _gone(self, how: str) -> GuestError:
        last = self._console.read_text(errors="replace").strip().splitlines()[-15:]
        return GuestError("\n".join([f"the guest {how}; its console says last:", *last]))


def _sendable(content: str | bytes) -> str:
    """As Latin-1, which has a character for each byte."""
    return (content.encode() if isinstance(content, str) else content).decode("latin-1")


def _show(text: str, where: TextIO) -> None:
    where.buffer.write(text.encode("latin-1"))
    where.flush()


@contextmanager
def booted(cpus: int = 1) -> Iterator[Guest]:
    """A guest with this tree as it is now. Raises `GuestError`."""
    if not shutil.which(_QEMU):
        raise GuestError(f"there is no {_QEMU}", hint="script/guest installs it (Debian: qemu-system-x86)")
    with booting() as (kernel, initrd):
        console = initrd.with_name("console")
        argv = ["setpriv", "--pdeathsig", "KILL", _QEMU, *_OPTIONS, "-smp", str(cpus), "-serial", f"file:{console}"]
        argv += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", _KERNEL_OPTIONS]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            yield Guest(process, console)
        finally:
            process.kill()
            process.communicate()
