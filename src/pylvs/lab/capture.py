"""Capturing for real: a packet socket on each tap, opened inside the tap's namespace."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from pylvs.lab import namespace
from pylvs.lab.hop import Frame, taps
from pylvs.lab.topology import Port, Topology

_EVERY_PROTOCOL = 0x0003  # only a socket for all of them sees what leaves, too
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_SNAP = 512
_SETTLE_SECONDS = 0.05


def capture(topology: Topology, during: Callable[[], object]) -> list[Frame]:
    """Every frame that the taps see while `during` runs. Raises `OSError`."""
    frames: list[Frame] = []
    with ExitStack() as stack:
        sockets = {stack.enter_context(_open(topology, port)): port for port in taps(topology)}
        wake, stop = os.pipe()
        stack.callback(os.close, wake)
        thread = threading.Thread(target=_collect, args=(sockets, wake, frames))
        # The kernel starts stamping packets a moment after the first socket asked for it.
        time.sleep(_SETTLE_SECONDS)
        thread.start()
        try:
            during()
            time.sleep(_SETTLE_SECONDS)
        finally:
            os.close(stop)
            thread.join()
    return frames


def _open(topology: Topology, port: Port) -> socket.socket:
    with namespace.inside(topology.namespace(port.node)):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    tap.setblocking(False)
    tap.bind((port.interface, _EVERY_PROTOCOL))
    return tap


def _collect(sockets: Mapping[socket.socket, Port], wake: int, frames: list[Frame]) -> None:
    with selectors.DefaultSelector() as selector:
        for tap, port in sockets.items():
            selector.register(tap, selectors.EVENT_READ, (tap, port))
        selector.register(wake, selectors.EVENT_READ)
        while taps_ready := [key.data for key, _ in selector.select() if key.data]:
            frames += (_receive(tap, port) for tap, port in taps_ready)


def _receive(tap: socket.socket, port: Port) -> Frame:
    content, ancillary, _, source = tap.recvmsg(_SNAP, socket.CMSG_SPACE(_TIMESPEC.size))
    seconds, nanoseconds = next(_TIMESPEC.unpack(value) for _, kind, value in ancillary if kind == _SO_TIMESTAMPNS)
    return Frame(seconds * 10**9 + nanoseconds, port, source[2] == socket.PACKET_OUTGOING, content)
