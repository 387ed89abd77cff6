"""What `status` finds."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from pylvs.model.value import Value
from pylvs.role.asked import Asked


class State(Enum):
    """In the words of the tutorials' init scripts; the value is the exit code (Linux Standard Base, 20.2)."""

    RUNNING = 0
    DEGRADED = 1
    STOPPED = 3


class Status(Value):
    """`asked` is None of one that is stopped, or was never whole."""

    state: State
    asked: Asked | None
    problems: tuple[str, ...]
    counters: Mapping[str, int]
    mss: tuple[int, int] | None
    """The most that the VIP's SYNs offer, over IPv4 and IPv6."""
