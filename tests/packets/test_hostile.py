"""Frames that nobody honest sends: they pass to the host's own stack, or are dropped by name, and leave no state."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import GRE
from scapy.packet import Raw

from pylvs.model import ForwardingMethod, RealServer, VirtualService
from tests.packets.frames import CPORT, datagram, payload, request
from tests.packets.plane import PASS, SENT, Plane, endpoint, service
from tests.packets.sctp import sctp
from tests.packets.six import CIP6, DIP6, RIP6, VIP6, ipv6
from tests.packets.wire import CIP, DIP, RIP1, RIP2, RIP3, VIP, VIP2, from_client, from_server

pytestmark = pytest.mark.root

NAT, DR, TUN, FULLNAT = (ForwardingMethod(one) for one in ("nat", "dr", "tun", "fullnat"))
HOOKS = ("tc", "xdp")
DIP1, LIP = "192.168.10.1", "192.168.20.1"
EVERY = service(f"tcp {VIP2}:0")
GUE_PORT = 6080


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """Services of every method, in both families, and one for every port."""
    loaded.reset()
    with ipv6():
        for vip, rip in ((VIP, RIP1), (VIP6, RIP6)):
            loaded.serve(f"tcp {vip}:80", f"{rip}:8080")
            loaded.serve(f"tcp {vip}:82", f"{rip}:82", method=DR)
            loaded.serve(f"tcp {vip}:83", f"{rip}:83", method=TUN)
            loaded.serve(f"udp {vip}:53", f"{rip}:5353")
        loaded.serve(f"tcp {VIP}:84", f"{RIP3}:84")
        loaded.serve(f"sctp {VIP}:80", f"{RIP1}:9090")
        full = VirtualService(service(f"tcp {VIP}:85"), "rr", local_addresses=(endpoint(f"{LIP}:0").address,))
        loaded.director.add_service(full)
        loaded.director.add_server(full.id, RealServer(endpoint(f"{RIP1}:8585"), FULLNAT))
        loaded.director.add_service(VirtualService(EVERY, "rr", persistence=100))
        loaded.director.add_server(EVERY, RealServer(endpoint(f"{RIP2}:0"), NAT))
        yield loaded
        loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    """Without connections, and with every way known."""
    standing.forget()
    standing.knows_the_way()
    return standing


def syn6(port: int = 80, *, source: str = CIP6, extensions: Any = None, **fields: Any) -> Any:
    """A client's first packet, perhaps with headers between."""
    outer = IPv6(**{"src": source, "dst": VIP6, "hlim": 64, **fields})
    return (outer / extensions if extensions else outer) / TCP(sport=CPORT, dport=port, flags="S") / Raw(payload(20))


def spoofed(source: str) -> dict[str, Any]:
    """By every protocol of a family."""
    if ":" in source:
        return {f"TCP from {source}": syn6(source=source)}
    return {
        f"TCP from {source}": request(ip={"src": source}),
        f"TCP to every port from {source}": request(ip={"src": source, "dst": VIP2}),
        f"DR from {source}": request(82, ip={"src": source}),
        f"UDP from {source}": datagram(ip={"src": source}),
        f"SCTP from {source}": IP(sctp(source, CPORT, VIP, 80, "INIT")),
    }


SPOOFED = {
    name: packet
    for source in (VIP, VIP2, DIP, DIP1, LIP, VIP6, DIP6, "127.0.0.1", "::1", "::", "ff02::1")
    for name, packet in spoofed(source).items()
}

INNER, INNER6 = request(), syn6()
TUNNELS = {
    "IPIP": IP(src=CIP, dst=VIP, proto=4) / Raw(bytes(INNER)),
    "IPIP in IPIP": IP(src=CIP, dst=VIP, proto=4) / Raw(bytes(IP(src=CIP, dst=VIP, proto=4) / Raw(bytes(INNER)))),
    "GRE": IP(src=CIP, dst=VIP) / GRE(proto=0x0800) / INNER,
    "GRE in GRE": IP(src=CIP, dst=VIP) / GRE(proto=0x0800) / IP(src=CIP, dst=VIP) / GRE(proto=0x0800) / INNER,
    "GUE": IP(src=CIP, dst=VIP) / UDP(sport=5000, dport=GUE_PORT) / Raw(b"\0\4\0\0" + bytes(INNER)),
    "IPIP to the director": IP(src=RIP1, dst=DIP, proto=4) / Raw(bytes(INNER)),
    "GRE to the director": IP(src=RIP1, dst=DIP) / GRE(proto=0x0800) / INNER,
    "GUE to the director": IP(src=RIP1, dst=DIP) / UDP(sport=5000, dport=GUE_PORT) / Raw(b"\0\4\0\0" + bytes(INNER)),
    "IPv6 in IPv6": IPv6(src=CIP6, dst=VIP6, nh=41) / Raw(bytes(INNER6)),
    "IPv4 in IPv6": IPv6(src=CIP6, dst=VIP6, nh=4) / Raw(bytes(INNER)),
    "IPv6 in IPv4": IP(src=CIP, dst=VIP, proto=41) / Raw(bytes(INNER6)),
}

HOP, DST = IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt
LONG = PadN(optdata=bytes(68))
FRAGMENT = IPv6ExtHdrFragment


def lying(length: int) -> Any:
    """A header that says it is longer or shorter than it is."""
    return DST(len=length)


def many(header: type[Any], count: int) -> Any:
    """The same header over and over."""
    chain = header()
    for _ in range(count - 1):
        chain /= header()
    return chain


