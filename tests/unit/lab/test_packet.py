"""Frames in, packets out."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, GRE, Ether

from pylvs.lab.packet import Outer, Packet, parse
from pylvs.model import Endpoint, TunnelType

if TYPE_CHECKING:
    from scapy.packet import Packet as Scapy

CIP, VIP = "110.0.0.1", "192.168.101.100"
CIP6, VIP6 = "2001:db8:110::1", "fd00:101::100"
DIP, RIP, DIP6, RIP6 = "198.51.100.200", "203.0.113.110", "2001:db8:51::200", "2001:db8:113::110"
CLIENT, ROUTER = "02:00:00:0c:00:00", "02:00:00:0e:00:00"
ETHER = Ether(src=CLIENT, dst=ROUTER)
SEGMENT = TCP(sport=40000, dport=80, flags="PA", seq=1001, ack=7) / b"GET / HTTP/1.1\r\n\r\n"
GET, GET6 = IP(src=CIP, dst=VIP, ttl=63) / SEGMENT, IPv6(src=CIP6, dst=VIP6, hlim=63) / SEGMENT


def test_parse() -> None:
    assert parse(bytes(ETHER / GET)) == Packet(
        source_mac=CLIENT,
        destination_mac=ROUTER,
        source=Endpoint(IPv4Address(CIP), 40000),
        destination=Endpoint(IPv4Address(VIP), 80),
        ttl=63,
        opens=False,
        sequence=1001,
        acknowledgement=7,
        payload=b"GET / HTTP/1.1\r\n\r\n",
    )


def test_padding_is_no_payload() -> None:
    packet = parse(bytes(ETHER / IP(src=CIP, dst=VIP) / TCP()) + bytes(6))
    assert packet is not None
    assert packet.payload == b""


def test_options_are_no_payload() -> None:
    packet = parse(bytes(ETHER / IP(src=CIP, dst=VIP, options=b"\x01\x01\x01\x00") / TCP(options=[("MSS", 9)]) / b"x"))
    assert packet is not None
    assert packet.payload == b"x"


NOT_PARSED = {
    "nothing": b"",
    "ARP": bytes(ETHER / ARP()),
    "IPv6 in an IPv4 frame": bytes(Ether(type=0x0800) / IPv6() / TCP()),
    "IPv6 with an extension": bytes(ETHER / IPv6(nh=0) / TCP()),
    "UDP": bytes(ETHER / IP() / UDP()),
    "first fragment": bytes(ETHER / IP(flags="MF") / TCP()),
    "later fragment": bytes(ETHER / IP(frag=2) / TCP()),
    "header length below the least": bytes(ETHER / IP(ihl=4) / TCP()),
    "header length beyond the end": bytes(ETHER / IP(ihl=15) / TCP()),
    "another version in an IPv4 frame": bytes(ETHER / IP(version=6) / TCP()),
}


@pytest.mark.parametrize("content", NOT_PARSED.values(), ids=NOT_PARSED)
def test_not_parsed(content: bytes) -> None:
    assert parse(content) is None


@pytest.mark.parametrize("length", range(54))
def test_cut_off(length: int) -> None:
    assert parse(bytes(ETHER / GET)[:length]) is None


def test_parse_ipv6() -> None:
    packet = parse(bytes(ETHER / GET6) + bytes(3))
    assert packet is not None
    assert (packet.source, packet.destination) == (
        Endpoint(IPv6Address(CIP6), 40000),
        Endpoint(IPv6Address(VIP6), 80),
    )
    assert (packet.ttl, packet.outer, packet.payload) == (63, None, b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("length", range(74))
def test_cut_off_ipv6(length: int) -> None:
    assert parse(bytes(ETHER / GET6)[:length]) is None


def gue(inner: Scapy, protocol: int, fields: bytes = b"", flags: int = 0) -> Scapy:
    """GUE as a scapy layer: the header's length in words, the protocol, the flags, and what they announce."""
    return UDP(sport=50000, dport=6080) / (
        struct.pack("!BBH", len(fields) // 4, protocol, flags) + fields + bytes(inner)
    )


OUTER, OUTER6 = IP(src=DIP, dst=RIP, ttl=62), IPv6(src=DIP6, dst=RIP6, hlim=61)
WRAPPED = {
    "IPIP, 4 in 4": (OUTER / GET, TunnelType.IPIP),
    "IPIP, 6 in 4": (OUTER / GET6, TunnelType.IPIP),
    "IPIP, 4 in 6": (OUTER6 / GET, TunnelType.IPIP),
    "IPIP, 6 in 6": (OUTER6 / GET6, TunnelType.IPIP),
    "GRE": (OUTER / GRE() / GET, TunnelType.GRE),
    "GRE, 6 in 6": (OUTER6 / GRE() / GET6, TunnelType.GRE),
    "GRE with a checksum": (OUTER / GRE(chksum_present=1) / GET, TunnelType.GRE),
    "GRE with everything": (OUTER / GRE(chksum_present=1, key_present=1, seqnum_present=1) / GET, TunnelType.GRE),
    "GUE": (OUTER / gue(GET, 4), TunnelType.GUE),
    "GUE, 6 in 6": (OUTER6 / gue(GET6, 41), TunnelType.GUE),
    "GUE with the remote checksum": (OUTER / gue(GET, 4, bytes(8), 0x8000), TunnelType.GUE),
}


@pytest.mark.parametrize(("wrapped", "kind"), WRAPPED.values(), ids=WRAPPED)
def test_wrapped(wrapped: Scapy, kind: TunnelType) -> None:
    packet = parse(bytes(ETHER / wrapped))
    assert packet is not None
    assert (packet.ttl, packet.sequence, packet.payload) == (63, 1001, b"GET / HTTP/1.1\r\n\r\n")
    assert packet.outer == (
        Outer(kind, IPv6Address(DIP6), IPv6Address(RIP6), 61)
        if isinstance(wrapped, IPv6)
        else Outer(kind, IPv4Address(DIP), IPv4Address(RIP), 62)
    )


NOTHING_WITHIN = {
    "GRE of something else": OUTER / GRE(proto=0x6558) / GET,
    "GRE cut off": OUTER / GRE(),
    "GUE of something else": OUTER / gue(GET, 17),
    "GUE of another variant": OUTER / UDP(dport=6080) / (b"\x40" + bytes(3) + bytes(GET)),
    "a GUE control message": OUTER / UDP(dport=6080) / (b"\x20\x04" + bytes(2) + bytes(GET)),
    "GUE that lies about its length": OUTER / UDP(dport=6080) / (b"\x1f\x04" + bytes(2) + bytes(GET)),
    "a tunnel in a tunnel": OUTER / OUTER / GET,
    "the wrong version in a tunnel": IP(src=DIP, dst=RIP, proto=41) / GET,
}


@pytest.mark.parametrize("wrapped", NOTHING_WITHIN.values(), ids=NOTHING_WITHIN)
def test_nothing_within(wrapped: Scapy) -> None:
    assert parse(bytes(ETHER / wrapped)) is None


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_and_cut_off(kind: str) -> None:
    content = bytes(ETHER / WRAPPED[kind][0])
    headers = len(content) - len(b"GET / HTTP/1.1\r\n\r\n")
    assert [parse(content[:length]) for length in range(headers)] == [None] * headers
