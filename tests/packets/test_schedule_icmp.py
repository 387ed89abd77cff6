"""schedule_icmp=1: an ICMP error about a packet of no known connection opens one, as recorded from Linux 6.1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6PacketTooBig, ICMPv6ParamProblem, IPv6
from scapy.packet import Raw

from pylvs.model import FirewallMark, ForwardingMethod, RealServer, VirtualService
from tests.packets.errors import with_id_of
from tests.packets.frames import CPORT, datagram, request
from tests.packets.plane import PASS, SENT, Plane, endpoint, service
from tests.packets.six import CIP6, FAR6, RIP6, VIP6, ipv6
from tests.packets.test_icmp import ROUTER, TC_REDIRECT, TC_SHOT, about, broken, tcp, udp
from tests.packets.test_mark import OK as TC_OK
from tests.packets.test_mark import run
from tests.packets.wire import CIP, DIP, RIP1, RIP2, VIP, from_client

pytestmark = pytest.mark.root

NAT, DR, TUN, FULLNAT = (ForwardingMethod(one) for one in ("nat", "dr", "tun", "fullnat"))
HOOKS = ("tc", "xdp")
HELD = service(f"tcp {VIP}:86")
OPS, OPS_DR = service(f"udp {VIP}:54"), service(f"udp {VIP}:55")
SECONDS = 3
"""As long as such a connection lasts by itself."""


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """Services of every kind."""
    loaded.reset()
    with ipv6():
        loaded.serve(f"tcp {VIP}:80", f"{RIP1}:8080")
        loaded.serve(f"tcp {VIP}:82", f"{RIP1}:82", method=DR)
        loaded.serve(f"tcp {VIP}:83", f"{RIP1}:83", method=TUN)
        loaded.serve(f"tcp {VIP}:84", f"{RIP1}:8484", method=FULLNAT)
        loaded.serve(f"tcp {VIP}:85", f"{RIP1}:85 0")
        loaded.serve(f"udp {VIP}:53", f"{RIP1}:5353")
        loaded.serve(f"tcp {VIP6}:80", f"{RIP6}:8080")
        loaded.serve(f"tcp {VIP6}:82", f"{RIP6}:82", method=DR)
        for id, method in ((OPS, NAT), (OPS_DR, DR)):
            loaded.director.add_service(VirtualService(id, "rr", one_packet=True))
            port = 5354 if method is NAT else id.endpoint.port
            loaded.director.add_server(id, RealServer(endpoint(f"{RIP1}:{port}"), method))
        loaded.director.add_service(VirtualService(HELD, "rr", persistence=100))
        loaded.director.add_server(HELD, RealServer(endpoint(f"{RIP1}:8686"), NAT))
        yield loaded
        loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Iterator[Plane]:
    """With the knob set, and without connections."""
    with standing.switched_on("schedule_icmp"):
        yield standing


class Case(NamedTuple):
    """What a router says to the VIP, and what the real server hears; both without the Ethernet header."""

    said: Any
    heard: Any
    service: str
    state: str = "NONE"


def nat(quoted: Any, becomes: Any, service: str, state: str = "NONE", **how: Any) -> Case:
    return Case(about(quoted, **how), about(becomes, **{**how, "ttl": 49}), service, state)


FROM_VIP, FROM_RIP = tcp(VIP, 80, CIP, CPORT), tcp(RIP1, 8080, CIP, CPORT)
FROM_DR, FROM_TUN = tcp(VIP, 82, CIP, CPORT), tcp(VIP, 83, CIP, CPORT)
UDP_FROM_VIP, UDP_FROM_RIP = udp(VIP, 53, CIP, CPORT), udp(RIP1, 5353, CIP, CPORT)


def six(port: int, source: str = VIP6, *, ttl: int = 50, error: Any = None) -> Any:
    quoted = IPv6(src=source, dst=CIP6, hlim=60) / TCP(sport=port, dport=CPORT, flags="A") / Raw(b"data")
    return IPv6(src=FAR6, dst=source, hlim=ttl) / (error or ICMPv6PacketTooBig(mtu=1400)) / Raw(bytes(quoted))


PROBLEM = ICMPv6ParamProblem(code=1, ptr=6)
CASES = {
    "NAT": nat(FROM_VIP, FROM_RIP, f"tcp {VIP}:80"),
    "NAT, time exceeded": nat(FROM_VIP, FROM_RIP, f"tcp {VIP}:80", kind=(11, 0)),
    "NAT, source quench": nat(FROM_VIP, FROM_RIP, f"tcp {VIP}:80", kind=(4, 0)),
    "NAT, UDP": nat(UDP_FROM_VIP, UDP_FROM_RIP, f"udp {VIP}:53", "UDP", kind=(3, 3)),
    "DR": nat(FROM_DR, FROM_DR, f"tcp {VIP}:82"),
    "TUN": Case(about(FROM_TUN), IP(src=DIP, dst=RIP1, ttl=49, id=0) / about(FROM_TUN, ttl=49), f"tcp {VIP}:83"),
    "NAT, IPv6": Case(six(80), six(8080, RIP6, ttl=49), f"tcp {VIP6}:80"),
    "NAT, IPv6, a parameter problem": Case(
        six(80, error=PROBLEM), six(8080, RIP6, ttl=49, error=PROBLEM), f"tcp {VIP6}:80"
    ),
    "DR, IPv6": Case(six(82), six(82, ttl=49), f"tcp {VIP6}:82"),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", CASES)
def test_scheduled(name: str, hook: str, director: Plane) -> None:
    case = CASES[name]
    outcome = director.run(hook, bytes(from_client(case.said)))
    assert (outcome.verdict, outcome.hook) == (SENT, "tc")
    assert outcome.frame[14:].hex() == expected(case.heard, outcome.frame).hex()
    assert [(str(one.client.address), one.client.port, one.state) for one in director.connections()] == [
        (CIP if IP in case.said else CIP6, CPORT, case.state)
    ]
    (server,) = director.snapshot(case.service).servers
    counters = server.counters
    assert (server.active, server.inactive) == (0, 1)
    assert (counters.connections, counters.in_packets, counters.in_bytes) == (1, 1, len(case.said))


def expected(packet: Any, frame: bytes) -> bytes:
    """A tunnel's outer header has a random identification."""
    made = bytes(packet)
    return with_id_of(bytes(14) + made, frame)[14:] if packet.src == DIP else made


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", CASES)
def test_not_without_the_knob(name: str, hook: str, director: Plane) -> None:
    director.director.set_knobs({"schedule_icmp": 0})
    before, raw = director.state(), bytes(from_client(CASES[name].said))
    outcome = director.run(hook, raw)
    assert (outcome.verdict, outcome.frame) == (PASS, raw)
    assert director.state() == before


