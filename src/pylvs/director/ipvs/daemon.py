"""The kernel's connection sync daemons, between their values and the attributes of IPVS."""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from pylvs.director.netlink import attribute, attributes
from pylvs.model import SyncDaemon, SyncRole


class _Attribute(IntEnum):
    STATE = 1
    INTERFACE = 2
    SYNC_ID = 3
    MAXLEN = 4
    GROUP = 5
    GROUP6 = 6
    PORT = 7
    TTL = 8


_STATES = {SyncRole.MASTER: 1, SyncRole.BACKUP: 2}


def pack_role(role: SyncRole) -> bytes:
    """Which of the two."""
    return attribute(_Attribute.STATE, struct.pack("=I", _STATES[role]))


def pack(daemon: SyncDaemon) -> bytes:
    """As it is to run; a maxlen of 0 is left to the kernel."""
    group = _Attribute.GROUP if daemon.group.version == 4 else _Attribute.GROUP6
    maxlen = attribute(_Attribute.MAXLEN, struct.pack("=H", daemon.maxlen)) if daemon.maxlen else b""
    return b"".join((
        pack_role(daemon.role),
        attribute(_Attribute.INTERFACE, daemon.interface.encode(errors="surrogateescape") + b"\0"),
        attribute(_Attribute.SYNC_ID, struct.pack("=I", daemon.sync_id)),
        maxlen,
        attribute(group, daemon.group.packed),
        attribute(_Attribute.PORT, struct.pack("=H", daemon.port)),
        attribute(_Attribute.TTL, bytes([daemon.ttl])),
    ))  # fmt: skip


def unpack(packed: bytes) -> SyncDaemon:
    """As it runs."""
    found = attributes(packed)

    def number(kind: int) -> int:
        return int.from_bytes(found.get(kind, b""), "little")

    group6 = found.get(_Attribute.GROUP6)
    return SyncDaemon(
        next(role for role, state in _STATES.items() if state == number(_Attribute.STATE)),
        found[_Attribute.INTERFACE].rstrip(b"\0").decode(errors="surrogateescape"),
        number(_Attribute.SYNC_ID),
        number(_Attribute.MAXLEN),
        IPv6Address(group6) if group6 else IPv4Address(found[_Attribute.GROUP]),
        number(_Attribute.PORT),
        number(_Attribute.TTL),
    )
