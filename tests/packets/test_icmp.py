"""ICMP errors of others follow the connection that they are about, and all else of ICMP passes; the director's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_EOL, IPOption_NOP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pylvs.director.ebpf import abi
from pylvs.model import ForwardingMethod
from tests.packets.errors import error, told, with_id_of
from tests.packets.frames import CPORT, datagram, payload, request
from tests.packets.plane import PASS, SENT, Plane
from tests.packets.sctp import sctp
from tests.packets.test_fuzz import error as error_of
from tests.packets.wire import (
    CIP,
    CIP2,
    DIP,
    DIRECTOR_MAC1,
    NARROW,
    NARROW_MTU,
    NOWHERE,
    RIP1,
    RIP3,
    RIP4,
    VIP,
    from_client,
    from_server,
    to_client,
    to_server,
)

pytestmark = pytest.mark.root

NAT, DR = ForwardingMethod.NAT, ForwardingMethod.DR
SERVICES = (
    (f"tcp {VIP}:80", f"{RIP1}:8080", NAT),
    (f"tcp {VIP}:82", f"{RIP1}:82", DR),
    (f"tcp {VIP}:83", f"{RIP3}:83", NAT),
    (f"tcp {VIP}:84", f"{RIP3}:84", DR),
    (f"tcp {VIP}:85", f"{RIP4}:85", NAT),
    (f"tcp {VIP}:87", f"{NARROW}:87", NAT),
    (f"tcp {VIP}:90", f"{RIP1}:90 0", NAT),
    (f"udp {VIP}:53", f"{RIP1}:5353", NAT),
    (f"udp {VIP}:54", f"{RIP1}:54", DR),
    (f"sctp {VIP}:80", f"{RIP1}:9090", NAT),
    (f"sctp {VIP}:82", f"{RIP1}:82", DR),
)
ROUTER = "203.0.113.77"
KINDS = ((3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (4, 0), (11, 0), (11, 1))
LENGTHS = {
    "the ports only": 24,
    "8 bytes of layer 4": 28,
    "a checksum": 38,
    "a whole header": 40,
    "an odd part": 61,
    "all of it": 140,
}
SCTP_LENGTHS = (24, 28, 32, 48)


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """The services above stand for the whole module."""
    loaded.reset()
    for id, server, method in SERVICES:
        loaded.serve(id, server, method=method)
    yield loaded
    loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    """With one connection to each service."""
    standing.forget()
    for frame in OPENINGS:
        assert standing.run("tc", bytes(from_client(frame))).verdict == SENT
    standing.knows_the_way()
    return standing


OPENINGS = (
    *(request(), request(82), request(83), request(84), request(85), request(87), datagram(), datagram(54)),
    *(IP(sctp(CIP, CPORT, VIP, port, "INIT")) for port in (80, 82)),
)


def tcp(source: str, port: int, destination: str, dport: int, *, size: int = 100, **ip: Any) -> Any:
    """What an error quotes."""
    packet = IP(**{"src": source, "dst": destination, "ttl": 60, "id": 5, "flags": "DF", **ip})
    return packet / TCP(sport=port, dport=dport, flags="A", seq=7, ack=9) / Raw(payload(size))


def udp(source: str, port: int, destination: str, dport: int, *, size: int = 100, **fields: Any) -> Any:
    packet = IP(src=source, dst=destination, ttl=60, id=5, flags="DF")
    return packet / UDP(sport=port, dport=dport, **fields) / Raw(payload(size))


def chunk(source: str, port: int, destination: str, dport: int) -> Any:
    """SCTP's, whose checksum stays as it is where ports change: it would be over more than is quoted."""
    packet = IP(sctp(source, port, destination, dport, "DATA"))
    packet.chksum = None
    return packet


def about(
    quoted: Any, kind: tuple[int, int] = (3, 4), length: int = 28, *, source: str = ROUTER, ttl: int = 50, **ip: Any
) -> Any:
    """An error about a packet, to its sender, of which it quotes so many bytes."""
    outer = IP(**{"src": source, "dst": quoted.src, "ttl": ttl, "id": 3, **ip})
    return outer / error(kind, 1400 if kind == (3, 4) else 0) / Raw(bytes(quoted)[:length])


class Case(NamedTuple):
    """An error that comes, and the one that leaves."""

    frame: Any
    out: Any
    reply: bool = False


def to_real_server(quoted: Any, becomes: Any, rip: str = RIP1, mac: str = "", **how: Any) -> Case:
    """A router tells the VIP about a packet of the connection; by NAT the real server hears of its own."""
    frame = about(quoted, **how)
    out = about(becomes, **{**how, "ttl": how.get("ttl", 50) - 1})
    sent = to_server(out, rip, mac) if mac else to_server(out, rip)
    return Case(from_client(frame), sent)