@pytest.mark.parametrize("name", ["NAT", "NAT, UDP", "DR", "NAT, IPv6"])
def test_it_lasts_three_seconds(name: str, director: Plane) -> None:
    """A further error doesn't put that off."""
    said = bytes(from_client(CASES[name].said))
    assert director.tc(said).verdict == SENT
    director.pass_seconds(SECONDS - 1)
    assert director.tc(said).verdict == SENT
    assert len(director.connections()) == 1
    director.pass_seconds(2)
    assert not director.connections()
    assert director.snapshot(CASES[name].service).servers[0].inactive == 0


@pytest.mark.parametrize(
    ("name", "opening", "state"), [("NAT", request(), "SYN_RECV"), ("NAT, UDP", datagram(), "UDP")]
)
def test_the_client_goes_on_with_it(name: str, opening: Any, state: str, director: Plane) -> None:
    assert director.tc(bytes(from_client(CASES[name].said))).verdict == SENT
    director.pass_seconds(1)
    assert director.tc(bytes(from_client(opening))).verdict == SENT
    director.pass_seconds(SECONDS)
    assert [one.state for one in director.connections()] == [state]
    assert director.snapshot(CASES[name].service).counters.connections == 1


def test_a_packet_within_a_connection_is_its_first(director: Plane) -> None:
    """So that what goes on at another director's end comes through."""
    assert director.tc(bytes(from_client(CASES["NAT"].said))).verdict == SENT
    assert director.tc(bytes(from_client(request(flags="A")))).verdict == SENT
    assert [one.state for one in director.connections()] == ["ESTABLISHED"]


@pytest.mark.parametrize("hook", HOOKS)
def test_fullnat(hook: str, director: Plane) -> None:
    outcome = director.run(hook, bytes(from_client(about(tcp(VIP, 84, CIP, CPORT)))))
    heard = IP(outcome.frame[14:])
    quoted = IP(bytes(heard[Raw])) if Raw in heard else heard[ICMP].payload
    assert (outcome.verdict, heard.src, heard.dst) == (SENT, ROUTER, RIP1)
    assert (quoted.src, quoted.sport, quoted.dst) == (RIP1, 8484, DIP)
    assert [one.state for one in director.connections()] == ["NONE"]
    director.pass_seconds(SECONDS + 2)
    assert not director.connections()


