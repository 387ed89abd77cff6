"""Frames changed at random: they pass untouched, are dropped by name, or leave rewritten in the right places only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IPOption_EOL, IPOption_NOP

from pylvs.director.ebpf import abi
from pylvs.model import ForwardingMethod
from tests.packets.frames import answer, datagram, reply, request
from tests.packets.plane import HELD, PASS, SENT, Outcome, Plane
from tests.packets.slots import Slots
from tests.packets.wire import DIRECTOR_MAC, MACS, RIP1, RIP2, ROUTER_MAC, VIP, from_client, from_server, word

pytestmark = pytest.mark.root

NAMES = {reason.name.lower() for reason in abi.DropReason}
OPENINGS = [bytes(from_client(one)) for one in (request(), request(82), datagram(), datagram(54))]
OPTIONS = {"options": [IPOption_NOP()] * 3 + [IPOption_EOL()]}
VALID = [
    *OPENINGS,
    *(bytes(from_client(one)) for one in (request(flags="A", size=11), request(82, "PA", size=20))),
    *(bytes(from_client(one)) for one in (request(flags="A", ip=OPTIONS), datagram(chksum=0), datagram(54, size=0))),
    *(bytes(from_server(one)) for one in (reply(), reply(size=31, ip=OPTIONS), answer(), answer(chksum=0))),
]
WAYS = {bytes.fromhex((to + DIRECTOR_MAC).replace(":", "")) for to in (MACS[RIP1], MACS[RIP2], ROUTER_MAC)}
ETHERNET, TTL, IP_CHECK, SOURCE, DESTINATION = 14, 22, slice(24, 26), slice(26, 30), slice(30, 34)

change = st.tuples(st.integers(0, 90), st.integers(0, 255))
frames = st.builds(
    lambda frame, changes, cut, tail: mutated(frame, changes, cut) + tail,
    st.sampled_from(VALID),
    st.lists(change, max_size=4),
    st.one_of(st.just(0), st.integers(0, 60)),
    st.binary(max_size=20),
)


def mutated(frame: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    made = bytearray(frame)
    for at, value in changes:
        made[at % len(made)] = value
    return bytes(made[: max(len(made) - cut, 34)])


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """A service of each kind."""
    loaded.reset()
    loaded.serve(f"tcp {VIP}:80", f"{RIP1}:8080")
    loaded.serve(f"tcp {VIP}:82", f"{RIP1}:82", method=ForwardingMethod.DR)
    loaded.serve(f"udp {VIP}:53", f"{RIP1}:5353")
    loaded.serve(f"udp {VIP}:54", f"{RIP2}:54", method=ForwardingMethod.DR)
    yield loaded
    loaded.reset()


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_random_frames(hook: str, standing: Plane) -> None:
    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(frames)
    def run(frame: bytes) -> None:
        standing.forget()
        standing.knows_the_way()
        for opening in OPENINGS:
            assert standing.run("tc", opening).verdict == SENT
        outcome = standing.run(hook, frame)
        judge(frame, outcome)
        Slots(standing).check()

    run()


def judge(frame: bytes, outcome: Outcome) -> None:
    if outcome.verdict == PASS:
        assert outcome.frame == frame
    elif outcome.verdict != SENT:
        assert outcome.verdict in NAMES | {HELD}
    else:
        judge_sent(frame, outcome.frame, outcome.hook)


def judge_sent(before: bytes, after: bytes, hook: str) -> None:
    """What of the frame may differ is known from the frame alone."""
    assert len(after) == len(before)
    l4 = ETHERNET + (before[14] & 0xF) * 4
    udp = before[23] == 17
    l4_check = l4 + (6 if udp else 16)
    port = int.from_bytes(before[l4 + 2 : l4 + 4], "big")
    rebuilt = bytearray(before)
    if hook == "xdp" or after[:12] != before[:12]:  # by the short way, or else tc leaves the MACs to the kernel
        assert after[:12] in WAYS
        rebuilt[:12] = after[:12]
    rebuilt[TTL] -= 1
    rebuilt[IP_CHECK] = after[IP_CHECK]
    if before[SOURCE] == word(RIP1):
        rebuilt[SOURCE] = word(VIP)
        rebuilt[l4 : l4 + 2] = {8080: 80, 5353: 53}[int.from_bytes(before[l4 : l4 + 2], "big")].to_bytes(2, "big")
        nat = True
    else:
        assert before[DESTINATION] == word(VIP)
        nat = port in {80, 53}
        if nat:
            rebuilt[DESTINATION] = word(RIP1)
            rebuilt[l4 + 2 : l4 + 4] = {80: 8080, 53: 5353}[port].to_bytes(2, "big")
    if nat:
        rebuilt[l4_check : l4_check + 2] = after[l4_check : l4_check + 2]
    assert bytes(rebuilt) == after
    judge_checksums(before, after, l4, l4_check, udp=udp)


def judge_checksums(before: bytes, after: bytes, l4: int, l4_check: int, *, udp: bool) -> None:
    """They are off by exactly as much as they were: right stays right, wrong stays wrong, and none stays none."""
    assert error(before[ETHERNET:l4]) == error(after[ETHERNET:l4])
    none = b"\0\0"
    if udp and before[l4_check : l4_check + 2] == none:
        assert after[l4_check : l4_check + 2] == none
        return
    end = ETHERNET + int.from_bytes(before[16:18], "big")
    assert error(l4_sum(before, l4, end)) == error(l4_sum(after, l4, end))


def l4_sum(frame: bytes, l4: int, end: int) -> bytes:
    return frame[26:34] + bytes([0, frame[23]]) + (end - l4).to_bytes(2, "big") + frame[l4:end]


def error(data: bytes) -> int:
    """The ones' complement sum, which is 0 over what has a right checksum; 0 and 0xffff are one number."""
    padded = data + bytes(len(data) % 2)
    return sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2)) % 0xFFFF


