"""Who is who for the real server's programs, and what directors send to it: one packet, in every kind of tunnel."""

from __future__ import annotations

import struct
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw

CIP, CIP6 = "110.0.0.1", "2001:db8::1"
VIP, VIP6 = "192.168.0.250", "fd00:20::100"
RIP, RIP6 = "192.168.0.111", "fd00:40::11"
DIP, DIP6 = "192.168.0.208", "fd00:40::2"
STRANGER, STRANGER6 = "192.168.0.7", "fd00:40::7"
GUE_PORT = 6080
_MACS = {"src": "02:00:00:00:00:d0", "dst": "00:00:00:00:00:00"}
"""The receiver's is that of `lo`, which test runs take for the device that a frame came in by."""

PRIVATE, REMCSUM = 1, 0x80000000


def frame(packet: Any) -> bytes:
    """As it comes from the director's side."""
    return bytes(Ether(**_MACS) / packet)


def outer(family: int, **fields: Any) -> Any:
    """The outer IP header, from the director to the real server."""
    if family == 4:
        return IP(**{"src": DIP, "dst": RIP, "ttl": 63, "id": 0, "flags": "DF", **fields})
    return IPv6(**{"src": DIP6, "dst": RIP6, "hlim": 63, **fields})


def protocol_of(inner: bytes) -> tuple[int, int]:
    """The protocol number and the Ethernet type of a packet."""
    return (4, 0x0800) if inner[0] >> 4 == 4 else (41, 0x86DD)


def next_header(header: Any, number: int) -> Any:
    """A header with the number of what follows."""
    setattr(header, "proto" if isinstance(header, IP) else "nh", number)
    return header


def ipip(inner: bytes, family: int = 4, **fields: Any) -> Any:
    return next_header(outer(family, **fields), protocol_of(inner)[0]) / Raw(inner)


def gre(inner: bytes, family: int = 4, *, header: dict[str, Any] | None = None, **fields: Any) -> Any:
    tunnel = GRE(**{"proto": protocol_of(inner)[1], **(header or {})})
    return next_header(outer(family, **fields), 47) / tunnel / Raw(inner)


def gre_csum(inner: bytes, family: int = 4, **fields: Any) -> Any:
    return gre(inner, family, header={"chksum_present": 1}, **fields)


def gue(
    inner: bytes,
    family: int = 4,
    *,
    header: bytes | None = None,
    udp: dict[str, Any] | None = None,
    **fields: Any,
) -> Any:
    """With UDP's checksum."""
    datagram = UDP(**{"sport": 50000, "dport": GUE_PORT, **(udp or {})})
    if header is None:
        header = struct.pack("!BBH", 0, protocol_of(inner)[0], 0)
    return next_header(outer(family, **fields), 17) / datagram / Raw(header + inner)


def gue_nocsum(inner: bytes, family: int = 4, **fields: Any) -> Any:
    return gue(inner, family, udp={"chksum": 0}, **fields)


def gue_remcsum(inner: bytes, family: int = 4, *, start: int = -1, offset: int = -1, **fields: Any) -> Any:
    """As of a sender whose device was to compute the inner checksum: in its place is the pseudo header's sum alone."""
    at = header_size(inner) if start < 0 else start
    check = at + check_offset(inner) if offset < 0 else offset
    header = struct.pack("!BBHIHH", 2, protocol_of(inner)[0], PRIVATE, REMCSUM, at, check)
    return gue(undone(inner), family, header=header, **fields)


TUNNELS = {
    "ipip": ipip,
    "gre": gre,
    "gre csum": gre_csum,
    "gue": gue,
    "gue nocsum": gue_nocsum,
    "gue remcsum": gue_remcsum,
}


def header_size(inner: bytes) -> int:
    """Of its IP header."""
    return (inner[0] & 15) * 4 if inner[0] >> 4 == 4 else 40


def check_offset(inner: bytes) -> int:
    """Of the checksum within the transport header."""
    return 16 if transport(inner) == 6 else 6


def transport(inner: bytes) -> int:
    return inner[9] if inner[0] >> 4 == 4 else inner[6]


def undone(inner: bytes) -> bytes:
    """The packet with the sum of its pseudo header in place of its transport checksum."""
    size = header_size(inner)
    addresses = inner[12:20] if inner[0] >> 4 == 4 else inner[8:40]
    pseudo = addresses + struct.pack("!II", len(inner) - size, transport(inner))
    at = size + check_offset(inner)
    return inner[:at] + struct.pack("!H", ones_complement_sum(pseudo)) + inner[at + 2 :]


def ones_complement_sum(data: bytes) -> int:
    """Folded, not complemented."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def decapsulated(inner: Any) -> bytes:
    """The frame that the host gets to see."""
    raw = bytes(inner)
    return bytes(Ether(**_MACS, type=protocol_of(raw)[1]) / Raw(raw))
