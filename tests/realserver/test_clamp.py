"""What the VIP's SYNs offer: rows of frames that go out."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, IPOption_NOP
from scapy.layers.inet6 import IPv6

from tests.realserver.frames import CIP, CIP6, RIP, VIP, VIP6, frame
from tests.realserver.plane import LEFT, MSS4, MSS6, Outcome, Plane

pytestmark = pytest.mark.root


def syn(mss: int | None, *before: Any, family: int = 4, flags: str = "SA", source: str = "", **ip: Any) -> bytes:
    """A SYN of the VIP, with options before the MSS."""
    options = [*before, *([("MSS", mss)] if mss is not None else []), ("SAckOK", b""), ("WScale", 7)]
    head = IP(src=source or VIP, dst=CIP, **ip) if family == 4 else IPv6(src=source or VIP6, dst=CIP6, **ip)
    return frame(head / TCP(sport=80, dport=40000, flags=flags, seq=7, ack=8, options=options))


CLAMPED = {
    "SYN-ACK": (syn(1460), syn(MSS4)),
    "SYN": (syn(1460, flags="S"), syn(MSS4, flags="S")),
    "SYN with ECN": (syn(1460, flags="SEC"), syn(MSS4, flags="SEC")),
    "one more": (syn(MSS4 + 1), syn(MSS4)),
    "the most there is": (syn(65535), syn(MSS4)),
    "behind others": (syn(1460, ("Timestamp", (1, 2))), syn(MSS4, ("Timestamp", (1, 2)))),
    "at an odd place": (syn(1460, ("NOP", None)), syn(MSS4, ("NOP", None))),
    "after IP options": (syn(1460, options=[IPOption_NOP()] * 8), syn(MSS4, options=[IPOption_NOP()] * 8)),
    "IPv6": (syn(1440, family=6), syn(MSS6, family=6)),
    "IPv6, at an odd place": (syn(1440, ("NOP", None), family=6), syn(MSS6, ("NOP", None), family=6)),
}


@pytest.mark.parametrize(("sent", "expected"), CLAMPED.values(), ids=CLAMPED)
def test_clamped(plane: Plane, sent: bytes, expected: bytes) -> None:
    assert plane.send(sent) == Outcome(LEFT, "clamped", expected)


def _raw(options: bytes) -> bytes:
    """A SYN-ACK with such bytes for options."""
    made = bytearray(bytes(TCP(sport=80, dport=40000, flags="SA")))
    made[12] = (20 + len(options)) // 4 << 4
    return frame(IP(src=VIP, dst=CIP, proto=6) / (bytes(made) + options))


LEAVES = {
    "small enough": syn(MSS4),
    "smaller": syn(536),
    "IPv6, small enough": syn(MSS6, family=6),
    "no MSS": syn(None),
    "no SYN": syn(1460, flags="A"),
    "not of the VIP": syn(1460, source=RIP),
    "a later fragment": syn(1460, frag=1),
    "nothing but ends": _raw(bytes(8)),
    "behind the end": _raw(b"\x00\x02\x04\x05\xb4\0\0\0"),
    "an option without a length": _raw(b"\x08\x00\x02\x04\x05\xb4\0\0"),
    "an option of length one": _raw(b"\x08\x01\x02\x04\x05\xb4\0\0"),
    "an option longer than all": _raw(b"\x08\xff\x02\x04\x05\xb4\0\0"),
    "an MSS of another length": _raw(b"\x02\x03\x05\xb4\0\0\0\0"),
    "an MSS that is cut": _raw(b"\x01\x01\x01\x01\x01\x02\x04\x05"),
    "cut within TCP": syn(1460)[:50],
    "UDP": frame(IP(src=VIP, dst=CIP, proto=17) / bytes(TCP(flags="SA", options=[("MSS", 1460)]))),
}


@pytest.mark.parametrize("sent", LEAVES.values(), ids=LEAVES)
def test_left_as_it_is(plane: Plane, sent: bytes) -> None:
    assert plane.send(sent) == Outcome(LEFT, "", sent)
