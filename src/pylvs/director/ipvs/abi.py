"""The numbers of the kernel's generic netlink family IPVS, as linux/ip_vs.h has them."""

from __future__ import annotations

from enum import IntEnum, IntFlag

FAMILY = "IPVS"
VERSION = 1


class Command(IntEnum):
    NEW_SERVICE = 1
    SET_SERVICE = 2
    DEL_SERVICE = 3
    GET_SERVICE = 4
    NEW_DEST = 5
    SET_DEST = 6
    DEL_DEST = 7
    GET_DEST = 8
    NEW_DAEMON = 9
    DEL_DAEMON = 10
    GET_DAEMON = 11
    SET_CONFIG = 12
    GET_CONFIG = 13
    GET_INFO = 15
    ZERO = 16
    FLUSH = 17


class Attribute(IntEnum):
    """Of a message."""

    SERVICE = 1
    DEST = 2
    DAEMON = 3
    TIMEOUT_TCP = 4
    TIMEOUT_TCP_FIN = 5
    TIMEOUT_UDP = 6


class Info(IntEnum):
    """Of the answer to GET_INFO."""

    VERSION = 1
    TABLE_SIZE = 2


class Service(IntEnum):
    """Of a virtual service."""

    FAMILY = 1
    PROTOCOL = 2
    ADDRESS = 3
    PORT = 4
    MARK = 5
    SCHEDULER = 6
    FLAGS = 7
    TIMEOUT = 8
    NETMASK = 9
    ENGINE = 11
    STATISTICS64 = 12


class ServiceFlag(IntFlag):
    PERSISTENT = 0x1
    ONE_PACKET = 0x4
    SCHEDULER = 0x38
    """The bits of --sched-flags."""


class Server(IntEnum):
    """Of a real server (the kernel calls it a destination)."""

    ADDRESS = 1
    PORT = 2
    METHOD = 3
    WEIGHT = 4
    UPPER_THRESHOLD = 5
    LOWER_THRESHOLD = 6
    ACTIVE = 7
    INACTIVE = 8
    PERSISTENT = 9
    FAMILY = 11
    STATISTICS64 = 12
    TUNNEL_TYPE = 13
    TUNNEL_PORT = 14
    TUNNEL_FLAGS = 15


class Statistic(IntEnum):
    """Totals, and the same per second."""

    CONNECTIONS = 1
    IN_PACKETS = 2
    OUT_PACKETS = 3
    IN_BYTES = 4
    OUT_BYTES = 5
    CONNECTION_RATE = 6
    IN_PACKET_RATE = 7
    OUT_PACKET_RATE = 8
    IN_BYTE_RATE = 9
    OUT_BYTE_RATE = 10