def to_the_client(quoted: Any, becomes: Any, **how: Any) -> Case:
    """A router behind the director, or the real server, says what the VIP is to say."""
    frame = about(quoted, **how)
    out = about(becomes, **{**how, "source": VIP, "ttl": how.get("ttl", 50) - 1})
    return Case(from_server(frame), to_client(out), reply=True)


FROM_VIP, FROM_RIP = tcp(VIP, 80, CIP, CPORT), tcp(RIP1, 8080, CIP, CPORT)
TO_RIP, TO_VIP = tcp(CIP, CPORT, RIP1, 8080), tcp(CIP, CPORT, VIP, 80)
FROM_DR, FROM_FAR_DR = tcp(VIP, 82, CIP, CPORT), tcp(VIP, 84, CIP, CPORT)
SCTP_FROM_VIP, SCTP_FROM_RIP = chunk(VIP, 80, CIP, CPORT), chunk(RIP1, 9090, CIP, CPORT)
SCTP_TO_RIP, SCTP_TO_VIP = chunk(CIP, CPORT, RIP1, 9090), chunk(CIP, CPORT, VIP, 80)
UDP_FROM_VIP, UDP_FROM_RIP = udp(VIP, 53, CIP, CPORT), udp(RIP1, 5353, CIP, CPORT)
UDP_TO_RIP, UDP_TO_VIP = udp(CIP, CPORT, RIP1, 5353), udp(CIP, CPORT, VIP, 53)
OPTIONS: dict[str, Any] = {"options": [IPOption_NOP()] * 7 + [IPOption_EOL()]}


def without_checksum(quoted: Any) -> Any:
    """UDP's 0, which means that there is none, stays."""
    packet = quoted.copy()
    packet[UDP].chksum = 0
    return packet


CASES = {
    **{f"NAT, {kind}": to_real_server(FROM_VIP, FROM_RIP, kind=kind) for kind in KINDS},
    **{f"NAT, back, {kind}": to_the_client(TO_RIP, TO_VIP, kind=kind) for kind in KINDS},
    **{f"DR, {kind}": to_real_server(FROM_DR, FROM_DR, kind=kind) for kind in KINDS},
    **{f"NAT, {name}": to_real_server(FROM_VIP, FROM_RIP, length=length) for name, length in LENGTHS.items()},
    **{f"NAT, back, {name}": to_the_client(TO_RIP, TO_VIP, length=length) for name, length in LENGTHS.items()},
    **{f"NAT, UDP, {name}": to_real_server(UDP_FROM_VIP, UDP_FROM_RIP, length=one) for name, one in LENGTHS.items()},
    **{f"NAT, UDP, back, {name}": to_the_client(UDP_TO_RIP, UDP_TO_VIP, length=one) for name, one in LENGTHS.items()},
    "NAT, UDP without a checksum": to_real_server(without_checksum(UDP_FROM_VIP), without_checksum(UDP_FROM_RIP)),
    "NAT, UDP without a checksum, back": to_the_client(without_checksum(UDP_TO_RIP), without_checksum(UDP_TO_VIP)),
    **{f"NAT, SCTP, {one} bytes": to_real_server(SCTP_FROM_VIP, SCTP_FROM_RIP, length=one) for one in (24, 28, 32, 48)},
    **{
        f"NAT, SCTP, back, {one} bytes": to_the_client(SCTP_TO_RIP, SCTP_TO_VIP, length=one) for one in (24, 28, 32, 48)
    },
    "DR, SCTP": to_real_server(chunk(VIP, 82, CIP, CPORT), chunk(VIP, 82, CIP, CPORT)),
    "NAT, from the client itself": to_real_server(UDP_FROM_VIP, UDP_FROM_RIP, kind=(3, 3), source=CIP),
    "NAT, from the server itself": to_the_client(UDP_TO_RIP, UDP_TO_VIP, kind=(3, 3), source=RIP1),
    "NAT, out of another interface": to_real_server(
        tcp(VIP, 83, CIP, CPORT), tcp(RIP3, 83, CIP, CPORT), RIP3, DIRECTOR_MAC1
    ),
    "NAT, IP options outside": to_real_server(FROM_VIP, FROM_RIP, length=140, **OPTIONS),
    "NAT, IP options inside": to_real_server(
        tcp(VIP, 80, CIP, CPORT, **OPTIONS), tcp(RIP1, 8080, CIP, CPORT, **OPTIONS), length=60
    ),
    "NAT, all that fits a frame": to_real_server(
        tcp(VIP, 80, CIP, CPORT, size=1500), tcp(RIP1, 8080, CIP, CPORT, size=1500), length=1472
    ),
    "NAT, the first fragment": to_real_server(
        tcp(VIP, 80, CIP, CPORT, flags="MF"), tcp(RIP1, 8080, CIP, CPORT, flags="MF"), length=60
    ),
    "the last TTL that goes on": to_real_server(FROM_VIP, FROM_RIP, ttl=2),
    "DR, out of another interface": to_real_server(FROM_FAR_DR, FROM_FAR_DR, RIP3, DIRECTOR_MAC1),
    "DR, UDP": to_real_server(udp(VIP, 54, CIP, CPORT), udp(VIP, 54, CIP, CPORT), length=140),
    "DR, IP options outside": to_real_server(FROM_DR, FROM_DR, **OPTIONS),
}


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("name", CASES)
def test_an_error_follows_its_connection(name: str, hook: str, director: Plane) -> None:
    case = CASES[name]
    before, slots = totals(director), director.table.connections.memory[:]
    director.advance(80)
    outcome = director.run(hook, raw := bytes(case.frame))
    assert (outcome.verdict, outcome.hook) == (SENT, "tc")
    expected = raw[:12] + bytes(case.out)[12:]
    assert Ether(outcome.frame) == Ether(expected)
    assert outcome.frame == expected
    assert director.table.connections.memory[:] == slots, "an error puts off no connection's end"
    size = len(case.out.payload)
    assert difference(before, totals(director)) == ((0, 0, 1, 0, size) if case.reply else (0, 1, 0, size, 0))