@pytest.mark.parametrize("hook", HOOKS)
def test_persistence(hook: str, director: Plane) -> None:
    """There is a template of it."""
    assert director.run(hook, bytes(from_client(about(tcp(VIP, 86, CIP, CPORT))))).verdict == SENT
    assert sorted((one.client.port, one.state) for one in director.connections()) == [(0, "NONE"), (CPORT, "NONE")]
    assert director.snapshot(f"tcp {VIP}:86").servers[0].persistent == 1


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(("port", "source", "becomes"), [(54, RIP1, 5354), (55, VIP, 55)])
def test_one_packet_scheduling_keeps_nothing(port: int, source: str, becomes: int, hook: str, director: Plane) -> None:
    said, heard = about(udp(VIP, port, CIP, CPORT)), about(udp(source, becomes, CIP, CPORT), ttl=49)
    outcome = director.run(hook, bytes(from_client(said)))
    assert (outcome.verdict, outcome.frame[14:].hex()) == (SENT, bytes(heard).hex())
    assert not director.connections()
    assert director.snapshot(f"udp {VIP}:{port}").counters.connections == 1


DROPPED = {
    "no_server": about(tcp(VIP, 85, CIP, CPORT)),
    "checksum": broken(about(FROM_VIP)),
    "ttl_exceeded": about(FROM_VIP, ttl=1),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("verdict", DROPPED)
def test_dropped(verdict: str, hook: str, director: Plane) -> None:
    """Nobody is told. Where a server was chosen, the kernel has made the connection by then, too."""
    outcome = director.run(hook, bytes(from_client(DROPPED[verdict])))
    assert (outcome.verdict, outcome.code) == (verdict, TC_SHOT)
    assert len(director.connections()) == (verdict != "no_server")


NOT_SCHEDULED = {
    "a redirect": about(FROM_VIP, (5, 1)),
    "a parameter problem": about(FROM_VIP, (12, 0)),
    "no service": about(tcp(VIP, 8000, CIP, CPORT)),
    "another protocol": about(udp(VIP, 80, CIP, CPORT)),
    "the other direction": about(tcp(CIP, CPORT, VIP, 80)),
    "FTP data of a client": about(tcp(VIP, 80, CIP, 20)),
    "to another than the quoted sender": about(FROM_VIP, dst=DIP),
    "a later fragment": about(tcp(VIP, 80, CIP, CPORT, frag=10)),
    "ports that are cut off": about(FROM_VIP, length=23),
    "from the VIP itself": about(FROM_VIP, source=VIP),
    "a client that can be none": about(tcp(VIP, 80, "127.0.0.1", CPORT)),
    "the VIP as its own client": about(tcp(VIP, 80, VIP, CPORT)),
    "an echo request": IP(src=CIP, dst=VIP) / ICMP() / Raw(b"ping"),
    "a quoted echo": about(IP(src=VIP, dst=CIP) / ICMP(type=0) / Raw(b"pong")),
    "IPv6, no service": six(8000),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", NOT_SCHEDULED)
def test_not_scheduled(name: str, hook: str, director: Plane) -> None:
    before, raw = director.state(), bytes(from_client(NOT_SCHEDULED[name]))
    outcome = director.run(hook, raw)
    assert (outcome.verdict, outcome.frame) == (PASS, raw)
    assert director.state() == before


def test_errors_about_tunnel_packets_are_the_clients_as_ever(director: Plane) -> None:
    assert director.tc(bytes(from_client(request(83)))).verdict == SENT
    wrapped = IP(src=DIP, dst=RIP1, ttl=40, flags="DF") / tcp(CIP, CPORT, VIP, 83)
    outcome = director.tc(bytes(from_client(about(wrapped, length=200))))
    heard = IP(outcome.frame[14:])
    assert (outcome.verdict, heard.src, heard.dst, heard[ICMP].nexthopmtu) == (SENT, VIP, CIP, 1380)


def test_a_mark_is_known_here_too(director: Plane) -> None:
    """Of every protocol that has ports, and of no other."""
    mark = FirewallMark(10)
    director.director.add_service(VirtualService(mark, "rr"))
    director.director.add_server(mark, RealServer(endpoint(f"{RIP2}:0"), DR))
    other = about(IP(src=VIP, dst=CIP, proto=50) / Raw(b"\1\2\3\4" * 8))
    try:
        assert run(director, "director_tc", about(tcp(VIP, 9999, CIP, CPORT)))[0] == TC_REDIRECT
        assert run(director, "director_tc", other)[0] == TC_OK
        assert len(director.connections()) == 1
    finally:
        director.director.delete_service(mark)
