"""The packet that opens the connection which a recorded packet belongs to: the recordings begin after it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

_CLIENTS = {ip_address("10.10.0.2"), ip_address("fd00:10::2")}
_ERRORS = {socket.IPPROTO_ICMP: (3, 4, 5, 11, 12), socket.IPPROTO_ICMPV6: (1, 2, 3, 4)}
_NOBODY = 1
"""The client's port in errors about packets that were never sent."""


class End(NamedTuple):
    """One of a connection's two."""

    address: IPv4Address | IPv6Address
    port: int


class Flow(NamedTuple):
    """What a packet says of its connection; `quoted`: it is not the packet itself, but one inside it."""

    protocol: int
    source: End
    destination: End
    flags: int
    quoted: bool


def opening(packet: bytes, services: Mapping[End, End]) -> bytes | None:
    """What a client sends first; None where there is no connection, or `packet` begins it.

    `services` tells the virtual service of each NAT server.
    """
    flow = _flow(packet)
    if flow is None or _NOBODY in (flow.source.port, flow.destination.port) or _begins(flow):
        return None
    client, other = flow.source, flow.destination
    if client.address not in _CLIENTS:
        client, other = other, client
    return _first(flow.protocol, client, services.get(other, other))


def _begins(flow: Flow) -> bool:
    from_client = flow.source.address in _CLIENTS and not flow.quoted
    return from_client and (flow.protocol == socket.IPPROTO_UDP or bool(flow.flags & 0x02))


def _first(protocol: int, client: End, service: End) -> bytes:
    network = (IPv6 if client.address.version == 6 else IP)(src=str(client.address), dst=str(service.address))
    ports = {"sport": client.port, "dport": service.port}
    return bytes(network / (TCP(flags="S", **ports) if protocol == socket.IPPROTO_TCP else UDP(**ports)))


def _flow(packet: bytes, *, quoted: bool = False) -> Flow | None:
    """Of the packet itself, or of the one that it is about."""
    six = packet[0] >> 4 == 6
    header, protocol = (40, packet[6]) if six else ((packet[0] & 0xF) * 4, packet[9])
    if protocol in _ERRORS:
        return _flow(packet[header + 8 :], quoted=True) if packet[header] in _ERRORS[protocol] else None
    if protocol == socket.IPPROTO_IPIP:
        return _flow(packet[header:], quoted=True) if len(packet) > header + 20 else None
    source, destination = (packet[8:24], packet[24:40]) if six else (packet[12:16], packet[16:20])
    ports = struct.unpack_from("!HH", packet, header)
    flags = packet[header + 13] if protocol == socket.IPPROTO_TCP and len(packet) > header + 13 else 0
    return Flow(protocol, End(ip_address(source), ports[0]), End(ip_address(destination), ports[1]), flags, quoted)