# -- the edges of ones' complement arithmetic


EDGES = (0x0000, 0x0001, 0x00FF, 0x0100, 0x0101, 0xFEFE, 0xFEFF, 0xFF00, 0xFF01, 0xFFFD, 0xFFFE)


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("name", ["NAT", "DR", "a reply"])
def test_ip_checksums_at_the_edge(name: str, hook: str, standing: Plane) -> None:
    """For each checksum a header that has it: the one that leaves is right, and never 0xffff."""
    standing.forget()
    standing.knows_the_way()
    for opening in OPENINGS:
        standing.run("tc", opening)
    packet = {"NAT": request(flags="A"), "DR": request(82, "A"), "a reply": reply()}[name]
    frame = bytearray(bytes(from_server(packet) if name == "a reply" else from_client(packet)))
    for check in (*EDGES, *range(0, 0xFFFF, 331)):
        with_checksum(frame, check)
        after = standing.run(hook, bytes(frame)).frame
        judge_sent(bytes(frame), after, hook)
        assert error(after[14:34]) == 0
        assert after[IP_CHECK] != b"\xff\xff"


def with_checksum(frame: bytearray, check: int) -> None:
    """Choose the identification so that the right checksum is `check`."""
    frame[IP_CHECK] = check.to_bytes(2, "big")
    frame[18:20] = bytes(2)
    frame[18:20] = (-error(bytes(frame[14:34])) % 0xFFFF).to_bytes(2, "big")
    assert error(bytes(frame[14:34])) == 0


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_l4_checksums_at_the_edge(protocol: str, hook: str, standing: Plane) -> None:
    """A payload for each checksum that leaves; UDP's 0 goes on the wire as 0xffff, because 0 means none."""
    standing.forget()
    standing.knows_the_way()
    for opening in OPENINGS:
        standing.run("tc", opening)
    at = 50 if protocol == "TCP" else 40
    base = request(flags="A", size=2, chksum=0) if protocol == "TCP" else datagram(size=2, chksum=0)
    rewritten = request(ip={"dst": RIP1}, dport=8080, flags="A", size=2, chksum=0)
    if protocol == "UDP":
        rewritten = datagram(ip={"dst": RIP1}, dport=5353, size=2, chksum=0)
    for check in (*EDGES, 0xFFFF, *range(0, 0xFFFF, 997)):
        if (check == 0xFFFF) == (protocol == "TCP") and check in {0, 0xFFFF}:
            continue
        frame, wanted = bytearray(bytes(from_client(base))), bytearray(bytes(from_client(rewritten)))
        wanted[at : at + 2] = check.to_bytes(2, "big")
        wanted[-2:] = bytes(2)
        payload = (-error(l4_sum(bytes(wanted), 34, len(wanted))) % 0xFFFF).to_bytes(2, "big")
        wanted[-2:] = frame[-2:] = payload
        right = (-error(l4_sum(bytes(frame), 34, len(frame)))) % 0xFFFF
        frame[at : at + 2] = (right or (0xFFFF if protocol == "UDP" else 0)).to_bytes(2, "big")
        after = standing.run(hook, bytes(frame)).frame
        assert after[34:] == bytes(wanted[34:]), f"{check:#06x}"
