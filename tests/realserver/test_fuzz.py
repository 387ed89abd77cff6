"""Frames of chance, each a tunnel's with something changed: whatever comes out is what a plain reading of it says."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from tests.realserver.frames import CIP, CIP6, TUNNELS, VIP, VIP6, frame
from tests.realserver.plane import DROPPED, LEFT, TAKEN, Plane

pytestmark = pytest.mark.root

_INNER = [
    bytes(IP(src=CIP, dst=VIP) / TCP(sport=40000, dport=80) / Raw(bytes(range(70)))),
    bytes(IPv6(src=CIP6, dst=VIP6) / TCP(sport=40000, dport=80)),
    bytes(IP(src=CIP, dst=VIP) / UDP(sport=40000, dport=80) / Raw(b"odd")),
]
_ETHERNET = 14
FRAMES = [frame(tunnel(inner, family)) for tunnel in TUNNELS.values() for inner in _INNER for family in (4, 6)]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Up to three bytes changed, some cut off or added."""
    made = bytearray(draw(st.sampled_from(FRAMES)))
    for _ in range(draw(st.integers(0, 3))):
        made[draw(st.integers(_ETHERNET, min(len(made) - 1, 120)))] = draw(st.integers(0, 255))
    cut = draw(st.one_of(st.just(0), st.integers(0, len(made) - 60)))
    return bytes(made[: len(made) - cut]) + bytes(draw(st.sampled_from((0, 0, 1, 9, 46))))


@given(mutants())
@settings(max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_frame(plane: Plane, came: bytes) -> None:
    got = plane.receive(came)
    if got.action == LEFT:
        assert got.frame == came
        assert got.counted in {"", "left_stranger", "left_not_vip", "left_fragment", "left_header"}
    elif got.action == DROPPED:
        assert got.counted.startswith("drop_")
    else:
        assert got.action == TAKEN
        _check(came, got.frame, remcsum=got.counted == "gue")


def _check(came: bytes, frame: bytes, *, remcsum: bool) -> None:
    """What was taken is the end of what came, whole, and for the VIP; a few bytes of it may have been set."""
    inner = frame[_ETHERNET:]
    was = came[len(came) - len(inner) :]
    version = inner[0] >> 4
    assert frame[12:14] == {4: b"\x08\x00", 6: b"\x86\xdd"}[version]
    length = int.from_bytes(inner[2:4] if version == 4 else inner[4:6], "big") + (40 if version == 6 else 0)
    assert length <= len(inner)
    assert IP(inner).dst == VIP if version == 4 else IPv6(inner).dst == VIP6
    size = (inner[0] & 15) * 4 if version == 4 else 40
    may_change = {1, 10, 11} | ({size + 16, size + 17, size + 6, size + 7} if remcsum else set())
    assert [at for at, byte in enumerate(inner) if byte != was[at] and at not in may_change] == []
