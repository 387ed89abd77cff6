"""How each hook finds the way out, what it remembers of it, and what it leaves to the other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pylvs.director.ebpf import abi, libbpf
from pylvs.model import Counters, ForwardingMethod
from tests.packets.frames import request
from tests.packets.plane import SENT, Plane, next_hop
from tests.packets.slots import Slots
from tests.packets.wire import (
    CIP,
    CIP2,
    DIRECTOR_MAC,
    MACS,
    NARROW,
    NARROW_MTU,
    NOWHERE,
    RIP1,
    RIP3,
    ROUTER_MAC,
    VIP,
    from_client,
    tcp,
    word,
)

pytestmark = pytest.mark.root

WEB = f"tcp {VIP}:80"
DR = ForwardingMethod.DR
SYN = tcp(word(CIP), 5000, word(VIP), 80)
TC_REDIRECT, XDP_REDIRECT = 7, 4


def hop(plane: Plane) -> Any:
    return plane.table.servers[0].next_hop


def test_xdp_learns_the_way_from_tc_for_a_second(plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=DR)
    assert plane.run("xdp", SYN).hook == "tc"
    assert bytes(hop(plane)) == bytes(next_hop(plane, RIP1, answered=False))
    assert plane.run("xdp", SYN).hook == "xdp"
    plane.advance(abi.TICKS_A_SECOND)
    assert plane.run("xdp", SYN).hook == "tc"
    plane.advance(abi.TICKS_A_SECOND - 1)
    assert plane.run("xdp", SYN).hook == "xdp"
    assert plane.snapshot(WEB).counters == Counters(1, 4, 0, 160, 0), "what goes up to tc is counted once"


def test_a_veth_is_left_by_redirect(plane: Plane) -> None:
    """What XDP_TX sends there waits for the peer's next packet."""
    plane.serve(WEB, f"{RIP1}:80", method=DR)
    plane.knows_the_way()
    assert plane.xdp(SYN).code == XDP_REDIRECT


def test_interfaces_that_share_a_place_in_the_map_are_not_confused(plane: Plane) -> None:
    """It is by the low bits of the index: the one that isn't there has tc."""
    plane.serve(WEB, f"{RIP1}:80", method=DR)
    plane.knows_the_way()
    map_fd, key = plane.table.fd("interfaces"), (plane.indexes["eth0"] % abi.INTERFACES).to_bytes(4, "little")
    entry = libbpf.lookup(map_fd, key, 12)
    assert entry
    libbpf.update(map_fd, key, (plane.indexes["eth0"] + abi.INTERFACES).to_bytes(4, "little") + entry[4:])
    try:
        assert plane.run("xdp", SYN).hook == "tc"
    finally:
        libbpf.update(map_fd, key, entry)


