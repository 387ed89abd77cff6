"""ICMP errors: those that the director makes about a packet, and those of others about what they got."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from tests.packets.wire import to_client

QUOTED = 576 - 28
"""So much of a packet goes into an error of IPv4's."""


def told(packet: Any, kind: tuple[int, int], mtu: int = 0, *, source: str = "", forwarded: bool = False) -> Any:
    """What the director says about a packet; one that is forwarded, or too large for that, is quoted a hop further."""
    quote = packet.copy()
    if forwarded or kind == (3, 4):
        quote.ttl -= 1
        quote.chksum = None
    outer = IP(src=source or packet.dst, dst=packet.src, tos=packet.tos & 0x1E | 0xC0, ttl=64, id=0)
    return to_client(outer / error(kind, mtu) / Raw(bytes(quote)[:QUOTED]))


def error(kind: tuple[int, int], mtu: int = 0) -> Any:
    return ICMP(type=kind[0], code=kind[1], **({"nexthopmtu": mtu} if mtu else {}))


def with_id_of(expected: bytes, frame: bytes) -> bytes:
    """The director's own errors have a random identification: the expected frame gets that of the one that came."""
    packet = IP(expected[14:])
    packet.id = IP(frame[14:]).id
    packet.chksum = None
    return expected[:14] + bytes(packet)
