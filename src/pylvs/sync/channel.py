"""The sockets of the sync protocol: UDP to and from a multicast group on one interface."""

from __future__ import annotations

import socket
import struct

from pylvs.director.ebpf.abi import Knob
from pylvs.director.ebpf.knobs import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.ebpf.abi import Settings
    from pylvs.model import SyncDaemon

_MOST_PORTS = 64
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT = 10, 0
_RECEIVED_AT_ONCE = 4 << 20
"""Bytes that wait for a backup where sync_sock_size says nothing: a master that starts tells of everything at once."""


def senders(daemon: SyncDaemon, settings: Settings) -> list[socket.socket]:
    """One for each port, as the knobs say; raises `OSError`."""
    size = number(settings, Knob.SYNC_SOCK_SIZE)
    return [_sender(daemon, port, size) for port in _ports(daemon, settings)]


def receivers(daemon: SyncDaemon, settings: Settings) -> list[socket.socket]:
    """One for each port, as the knobs say; raises `OSError`."""
    size = number(settings, Knob.SYNC_SOCK_SIZE)
    return [_receiver(daemon, port, size) for port in _ports(daemon, settings)]


def _ports(daemon: SyncDaemon, settings: Settings) -> range:
    """As many as sync_ports, one after the other."""
    return range(daemon.port, daemon.port + min(number(settings, Knob.SYNC_PORTS), _MOST_PORTS))


def _sender(daemon: SyncDaemon, port: int, size: int) -> socket.socket:
    opened = _socket(daemon)
    index = socket.if_nametoindex(daemon.interface)
    if daemon.group.version == 6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, daemon.ttl)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    else:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), bytes(4), index))
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, daemon.ttl)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
    if size > 0:
        opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
    opened.connect(_address(daemon, port, index))
    return opened


def _receiver(daemon: SyncDaemon, port: int, size: int) -> socket.socket:
    opened = _socket(daemon)
    index = socket.if_nametoindex(daemon.interface)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, daemon.interface.encode())
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size if size > 0 else _RECEIVED_AT_ONCE)
    opened.bind(_address(daemon, port, index))
    group = daemon.group.packed
    if daemon.group.version == 6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("I", index))
    else:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + struct.pack("4si", bytes(4), index))
    opened.setblocking(False)
    return opened


def _socket(daemon: SyncDaemon) -> socket.socket:
    family = socket.AF_INET6 if daemon.group.version == 6 else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM)


def _address(daemon: SyncDaemon, port: int, index: int) -> tuple[str, int] | tuple[str, int, int, int]:
    return (str(daemon.group), port, 0, index) if daemon.group.version == 6 else (str(daemon.group), port)
