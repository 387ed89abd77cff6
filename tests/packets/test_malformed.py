"""Frames that are cut off, padded or lie about themselves: they pass, or are dropped by name, and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scapy.layers.inet import IPOption_LSRR, IPOption_SSRR

from pylvs.model import Counters, ForwardingMethod
from tests.packets.frames import datagram, reply, request
from tests.packets.plane import PASS, SENT, Outcome, Plane
from tests.packets.wire import CIP, RIP1, VIP, from_client, from_server

pytestmark = pytest.mark.root

ETHERNET, IP_START, TCP_START = 14, 14, 34
HOOKS = ("tc", "xdp")
SHORTEST = {"tc": 34, "xdp": 14}
"""A test run takes no shorter frames."""


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """One service of each kind."""
    loaded.reset()
    loaded.serve(f"tcp {VIP}:80", f"{RIP1}:8080")
    loaded.serve(f"tcp {VIP}:82", f"{RIP1}:82", method=ForwardingMethod.DR)
    loaded.serve(f"udp {VIP}:53", f"{RIP1}:5353")
    yield loaded
    loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    """All ways known, and a connection of each kind from port 40000."""
    standing.forget()
    standing.knows_the_way()
    for opening in (request(), request(82), datagram()):
        assert standing.run("tc", bytes(from_client(opening))).verdict == SENT
    return standing


def changed(frame: bytes, at: int, value: bytes) -> bytes:
    return frame[:at] + value + frame[at + len(value) :]


FRAMES: dict[str, Callable[[], Any]] = {
    "a SYN": lambda: from_client(request(sport=5000, size=30)),
    "an ACK": lambda: from_client(request(flags="A", size=30, options=[("MSS", 1460), ("Timestamp", (1, 2))])),
    "DR": lambda: from_client(request(82, "A", size=30)),
    "a datagram": lambda: from_client(datagram(size=30)),
    "a new datagram": lambda: from_client(datagram(size=30, sport=5000)),
    "a reply": lambda: from_server(reply(size=30)),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", FRAMES)
def test_cut_off_anywhere(name: str, hook: str, director: Plane) -> None:
    """The kernel drops what is shorter than it says; so it is left to the kernel."""
    whole = bytes(FRAMES[name]())
    before = director.state()
    for length in range(SHORTEST[hook], len(whole)):
        outcome = run_alone(director, hook, whole[:length])
        assert (outcome.verdict, outcome.frame) == (PASS, whole[:length]), f"{length} of {len(whole)} bytes"
    assert director.state() == before
    assert director.run(hook, whole).verdict == SENT


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", FRAMES)
def test_cut_off_in_the_headers(name: str, hook: str, director: Plane) -> None:
    whole = bytes(FRAMES[name]())
    before = director.state()
    for length in range(SHORTEST[hook], TCP_START + (8 if whole[23] == 17 else 20)):
        outcome = run_alone(director, hook, whole[:length])
        assert (outcome.verdict, outcome.frame) == (PASS, whole[:length]), f"{length} of {len(whole)} bytes"
    assert director.state() == before


def run_alone(director: Plane, hook: str, frame: bytes) -> Outcome:
    return director.tc(frame) if hook == "tc" else director.xdp(frame)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", FRAMES)
def test_padding_is_no_payload(name: str, hook: str, director: Plane) -> None:
    """Ethernet pads short frames: the padding goes on, and isn't counted."""
    whole = bytes(FRAMES[name]())
    plain, padded = director.run(hook, whole), None
    director.director.zero()
    padded = director.run(hook, whole + bytes(18))
    assert padded.verdict == plain.verdict == SENT
    assert padded.frame[IP_START:-18] == plain.frame[IP_START:]
    counted = [one.counters for one in director.director.services() if one.counters != Counters()]
    assert [one.in_bytes + one.out_bytes for one in counted] == [len(whole) - ETHERNET]


LIES = {
    "IP version 6": (IP_START, b"\x65"),
    "IP version 0": (IP_START, b"\x05"),
    "an IP header of 0 words": (IP_START, b"\x40"),
    "an IP header of 4 words": (IP_START, b"\x44"),
    "an IP header past the end": (IP_START, b"\x4f"),
    "a total length of 0": (IP_START + 2, b"\x00\x00"),
    "a total length within the IP header": (IP_START + 2, b"\x00\x13"),
    "a total length that ends with the IP header": (IP_START + 2, b"\x00\x14"),
    "a total length within the TCP header": (IP_START + 2, b"\x00\x27"),
    "a TCP header of 0 words": (TCP_START + 12, b"\x00"),
    "a TCP header of 4 words": (TCP_START + 12, b"\x40"),
    "TCP options past the end": (TCP_START + 12, b"\x60"),
    "TCP options far past the end": (TCP_START + 12, b"\xf0"),
}
LONG = {
    "a total length past the end": (IP_START + 2, b"\x00\x29"),
    "a total length far past the end": (IP_START + 2, b"\xff\xff"),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", [*LIES, *LONG])
def test_lies(name: str, hook: str, director: Plane) -> None:
    at, value = (LIES | LONG)[name]
    before = director.state()
    for honest in (from_client(request(sport=5000)), from_client(request(flags="A")), from_server(reply())):
        frame = changed(bytes(honest), at, value)
        assert director.run(hook, frame).verdict == PASS
    assert director.state() == before


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("length", [0, 7, 20, 27])
def test_a_datagram_shorter_than_its_header(length: int, hook: str, director: Plane) -> None:
    frame = changed(bytes(from_client(datagram(size=30))), IP_START + 2, length.to_bytes(2, "big"))
    before = director.state()
    assert director.run(hook, frame).verdict == PASS
    assert director.state() == before


@pytest.mark.parametrize("hook", HOOKS)
def test_a_wrong_ip_checksum_is_not_mended(hook: str, director: Plane) -> None:
    """It is left to the kernel, or stays wrong, so that the receiver sees it."""
    frame = bytes(from_client(request(flags="A")))
    right = director.run(hook, frame).frame
    wrong = director.run(hook, changed(frame, IP_START + 10, bytes([frame[IP_START + 10] ^ 0x40])))
    if wrong.verdict == SENT:
        assert wrong.frame[IP_START + 10 : IP_START + 12] != right[IP_START + 10 : IP_START + 12]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_wrong_tcp_checksum_stays_wrong(hook: str, director: Plane) -> None:
    frame = bytes(from_client(request(flags="A")))
    right = director.run(hook, frame).frame
    at = TCP_START + 16
    wrong = director.run(hook, changed(frame, at, bytes([frame[at] ^ 0x40])))
    assert wrong.verdict == SENT
    assert wrong.frame[at : at + 2] != right[at : at + 2]
    assert wrong.frame[IP_START:at] + wrong.frame[at + 2 :] == right[IP_START:at] + right[at + 2 :]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("option", [IPOption_LSRR, IPOption_SSRR])
def test_a_source_route_is_left_to_the_kernel(option: Any, hook: str, director: Plane) -> None:
    packet = request(flags="A", ip={"options": [option(routers=[CIP, RIP1])]})
    assert director.run(hook, bytes(from_client(packet))).verdict == PASS