def test_a_flow_may_change_hooks(plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80")
    for hook in ("xdp", "tc", "xdp", "tc"):
        assert plane.run(hook, tcp(word(CIP2), 5000, word(VIP), 80)).verdict == SENT
        plane.knows_the_way()
    assert len(plane.connections()) == 1
    Slots(plane).check()


ACK = tcp(word(CIP), 5000, word(VIP), 80, flags="A")
ANSWER = tcp(word(RIP1), 80, word(CIP), 5000, flags="A")


def macs(to: str) -> bytes:
    return bytes.fromhex((to + DIRECTOR_MAC).replace(":", ""))


@pytest.mark.parametrize(("frame", "to"), [(ACK, MACS[RIP1]), (ANSWER, ROUTER_MAC)])
def test_tc_writes_the_macs_of_a_known_way_for_a_second(frame: bytes, to: str, plane: Plane) -> None:
    """Then it goes through the kernel's neighbour table again, which writes them itself, after us."""
    plane.serve(WEB, f"{RIP1}:80")
    plane.forgets_the_way()
    assert plane.tc(SYN).verdict == SENT
    plane.forgets_the_way()
    for _ in range(2):
        assert plane.tc(frame).frame[:12] == frame[:12]
        assert plane.tc(frame).frame[:12] == macs(to)
        plane.advance(abi.TICKS_A_SECOND - 1)
        assert plane.tc(frame).frame[:12] == macs(to)
        plane.advance(1)


def test_an_answer_does_not_go_by_another_clients_way(plane: Plane) -> None:
    """All that a CPU remembers: there are more clients than places."""
    plane.serve(WEB, f"{RIP1}:80")
    plane.forgets_the_way()
    clients = [word(CIP)[:3] + bytes([last]) for last in range(1, 251)]
    with route(f"{CIP.rpartition('.')[0]}.128/25 via {RIP3}"):
        for client in clients:
            assert plane.tc(tcp(client, 5000, word(VIP), 80)).verdict == SENT
        for _ in range(2):
            sent = [plane.tc(tcp(word(RIP1), 80, client, 5000, flags="A")).frame[:6] for client in clients]
        assert sent[:127] == [macs(ROUTER_MAC)[:6]] * 127
        assert sent[127:] == [macs(MACS[RIP3])[:6]] * 123


def test_what_xdp_was_told_of_a_client_is_not_enough_for_tc(plane: Plane) -> None:
    """What goes up is to make the kernel probe the client's neighbour."""
    plane.serve(WEB, f"{RIP1}:80")
    plane.knows_the_way()
    assert plane.run("xdp", SYN).hook == "xdp"
    plane.forgets_the_way()
    plane.knows_the_way()
    assert plane.run("xdp", ANSWER).hook == "xdp"
    assert plane.run("xdp", ANSWER).frame[:12] == macs(ROUTER_MAC)
    assert plane.tc(ANSWER).frame[:12] == ANSWER[:12]


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_an_unknown_neighbour_is_the_kernels_to_find(hook: str, plane: Plane) -> None:
    plane.serve(WEB, "192.168.0.77:80")
    for _ in range(2):
        outcome = plane.run(hook, SYN)
        assert (outcome.verdict, outcome.hook) == (SENT, "tc")
    assert hop(plane).good_until == 0


def test_a_server_behind_a_gateway(plane: Plane) -> None:
    plane.serve(WEB, "203.0.113.9:80")
    with route(f"203.0.113.0/24 via {RIP3}"):
        assert plane.run("xdp", SYN).verdict == SENT
        assert bytes(hop(plane)) == bytes(next_hop(plane, RIP3, answered=False))
        outcome = plane.run("xdp", SYN)
        assert (outcome.verdict, outcome.hook) == (SENT, "xdp")
        assert outcome.frame[30:34] == word("203.0.113.9")


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_no_route_to_the_server(hook: str, plane: Plane) -> None:
    plane.serve(WEB, f"{NOWHERE}:80")
    assert plane.run(hook, SYN).verdict == "no_route"
    assert plane.snapshot(WEB).counters.in_packets == 1


def test_where_the_kernel_does_not_forward(plane: Plane) -> None:
    """A DR director needs no ip_forward: the server's interface was noted when it was added."""
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    switch.write_text("0")
    try:
        plane.serve(WEB, f"{RIP1}:80", method=DR)
        for _ in range(2):
            outcome = plane.run("xdp", SYN)
            assert (outcome.verdict, outcome.hook) == (SENT, "tc")
    finally:
        switch.write_text("1")


def test_what_is_to_be_segmented_is_not_too_big(plane: Plane) -> None:
    """The first packet tells the MTU of the way, though it is larger itself; the known way lets others pass too."""
    plane.serve(WEB, f"{NARROW}:80")
    assert plane.tc(SYN).verdict == SENT
    hop(plane).good_until = plane.settings.now
    large = bytes(from_client(request(flags="A", sport=5000, size=1400, ip={"flags": "DF"})))
    assert plane.tc(large, segment=NARROW_MTU - 40).code == TC_REDIRECT
    assert hop(plane).mtu == NARROW_MTU
    assert plane.tc(large, segment=NARROW_MTU - 40).code == TC_REDIRECT
    assert plane.tc(large).verdict == "too_big"
    hop(plane).good_until = plane.settings.now
    assert plane.tc(large).verdict == "too_big"


@contextmanager
def route(text: str) -> Iterator[None]:
    subprocess.run(["ip", "route", "add", *text.split()], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "del", *text.split()], check=True)
