"""A packet in the recordings' words, without what is random."""

from __future__ import annotations

import re
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

_RANDOM = re.compile(r" seq=\d+ ack=\d+| \(\d+ of \d+ bytes\)| csum=set")
_CLIENT_PORT = re.compile(r"\b3\d{4}\b")
_ERRORS = {4: (3, 4, 5, 11, 12), 6: (1, 2, 3, 4)}


def recorded(text: str, direction: str = "<") -> set[str]:
    """The packets that a recording says came in at a node."""
    mark = f":eth0 {direction} "
    return {_plain(line.partition(mark)[2]) for line in text.splitlines() if mark in line}


def told(packet: bytes) -> str:
    """What a recording would say of it."""
    six = packet[0] >> 4 == 6
    outer = (IPv6 if six else IP)(packet)
    if six:
        start = f"IP6 hlim={outer.hlim} tc={outer.tc}"
    else:
        start = f"IP ttl={outer.ttl} tos={outer.tos} {'DF' if outer.flags.DF else '-'}"
    return _plain(f"{start} {_transport(outer)}")


def _plain(line: str) -> str:
    return _CLIENT_PORT.sub("PORT", _RANDOM.sub("", line))


def _transport(outer: Any) -> str:
    ends = f"{outer.src} > {outer.dst}"
    for layer in (TCP, UDP):
        if layer in outer and ICMP not in outer:
            part = outer[layer]
            flags = f" [{part.flags}]" if layer is TCP else ""
            return (
                f"{layer.__name__} {outer.src}:{part.sport} > {outer.dst}:{part.dport}{flags} len={len(part.payload)}"
            )
    return f"ICMP{'6' if outer.version == 6 else ''} {ends} {_message(outer.version, bytes(outer.payload))}"


def _message(version: int, data: bytes) -> str:
    text = f"type={data[0]} code={data[1]} rest={data[4:8].hex()}"
    return f"{text} {{{_quoted(data[8:])}}}" if data[0] in _ERRORS[version] else text


def _quoted(packet: bytes) -> str:
    six = packet[0] >> 4 == 6
    inner = (IPv6 if six else IP)(packet)
    ports = int.from_bytes(packet[40 if six else inner.ihl * 4 :][:4])
    text = f"sport={ports >> 16} dport={ports & 0xFFFF}"
    if six:
        return f"IP6 {inner.src} > {inner.dst} next={inner.nh} {text} hlim={inner.hlim}"
    return f"IP {inner.src} > {inner.dst} proto={inner.proto} {text} ttl={inner.ttl}"
