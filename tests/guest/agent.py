#!/usr/bin/python3
"""The guest's first process: sets the machine up, then runs commands for the host, one after the other.

Messages are lines of JSON on a virtio port. In: argv, and perhaps stdin, env, cwd, files and seconds. Out: what the
command says while it says it, as {"out": text} and {"err": text}, then {"code": number}. Text is Latin-1, so that
every byte comes through.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, BinaryIO

PORT = "/dev/vport0p1"
TIMED_OUT = 124
MOUNTS = (
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
)
FOLDERS = ("/run/netns", "/run/lock", "/var/lib", "/var/log")
MODULES = ("virtio_pci", "virtio_console", "veth", "ip_vs")
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PYTHONPATH": "/pylvs/src:/pylvs",
}


def set_up() -> None:
    """File systems, modules, lo."""
    libc = ctypes.CDLL(None)
    for kind, where in MOUNTS:
        Path(where).mkdir(parents=True, exist_ok=True)
        libc.mount(kind.encode(), where.encode(), kind.encode(), 0, None)
    for folder in FOLDERS:
        Path(folder).mkdir(parents=True, exist_ok=True)
    for link, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path("/dev", link).symlink_to(f"/proc/self/{target}")
    os.environ.update(ENVIRONMENT)
    subprocess.run(["modprobe", "-a", *MODULES], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def serve() -> None:
    """For as long as the machine runs."""
    with Path(PORT).open("r+b", buffering=0) as port:
        say(port, ready=os.uname().release)
        for line in iter(port.readline, b""):
            request = json.loads(line)
            for path, content in request.pop("files").items():
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_bytes(content.encode("latin-1"))
            say(port, code=run(port, **request))


def say(port: BinaryIO, **message: Any) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[port.write(data) :]


def run(port: BinaryIO, *, argv: list[str], stdin: str, cwd: str, env: dict[str, str], seconds: float) -> int:
    """One command to its end; 127 if there is no such command, TIMED_OUT if it had to be ended."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env={**os.environ, **env}, start_new_session=True
        )
    except OSError as error:
        say(port, err=f"{argv[0]}: {error.strerror}\n")
        return 127
    return relay(port, process, stdin.encode("latin-1"), time.monotonic() + seconds)


def relay(port: BinaryIO, process: subprocess.Popen[bytes], stdin: bytes, until: float) -> int:
    """What it is told and what it says, until it has ended and nothing of it is left to say."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    ends = selectors.DefaultSelector()
    ends.register(process.stdout, selectors.EVENT_READ, "out")
    ends.register(process.stderr, selectors.EVENT_READ, "err")
    ends.register(process.stdin, selectors.EVENT_WRITE, "in")
    os.set_blocking(process.stdin.fileno(), False)
    while ends.get_map():
        ready = ends.select(0.2 if process.poll() is None else 0)
        for key, _ in ready:
            if key.data == "in":
                stdin = feed(process.stdin, stdin)
                if not stdin:
                    ends.unregister(key.fileobj)
                    process.stdin.close()
            elif said := os.read(key.fd, 65536):
                say(port, **{key.data: said.decode("latin-1")})
            else:
                ends.unregister(key.fileobj)
        if not ready and process.poll() is not None:
            break  # what it left running in the background may hold its output open
        if time.monotonic() > until:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return TIMED_OUT
    return process.wait()


def feed(pipe: Any, data: bytes) -> bytes:
    """What is left of it."""
    try:
        return data[os.write(pipe.fileno(), data) :]
    except BrokenPipeError:
        return b""


def main() -> None:
    """The first process takes in orphans for as long as the one that serves lives."""
    set_up()
    server = os.fork()
    if not server:
        try:
            serve()
        finally:
            os._exit(1)
    while os.wait()[0] != server:
        pass
    ctypes.CDLL(None).reboot(0x4321FEDC)  # off


if __name__ == "__main__":
    main()