CHAINS = {
    "four headers": many(DST, 4),
    "a hundred headers": many(DST, 100),
    "one too long": DST(options=[LONG]),
    "together too long": DST(options=[PadN(optdata=bytes(20))]) / DST(options=[PadN(optdata=bytes(44))]),
    "hop-by-hop not first": DST() / HOP(),
    "hop-by-hop twice": HOP() / HOP(),
    "hop-by-hop for ever": many(HOP, 90),
    "hop-by-hop behind a fragment's": FRAGMENT() / HOP(),
    "a routing header": IPv6ExtHdrRouting(addresses=[RIP6]),
    "a routing header behind another": DST() / IPv6ExtHdrRouting(addresses=[RIP6]),
    "a fragment's header twice": FRAGMENT(id=1) / FRAGMENT(id=2),
    "a header that says it is longer than the packet": lying(255),
    "a header that swallows the TCP header": lying(3),
    "nothing behind it": DST(nh=59),
    "authentication": DST(nh=51),
    "encryption": DST(nh=50),
    "mobility": DST(nh=135),
    "an experiment": DST(nh=253),
    "ICMP of the other family": DST(nh=1),
}
FEW = {
    "one": DST(),
    "hop-by-hop first": HOP() / DST(),
    "three": HOP() / DST() / DST(),
    "as long as there can be": DST(options=[PadN(optdata=bytes(60 - 8))]),
    "a fragment's of a whole packet": FRAGMENT(id=1),
}


def short(value: int, packet: Any) -> Any:
    """With another payload length in the IPv6 header."""
    raw = bytearray(bytes(packet))
    raw[4:6] = struct.pack("!H", value)
    return Raw(bytes(raw))


def version(packet: Any, value: int) -> Any:
    raw = bytearray(bytes(packet))
    raw[0] = value << 4
    return Raw(bytes(raw))


LIES6 = {
    "a payload length of 0": short(0, syn6()),
    "a payload length within the TCP header": short(19, syn6()),
    "a payload length past the end": short(41, syn6()),
    "a payload length far past the end": short(65535, syn6()),
    "a payload length within an extension header": short(7, syn6(extensions=DST())),
    "a payload length of 0 behind hop-by-hop": short(0, syn6(extensions=HOP())),
    "IP version 4": version(syn6(), 4),
    "IP version 7": version(syn6(), 7),
}

ZERO = {
    "TCP, from port 0": request(sport=0),
    "TCP, to port 0": request(0),
    "TCP, to port 0 of every port": request(0, ip={"dst": VIP2}),
    "TCP, from port 0 to every port": request(80, ip={"dst": VIP2}, sport=0),
    "TCP, from 0 to 0": request(0, ip={"dst": VIP2}, sport=0),
    "UDP, from port 0": datagram(sport=0),
    "UDP, to port 0": datagram(0),
    "SCTP, from port 0": IP(sctp(CIP, 0, VIP, 80, "INIT")),
    "IPv6": IPv6(src=CIP6, dst=VIP6) / TCP(sport=0, dport=80, flags="S"),
}

PASSES = {
    **{f"spoofed: {name}": packet for name, packet in SPOOFED.items()},
    **{f"a tunnel: {name}": packet for name, packet in TUNNELS.items()},
    **{f"headers: {name}": syn6(extensions=chain) for name, chain in CHAINS.items()},
    **{f"a lie: {name}": packet for name, packet in LIES6.items()},
    **{f"port 0: {name}": packet for name, packet in ZERO.items()},
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", PASSES)
def test_passes(name: str, hook: str, director: Plane) -> None:
    packet, before = PASSES[name], director.state()
    raw = bytes(from_client(packet))
    if isinstance(packet, Raw):
        raw = raw[:12] + b"\x86\xdd" + bytes(packet)
    outcome = director.run(hook, raw)
    assert (outcome.verdict, outcome.frame) == (PASS, raw)
    assert director.state() == before


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", FEW)
def test_a_few_extension_headers_are_stepped_over(name: str, hook: str, director: Plane) -> None:
    """What is passed above is not passed for having any."""
    packet = syn6(82, extensions=FEW[name])
    outcome = director.run(hook, bytes(from_client(packet)))
    packet.hlim -= 1
    assert (outcome.verdict, outcome.frame[14:].hex()) == (SENT, bytes(packet).hex())


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(("source", "port"), [(RIP1, 80), (RIP2, 80), (RIP1, 84)])
def test_a_real_server_may_be_a_client(source: str, port: int, hook: str, director: Plane) -> None:
    """As with the kernel's IPVS; also of itself."""
    packet = request(port, ip={"src": source})
    assert director.run(hook, bytes(from_client(packet))).verdict == SENT
    assert [str(one.client.address) for one in director.connections()] == [source]


# -- FULLNAT


def segment(source: str, sport: int, local: int, flags: str) -> bytes:
    """What comes back to the local address."""
    return bytes(from_server(IP(src=source, dst=LIP) / TCP(sport=sport, dport=local, flags=flags, ack=100)))


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("flags", ["SA", "A", "S", "R"])
def test_an_answer_of_a_server_that_was_not_asked(flags: str, hook: str, director: Plane) -> None:
    opened = IP(director.run(hook, bytes(from_client(request(85)))).frame[14:])
    assert (opened.src, opened.dst) == (LIP, RIP1)
    before = director.state()
    for source, port, local in (
        (RIP2, 8585, opened.sport),
        (CIP, 8585, opened.sport),
        (RIP1, 8586, opened.sport),
        (RIP1, 8585, opened.sport ^ 1),
    ):
        raw = segment(source, port, local, flags)
        outcome = director.run(hook, raw)
        assert (outcome.verdict, outcome.frame) == (PASS, raw)
    assert director.state() == before
    assert director.run(hook, segment(RIP1, 8585, opened.sport, flags)).verdict == SENT
