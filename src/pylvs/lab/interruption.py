"""Ctrl-C, SIGTERM and SIGHUP: none of them may leave half a lab behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def raised() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the stack, as Ctrl-C does. Only the main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, _end) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def postponed() -> Iterator[None]:
    """Cleaning up, and every command it runs, goes through to its end; a signal is delivered after that."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *_ENDS))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
