"""The connection sync daemon as it is asked for, and as it runs."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address

from pylvs.model.address import IPAddress
from pylvs.model.value import Value

GROUP = IPv4Address("224.0.0.81")
PORT = 8848


class SyncRole(StrEnum):
    """A master sends its connections, a backup takes them in; a director may be both."""

    MASTER = "master"
    BACKUP = "backup"


class SyncDaemon(Value):
    """One of a director's two sync daemons. A `maxlen` of 0 is to follow from the interface."""

    role: SyncRole
    interface: str = "eth0"
    sync_id: int = 0
    maxlen: int = 0
    group: IPAddress = GROUP
    port: int = PORT
    ttl: int = 1
    runs: bool = True
    """False of one that was started, but died."""
