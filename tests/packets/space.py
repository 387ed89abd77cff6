"""A fresh network namespace for the thread that tests: the director's interfaces, whose far ends are in another one."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.packets.wire import INTERFACES, NEIGHBOURS, ROUTES

_CLONE_NEWNET = 0x40000000


def unshare() -> None:
    """This thread leaves for a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare the network namespace")


def enter(namespace: int) -> None:
    """By its descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "enter a network namespace")


def here() -> int:
    """A descriptor of the network namespace that this thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def ip(*commands: str, six: bool = False) -> None:
    """Commands of `ip`, all in one batch; of IPv6 if asked for."""
    subprocess.run(["ip", *(["-6"] if six else []), "-batch", "-"], input="\n".join(commands), text=True, check=True)


@contextmanager
def fresh_namespace() -> Iterator[int]:
    """This thread is in the director's namespace for a while; gives a descriptor of the far one."""
    home = here()
    unshare()
    far = here()
    try:
        unshare()
        _furnish(far)
        yield far
    finally:
        enter(home)
        os.close(far)
        os.close(home)


def _furnish(far: int) -> None:
    path = f"/proc/{os.getpid()}/fd/{far}"
    for name in INTERFACES:
        ip(f"link add {name} type veth peer name far-{name} netns {path}")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    ip(
        "link set lo up",
        *(f"link set {name} address {one.mac} up" for name, one in INTERFACES.items()),
        *(f"address add {one.address} dev {name}" for name, one in INTERFACES.items()),
        *(f"neighbour replace {rip} lladdr {mac} dev {dev} nud permanent" for rip, (mac, dev) in NEIGHBOURS.items()),
        *(f"route add {route}" for route in ROUTES),
    )
    with inside(far):
        ip(*(f"link set far-{name} up" for name in INTERFACES))


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """This thread is in a namespace for a while."""
    back = here()
    enter(namespace)
    try:
        yield
    finally:
        enter(back)
        os.close(back)
