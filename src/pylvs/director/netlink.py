"""Netlink by hand: requests, the kernel's answers, attributes.

Importing pyroute2 would take ten times as long as everything else that a command of `pylvs ipvsadm` takes.
"""

from __future__ import annotations

import errno
import os
import struct
from socket import AF_NETLINK, MSG_DONTWAIT, SOCK_RAW, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

REQUEST, ACKNOWLEDGE, DUMP = 0x1, 0x4, 0x300

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
_LARGEST = 1 << 16
_KIND = 0x3FFF
"""The two highest bits of an attribute's number say what is in it."""


class Netlink:
    """One conversation with the kernel, about one of its subjects (NETLINK_ROUTE, ...)."""

    def __init__(self, subject: int) -> None:
        self._socket = socket(AF_NETLINK, SOCK_RAW, subject)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """It is over."""
        self._socket.close()

    def ask(self, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """The bodies of all that the kernel answers; raises `OSError`, `InterruptedError` if it gives no answer."""
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)
        answers: list[bytes] = []
        while self._receive(answers) and flags & (DUMP | ACKNOWLEDGE):
            pass
        return answers

    def _receive(self, answers: list[bytes]) -> bool:
        """Take what comes next; False when there is no more. What was asked has been done when `send` returns, so an
        answer that is not there by now never comes: the kernel doesn't acknowledge what was interrupted.
        """
        try:
            data = self._socket.recv(_LARGEST, MSG_DONTWAIT)
        except BlockingIOError:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR)) from None
        if not data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        for kind, sequence, body in _messages(data):
            if sequence != self._sequence:  # the rest of an answer that was given up
                continue
            if kind in {_ERROR, _DONE}:
                _raise(int.from_bytes(body[:4], "little", signed=True))
                return False
            answers.append(body)
        return True


def _raise(status: int) -> None:
    if status:
        raise OSError(-status, os.strerror(-status))


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while len(data) - at >= _HEADER.size:
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
        yield kind, sequence, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def _aligned(length: int) -> int:
    return -(-length // 4) * 4


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, with what has to follow it."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message, or of another attribute, by their numbers."""
    found, at = {}, 0
    while len(data) - at >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind & _KIND] = data[at + _ATTRIBUTE.size : at + length]
        at += max(_aligned(length), _ATTRIBUTE.size)
    return found
