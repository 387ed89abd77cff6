"""The packets of clients and real servers, and what becomes of them on their way."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from tests.packets.wire import CIP, RIP1, VIP, to_client, to_server

CPORT = 40000


def request(port: int = 80, flags: str = "S", *, ip: dict[str, Any] | None = None, size: int = 0, **fields: Any) -> Any:
    packet = IP(**{"src": CIP, "dst": VIP, "ttl": 64, "id": 7, **(ip or {})})
    return packet / TCP(**{"sport": CPORT, "dport": port, "flags": flags, "seq": 99, **fields}) / Raw(payload(size))


def reply(port: int = 8080, flags: str = "A", *, ip: dict[str, Any] | None = None, size: int = 0, **fields: Any) -> Any:
    packet = IP(**{"src": RIP1, "dst": CIP, "ttl": 64, "id": 8, **(ip or {})})
    return packet / TCP(**{"sport": port, "dport": CPORT, "flags": flags, "ack": 100, **fields}) / Raw(payload(size))


def datagram(port: int = 53, *, size: int = 9, ip: dict[str, Any] | None = None, **fields: Any) -> Any:
    packet = IP(**{"src": CIP, "dst": VIP, "ttl": 64, "id": 9, **(ip or {})})
    return packet / UDP(**{"sport": CPORT, "dport": port, **fields}) / Raw(payload(size))


def answer(port: int = 5353, *, size: int = 9, ip: dict[str, Any] | None = None, **fields: Any) -> Any:
    packet = IP(**{"src": RIP1, "dst": CIP, "ttl": 64, "id": 9, **(ip or {})})
    return packet / UDP(**{"sport": port, "dport": CPORT, **fields}) / Raw(payload(size))


def payload(size: int) -> bytes:
    return bytes(1 + index * 7 % 255 for index in range(size))


def hop(packet: Any, ip: dict[str, Any] | None = None, **ports: int) -> Any:
    """The same packet one hop on: its TTL one less, its addresses and ports as given, its checksums made anew."""
    moved = packet.copy()
    for name, value in {"ttl": packet.ttl - 1, **(ip or {})}.items():
        setattr(moved, name, value)
    for name, value in ports.items():
        setattr(moved.payload, name, value)
    moved.chksum = None
    if not (isinstance(moved.payload, UDP) and moved.payload.chksum == 0):
        moved.payload.chksum = None
    return moved


def to_rip(packet: Any, rip: str = RIP1, source: str | None = None, **ports: int) -> Any:
    """What NAT makes of a request."""
    made = hop(packet, {"dst": rip}, **ports)
    return to_server(made, rip, source) if source else to_server(made, rip)


def from_vip(packet: Any, **ports: int) -> Any:
    """What NAT makes of a reply."""
    return to_client(hop(packet, {"src": VIP}, **ports))