def test_an_error_about_a_deleted_server_goes_there_uncounted(director: Plane) -> None:
    """As its answers do; nothing else that the client sends does."""
    director.delete(f"tcp {VIP}:80", f"{RIP1}:8080")
    try:
        before = director.snapshot(f"tcp {VIP}:80").counters
        case = CASES["NAT, (3, 4)"]
        outcome = director.tc(bytes(case.frame))
        assert (outcome.verdict, outcome.frame[12:]) == (SENT, bytes(case.out)[12:])
        assert director.snapshot(f"tcp {VIP}:80").counters == before
    finally:
        director.add(f"tcp {VIP}:80", f"{RIP1}:8080")


def test_half_a_checksum_stays(director: Plane) -> None:
    """It can't be kept right, but that of the message can."""
    outcome = director.tc(bytes(from_client(about(FROM_VIP, length=37))))
    quote = bytes(FROM_RIP)[:36] + bytes(FROM_VIP)[36:37]
    expected = IP(src=ROUTER, dst=RIP1, ttl=49, id=3) / error((3, 4), 1400) / Raw(quote)
    assert (outcome.verdict, outcome.frame[14:]) == (SENT, bytes(expected))


# -- what is no error about a connection


def with_word(packet: Any, at: int, size: int, value: int) -> bytes:
    """A frame with some bytes of its own, and an ICMP checksum that is right all the same."""
    made = bytearray(bytes(from_client(packet)))
    made[at : at + size] = value.to_bytes(size, "big")
    icmp = ICMP(bytes(made[34:]))
    icmp.chksum = None
    return bytes(made[:34]) + bytes(icmp)


