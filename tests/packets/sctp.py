"""SCTP packets, made quickly: nothing is right about their checksums."""

from __future__ import annotations

import struct

from tests.packets.wire import word

CHUNKS = {
    "DATA": 0,
    "INIT": 1,
    "INIT_ACK": 2,
    "SACK": 3,
    "HEARTBEAT": 4,
    "HEARTBEAT_ACK": 5,
    "ABORT": 6,
    "SHUTDOWN": 7,
    "SHUTDOWN_ACK": 8,
    "ERROR": 9,
    "COOKIE_ECHO": 10,
    "COOKIE_ACK": 11,
    "ECNE": 12,
    "CWR": 13,
    "SHUTDOWN_COMPLETE": 14,
    "AUTH": 15,
    "ASCONF": 193,
    "TYPE255": 255,
}
BODIES = {"INIT": bytes(16), "INIT_ACK": bytes(16), "DATA": bytes(12), "COOKIE_ECHO": bytes(4), "SHUTDOWN": bytes(4)}
ODD = {
    "ODDCOOKIE": struct.pack("!BBH4s", CHUNKS["COOKIE_ECHO"], 0, 7, b"abc"),
    "ZEROCOOKIE": struct.pack("!BBH", CHUNKS["COOKIE_ECHO"], 0, 0),
    "NOCHUNK": b"",
    "CUTCHUNK": bytes([CHUNKS["COOKIE_ECHO"], 0]),
}


def chunk(name: str) -> bytes:
    """One of `CHUNKS`, or one that is odd."""
    body = BODIES.get(name, b"")
    return ODD[name] if name in ODD else struct.pack("!BBH", CHUNKS[name], 3, 4 + len(body)) + body


def sctp(source: str, source_port: int, destination: str, port: int, chunks: str) -> bytes:
    """An IPv4 packet with `INIT`, or several chunks: `COOKIE_ECHO+DATA`."""
    payload = struct.pack("!HHII", source_port, port, 7, 1) + b"".join(map(chunk, chunks.split("+")))
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, 132, 0, word(source), word(destination))
    return header + payload
