"""The frames of clients and real servers, and what may become of one before it reaches the director."""

from __future__ import annotations

import struct
from typing import NamedTuple

from tests.packets.model.build import KIND, checksum, ipv4_header, ipv6_header, pseudo_header
from tests.packets.model.parse import ETHERNET, UDP
from tests.packets.model.table import Tuple

OPTIONS = {
    "none": b"",
    "MSS": b"\x02\x04\x05\xb4",
    "MSS at an odd place": b"\x01\x02\x04\x05\xb4\x01\x01\x00",
    "small MSS": b"\x01\x01\x02\x04\x00\x0f\x00\x00",
    "timestamps": b"\x01\x01\x08\x0a" + bytes(range(8)),
    "a lying length": b"\x08\x01\x02\x04\x05\xb4\x00\x00",
    "all there can be": b"\x01" * 36 + b"\x02\x04\x05\xb4",
}
IP_OPTIONS = {
    4: {
        "none": b"",
        "no operation": b"\x01\x01\x01\x00",
        "router alert": b"\x94\x04\x00\x00",
        "loose source route": b"\x01\x83\x07\x04\x0a\x00\x00\x01",
        "without a length": b"\x94\x00\x01\x01",
        "all there can be": b"\x01" * 40,
    },
    6: {
        "none": b"",
        "hop by hop": bytes([0, 0]) + b"\x01\x04\x00\x00\x00\x00",
        "destination options": bytes([60, 0]) + b"\x01\x04\x00\x00\x00\x00",
        "two": bytes([0, 0]) + b"\x01\x04\x00\x00\x00\x00" + bytes([60, 1]) + b"\x01\x0c" + bytes(12),
        "a routing header": bytes([43, 0]) + bytes(6),
        "a fragment that is whole": bytes([44, 0]) + b"\x00\x00\x00\x00\x00\x07",
        "too many": (bytes([60, 0]) + b"\x01\x04\x00\x00\x00\x00") * 4,
    },
}
"""Of IPv6 each header begins with its own number, which `_chain` puts into the header before it."""


class Shape(NamedTuple):
    """How a packet looks, beside its ends."""

    flags: int = 0x02
    size: int = 0
    ttl: int = 64
    tos: int = 0
    dont_fragment: bool = True
    options: str = "none"
    ip_options: str = "none"
    checksum: bool = True


class Damage(NamedTuple):
    """What is done to a frame: bits flipped by place and mask, bytes cut off or put at its end."""

    flips: tuple[tuple[int, int], ...] = ()
    cut: int = 0
    tail: bytes = b""

    def apply(self, frame: bytes) -> bytes:
        """No shorter than a test run takes: with an IP header where the frame says that there is one."""
        made = bytearray(frame)
        for at, mask in self.flips:
            made[at % len(made)] ^= mask
        least = ETHERNET + (40 if made[12:ETHERNET] == KIND[6] else 20)
        return bytes(made[: max(len(made) - self.cut, least)]) + self.tail


def segment(ends: Tuple, shape: Shape) -> bytes:
    """Layer 4 with its checksum."""
    protocol, source, destination = ends
    payload = bytes(1 + index * 7 % 255 for index in range(shape.size))
    ports = struct.pack("!HH", source.port, destination.port)
    if protocol == UDP:
        before, after = ports + struct.pack("!H", 8 + len(payload)), payload
    else:
        options = OPTIONS[shape.options]
        numbers = struct.pack("!IIBBH", 99, 100, (20 + len(options)) // 4 << 4, shape.flags, 4096)
        before, after = ports + numbers, bytes(2) + options + payload
    length = len(before) + 2 + len(after)
    check = checksum(pseudo_header(source.address, destination.address, protocol, length), before, after)
    if protocol == UDP:
        check = (check or 0xFFFF) if shape.checksum else 0
    return before + check.to_bytes(2, "big") + after


def packet(ends: Tuple, shape: Shape, id: int) -> bytes:
    """Layer 3 and what is in it."""
    return _with_header(ends, shape, id, segment(ends, shape))


def fragments(ends: Tuple, shape: Shape, id: int, cut: int) -> tuple[bytes, bytes]:
    """A packet in two."""
    whole = segment(ends, shape)
    return _with_header(ends, shape, id, whole[:cut], (0, True)), _with_header(
        ends, shape, id, whole[cut:], (cut, False)
    )


def _with_header(ends: Tuple, shape: Shape, id: int, payload: bytes, fragment: tuple[int, bool] | None = None) -> bytes:
    """The IP header in front; of a fragment given by its offset in bytes and whether there are more."""
    addresses = (ends.source.address, ends.destination.address)
    options = IP_OPTIONS[ends.source.address.version].get(shape.ip_options, b"")
    if ends.source.address.version == 4:
        plain = ipv4_header(
            addresses,
            ends.protocol,
            len(payload),
            shape.ttl,
            shape.tos,
            id=(id % 65536).to_bytes(2, "big"),
            dont_fragment=shape.dont_fragment,
        )
        return _with_options(bytearray(plain), options, fragment) + payload
    chain = [options[at : at + size] for at, size in _headers(options)]
    if fragment:
        offset, more = fragment
        chain.append(bytes([44, 0]) + struct.pack("!HI", offset | more, id))
    first, extensions = _chain(chain, ends.protocol)
    return ipv6_header(addresses, first, len(extensions) + len(payload), shape.ttl, shape.tos) + extensions + payload


def _with_options(header: bytearray, options: bytes, fragment: tuple[int, bool] | None) -> bytes:
    header[0] += len(options) // 4
    header[2:4] = (int.from_bytes(header[2:4], "big") + len(options)).to_bytes(2, "big")
    if fragment:
        header[6:8] = (fragment[0] // 8 | fragment[1] << 13).to_bytes(2, "big")
    header[10:12] = bytes(2)
    header[10:12] = checksum(bytes(header), options).to_bytes(2, "big")
    return bytes(header) + options


def _headers(options: bytes) -> list[tuple[int, int]]:
    found, at = [], 0
    while at < len(options):
        size = 8 if options[at] == 44 else 8 + 8 * options[at + 1]
        found.append((at, size))
        at += size
    return found


def _chain(headers: list[bytes], protocol: int) -> tuple[int, bytes]:
    """Each says what comes next."""
    kinds = [*(header[0] for header in headers), protocol]
    return kinds[0], b"".join(bytes([kind]) + one[1:] for one, kind in zip(headers, kinds[1:], strict=True))


def frame(destination: bytes, source: bytes, raw: bytes) -> bytes:
    return destination + source + KIND[raw[0] >> 4] + raw
