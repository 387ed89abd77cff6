"""What of a packet is random, so that two runs can be compared; and which connection a recorded packet belongs to."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from tests.golden.network import Arrival

_DIRECTOR = {ip_address("10.20.0.2"), ip_address("fd00:20::2")}
"""Where tunnels begin."""
_GUE_PORT = 6080


def checksum(data: bytes | bytearray) -> int:
    """The internet checksum; 0 over what includes its own right one."""
    data = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def comparable(arrivals: Iterable[Arrival], sent: Sequence[bytes]) -> list[str]:
    """Without what is random: ids and flow labels that do not come from what was sent, and the source port of GUE.

    Fragments of one datagram have one id all the same.
    """
    masks = _Masks(sent)
    return [f"{end} {masks.applied(packet).hex()}" for end, packet in arrivals]


def described(compared: Iterable[str]) -> str:
    """For people."""
    return "\n".join(_described(*one.split()) for one in compared) or "(nothing)"


def _described(end: str, text: str) -> str:
    packet = bytes.fromhex(text)
    return f"{end}: {(IPv6 if packet[0] >> 4 == 6 else IP)(packet)!r}"


class _Masks:
    def __init__(self, sent: Sequence[bytes]) -> None:
        self._known = {0, *(_id(packet) for packet in sent)}
        self._fresh: dict[int, int] = {}

    def applied(self, packet: bytes) -> bytes:
        masked = bytearray(packet)
        if packet[0] >> 4 == 6:
            return bytes(self._ipv6(masked))
        return bytes(self._ipv4(masked[: struct.unpack_from("!H", packet, 2)[0]]))

    def _ipv4(self, packet: bytearray) -> bytearray:
        header = (packet[0] & 0xF) * 4
        right = checksum(packet[:header]) == 0
        fragment = struct.unpack_from("!H", packet, 6)[0]
        tunnel = ip_address(bytes(packet[12:16])) in _DIRECTOR
        if _id(packet) not in self._known or (tunnel and not fragment & 0x4000):
            struct.pack_into("!H", packet, 4, self._number(_id(packet)))
            struct.pack_into("!H", packet, 10, right)
        if tunnel and packet[9] == socket.IPPROTO_UDP and not fragment & 0x1FFF:
            pseudo = packet[12:20] + struct.pack("!HH", socket.IPPROTO_UDP, len(packet) - header)
            _mask_gue(packet, header, bytes(pseudo), whole=not fragment & 0x2000)
        return packet

    def _ipv6(self, packet: bytearray) -> bytearray:
        if _id(packet) not in self._known:
            struct.pack_into("!I", packet, 0, struct.unpack_from("!I", packet)[0] & 0xFFF00000)
        if packet[6] == socket.IPPROTO_FRAGMENT:
            number = struct.unpack_from("!I", packet, 44)[0]
            if number not in self._known:
                struct.pack_into("!I", packet, 44, self._number(number))
        elif packet[6] == socket.IPPROTO_UDP and ip_address(bytes(packet[8:24])) in _DIRECTOR:
            pseudo = packet[8:40] + struct.pack("!II", len(packet) - 40, socket.IPPROTO_UDP)
            _mask_gue(packet, 40, bytes(pseudo), whole=True)
        return packet

    def _number(self, id: int) -> int:
        return self._fresh.setdefault(id, 0xF000 + len(self._fresh))


def _id(packet: bytes | bytearray) -> int:
    """IPv4's id, IPv6's flow label."""
    if packet[0] >> 4 == 6:
        return int(struct.unpack_from("!I", packet)[0] & 0xFFFFF)
    return int(struct.unpack_from("!H", packet, 4)[0])


def _mask_gue(packet: bytearray, at: int, pseudo: bytes, *, whole: bool) -> None:
    """The port is of a hash with a random seed, and the checksum covers it."""
    if struct.unpack_from("!H", packet, at + 2)[0] != _GUE_PORT:
        return
    there = packet[at + 6 : at + 8] != b"\0\0"
    right = there and (not whole or checksum(pseudo + packet[at:]) == 0)
    packet[at : at + 2] = b"\0\0"
    packet[at + 6 : at + 8] = struct.pack("!H", there + right)
