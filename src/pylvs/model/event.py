"""Something that happened in the data plane."""

from __future__ import annotations

from enum import StrEnum

from pylvs.model.address import Endpoint
from pylvs.model.value import Value


class EventKind(StrEnum):
    """What can happen. A connection that was scheduled has one end: it expires, it is evicted, or deleted."""

    SCHEDULED = "scheduled"  # a new connection got its real server
    EXPIRED = "expired"  # it ended by its timeout, or because its client opened a new one from the same port
    EVICTED = "evicted"  # it had to make room for another
    DELETED = "deleted"  # an operator ended it
    DROPPED = "dropped"  # a packet was dropped


class Event(Value):
    """`at` is in nanoseconds since 1970. `protocol` is the IP protocol's number.

    A drop has a `reason`, and a `server`, `method` and `state` only where its connection was known.
    """

    at: int
    kind: EventKind
    protocol: int
    client: Endpoint
    virtual: Endpoint
    server: Endpoint | None = None
    method: str | None = None
    state: str | None = None
    reason: str | None = None