QUOTED_AT = 14 + 20 + 8
STRANGE = {
    "an echo request": from_client(IP(src=CIP, dst=VIP) / ICMP() / Raw(b"ping")),
    "an echo reply": from_server(IP(src=RIP1, dst=CIP) / ICMP(type=0) / Raw(b"pong")),
    "a redirect": from_client(about(FROM_VIP, (5, 1))),
    "a parameter problem": from_client(about(FROM_VIP, (12, 0))),
    "an unassigned type": from_client(about(FROM_VIP, (44, 0))),
    "another port of the VIP": from_client(about(tcp(VIP, 8000, CIP, CPORT))),
    "another port of the client": from_client(about(tcp(VIP, 80, CIP, CPORT + 1))),
    "another client": from_client(about(tcp(VIP, 80, CIP2, CPORT))),
    "another protocol": from_client(about(udp(VIP, 80, CIP, CPORT))),
    "SCTP, another port of the VIP": from_client(about(chunk(VIP, 82, CIP, CPORT + 1))),
    "SCTP, another port of the server": from_server(about(chunk(CIP, CPORT, RIP1, 8080))),
    "SCTP, another client": from_client(about(chunk(VIP, 80, CIP2, CPORT))),
    "TCP's ports in SCTP": from_client(about(chunk(VIP, 83, CIP, CPORT))),
    "the request to the VIP": from_server(about(TO_VIP)),
    "a server's answer before NAT": from_client(about(FROM_RIP)),
    "to another than the quoted sender": from_client(about(FROM_VIP, dst=DIP)),
    "to another than the quoted client": from_server(about(TO_RIP, dst=CIP2)),
    "a later fragment": from_client(about(tcp(VIP, 80, CIP, CPORT, frag=10))),
    "a fragment of an error": from_client(about(FROM_VIP, flags="MF")),
    "a later fragment of an error": from_client(about(FROM_VIP, frag=10)),
    "an error about an error": from_client(about(about(FROM_VIP, dst=CIP, source=VIP))),
    "ports that are cut off": from_client(about(FROM_VIP, length=23)),
    "a header that is cut off": from_client(about(FROM_VIP, length=19)),
    "nothing quoted": from_client(about(FROM_VIP, length=0)),
    "an ICMP header that is cut off": from_client(IP(src=ROUTER, dst=VIP, proto=1) / Raw(b"\3\4\0\0")),
    "an IPv4 header that says it is shorter": with_word(about(FROM_VIP), QUOTED_AT, 1, 0x44),
    "an IPv4 header that says it is longer": with_word(about(FROM_VIP), QUOTED_AT, 1, 0x4F),
    "an IPv6 header": with_word(about(FROM_VIP, length=80), QUOTED_AT, 1, 0x60),
    "no IP version at all": with_word(about(FROM_VIP), QUOTED_AT, 1, 0xF5),
    "a frame that is padded with the ports": with_word(about(FROM_VIP), 16, 2, 20 + 8 + 20),
    "an outer length beyond the frame": with_word(about(FROM_VIP), 16, 2, 2000),
} | {f"from {source}": from_client(about(FROM_VIP, source=source)) for source in ("127.0.0.1", "224.0.0.1", VIP)}


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("name", STRANGE)
def test_what_belongs_to_no_connection_passes(name: str, hook: str, director: Plane) -> None:
    before, raw = director.state(), bytes(STRANGE[name])
    outcome = director.run(hook, raw)
    assert (outcome.verdict, outcome.frame) == (PASS, raw)
    assert director.state() == before


def broken(packet: Any, by: int = 1) -> Any:
    """Its ICMP checksum is wrong."""
    made = packet.copy()
    made[ICMP].chksum = IP(bytes(packet))[ICMP].chksum ^ by
    return made


@pytest.mark.parametrize("frame", [from_client(broken(about(FROM_VIP))), from_server(broken(about(TO_RIP, length=99)))])
def test_nat_drops_a_wrong_checksum(frame: Any, director: Plane) -> None:
    assert director.tc(bytes(frame)).verdict == "checksum"


def test_a_wrong_checksum_beyond_measure_stays_wrong(director: Plane) -> None:
    """In a message that is longer than any that should be."""
    quoted, becomes = (tcp(*ends, CIP, CPORT, size=3000) for ends in ((VIP, 85), (RIP4, 85)))
    director.forgets_the_way()
    with mtu("eth2", 4000):
        for wrong in (0, 0x101):
            frame = bytes(from_client(broken(about(quoted, length=2500), wrong)))
            out = bytes(broken(about(becomes, length=2500, ttl=49), wrong))
            outcome = director.tc(frame)
            assert outcome.verdict == SENT
            assert (outcome.frame[14:] == out) == (not wrong)
            assert error_of(outcome.frame[34:]) == error_of(frame[34:])


@contextmanager
def mtu(device: str, size: int) -> Iterator[None]:
    """A device that takes larger packets for a while."""
    subprocess.run(["ip", "link", "set", device, "mtu", str(size)], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "set", device, "mtu", "1500"], check=True)


def test_dr_passes_a_wrong_checksum_on(director: Plane) -> None:
    frame, out = (from_client(broken(about(FROM_DR, ttl=ttl))) for ttl in (50, 49))
    outcome = director.tc(bytes(frame))
    assert (outcome.verdict, outcome.frame) == (SENT, bytes(out))


def test_the_connection_of_one_side_only(director: Plane) -> None:
    """Its other slot is gone: there is nothing to say what the quote was."""
    for number in range(director.table.connections.entries):
        for slot in director.table.connections[number].slot:
            if slot.peer and slot.control >> abi.ControlShift.SIDE & 1:
                slot.control = 0
    outcome = director.tc(bytes(CASES["NAT, (3, 4)"].frame))
    assert outcome.verdict == "ended"


