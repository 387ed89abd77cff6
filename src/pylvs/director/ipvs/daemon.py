"""The kernel's connection sync daemons."""

from __future__ import annotations

from enum import IntEnum

from pylvs.director.netlink import attributes
from pylvs.model.value import Value


class _Attribute(IntEnum):
    STATE = 1
    INTERFACE = 2
    SYNC_ID = 3


ROLES = {"master": 1, "backup": 2}


class Daemon(Value):
    """One that runs."""

    role: str
    interface: str
    sync_id: int


def unpack(packed: bytes) -> Daemon:
    """As the kernel tells of it."""
    found = attributes(packed)
    state = int.from_bytes(found[_Attribute.STATE], "little")
    role = next(role for role, number in ROLES.items() if number == state)
    interface = found[_Attribute.INTERFACE].rstrip(b"\0").decode(errors="surrogateescape")
    return Daemon(role, interface, int.from_bytes(found[_Attribute.SYNC_ID], "little"))