QUIET = {
    "ttl_exceeded": from_client(about(FROM_VIP, ttl=1)),
    "too_big": from_server(about(tcp(CIP, CPORT, RIP1, 8080, size=900), length=NARROW_MTU - 27, flags="DF")),
}


@pytest.mark.parametrize("verdict", QUIET)
def test_no_error_about_an_error(verdict: str, director: Plane) -> None:
    with narrow_way_to(CIP):
        outcome = director.tc(bytes(QUIET[verdict]))
    assert (outcome.verdict, outcome.code) == (verdict, TC_SHOT)


@contextmanager
def narrow_way_to(client: str) -> Iterator[None]:
    route = ("ip", "route")
    subprocess.run([*route, "add", client, "via", "192.168.0.15", "mtu", "lock", str(NARROW_MTU)], check=True)
    try:
        yield
    finally:
        subprocess.run([*route, "del", client], check=True)


def test_no_route_to_the_client(director: Plane) -> None:
    director.run("tc", bytes(from_client(request(ip={"src": NOWHERE}))))
    outcome = director.tc(bytes(from_server(about(tcp(NOWHERE, CPORT, RIP1, 8080)))))
    assert (outcome.verdict, outcome.code) == ("no_route", TC_SHOT)


# -- the director's own errors


TC_SHOT, TC_REDIRECT = 2, 7


def test_so_many_errors_a_second(director: Plane) -> None:
    """What is dropped beyond is counted twice: the packet, and the error that its sender did not get."""
    frame = bytes(from_client(request(90)))
    with one_cpu():
        for _ in range(1000):
            outcome = director.tc(frame)
            assert (outcome.verdict, outcome.code) == ("no_server", TC_REDIRECT)
        outcome = director.tc(frame)
        assert (outcome.verdict, outcome.code) == ("no_server+icmp_limit", TC_SHOT)
        director.advance(abi.TICKS_A_SECOND)
        assert director.tc(frame).code == TC_REDIRECT


@contextmanager
def one_cpu() -> Iterator[None]:
    """Each CPU has a limit of its own."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 507, 508, 509, 1000, 1460])
def test_quotes_of_every_length(size: int, director: Plane) -> None:
    packet = request(flags="A", ip={"ttl": 1, "tos": 0xFF}, size=size)
    outcome = director.tc(bytes(from_client(packet)))
    expected = with_id_of(bytes(told(packet, (11, 0))), outcome.frame)
    assert outcome.frame[12:] == expected[12:]
    assert len(outcome.frame) == 14 + min(576, 28 + 40 + size)


def test_ethernet_padding_is_not_quoted(director: Plane) -> None:
    packet = datagram(size=1, ip={"ttl": 1})
    outcome = director.tc(bytes(from_client(packet)) + bytes(17))
    assert outcome.frame[12:] == with_id_of(bytes(told(packet, (11, 0))), outcome.frame)[12:]


def test_options_are_quoted_not_echoed(director: Plane) -> None:
    packet = request(flags="A", ip={"ttl": 1, **OPTIONS})
    outcome = director.tc(bytes(from_client(packet)))
    assert outcome.frame[12:] == with_id_of(bytes(told(packet, (11, 0))), outcome.frame)[12:]


def test_a_train_of_segments_is_quoted_as_one(director: Plane) -> None:
    packet = request(87, "A", size=1400)
    outcome = director.tc(bytes(from_client(packet)), segment=NARROW_MTU)
    assert outcome.code == TC_REDIRECT
    expected = with_id_of(bytes(told(packet, (3, 4), NARROW_MTU)), outcome.frame)
    assert outcome.frame[12:] == expected[12:]


def test_where_the_kernel_does_not_forward(director: Plane) -> None:
    """A DR director needs no ip_forward: the error goes back the way that the packet came."""
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    switch.write_text("0")
    try:
        outcome = director.tc(bytes(from_client(request(90))))
    finally:
        switch.write_text("1")
    assert outcome.code == TC_REDIRECT
    assert outcome.frame == with_id_of(bytes(told(request(90), (3, 3))), outcome.frame)


def totals(director: Plane) -> tuple[int, ...]:
    """Of all services; those of their servers are the same."""
    services = director.director.services()
    for one in services:
        assert counts([one.counters]) == counts([server.counters for server in one.servers])
    return counts([one.counters for one in services])


def counts(counters: Sequence[Any]) -> tuple[int, ...]:
    names = ("connections", "in_packets", "out_packets", "in_bytes", "out_bytes")
    return tuple(sum(getattr(one, name) for one in counters) for name in names)


def difference(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(new - old for old, new in zip(before, after, strict=True))
