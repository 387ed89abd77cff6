"""Frames in, hops out."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from pylvs.lab.hop import Frame, Packet, journey, parse, taps
from pylvs.lab.topology import Lab, Port, topology
from pylvs.model import Endpoint, ForwardingMethod
from pylvs.views.hop import where

if TYPE_CHECKING:
    from scapy.packet import Packet as Scapy

CIP, VIP, RIP = "110.0.0.1", "192.168.101.100", "192.168.101.110"
CLIENT, ROUTER, DIRECTOR, SERVER = (f"02:00:00:{role}:00:00" for role in ("0c", "0e", "0d", "05"))
ETHER = Ether(src=CLIENT, dst=ROUTER)
GET = IP(src=CIP, dst=VIP, ttl=63) / TCP(sport=40000, dport=80, flags="PA") / b"GET / HTTP/1.1\r\n\r\n"
SYN = IP(src=CIP, dst=VIP) / TCP(sport=40000, dport=80, flags="S")
OK = IP(src=VIP, dst=CIP) / TCP(sport=80, dport=40000, flags="PA") / b"HTTP/1.1 200 OK\r\n\r\n"


def test_parse() -> None:
    assert parse(bytes(ETHER / GET)) == Packet(
        source_mac=CLIENT,
        destination_mac=ROUTER,
        source=Endpoint(IPv4Address(CIP), 40000),
        destination=Endpoint(IPv4Address(VIP), 80),
        ttl=63,
        opens=False,
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
    "IPv6": bytes(ETHER / IPv6() / TCP()),
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


def frame(at: int, node: str, direction: str, packet: Scapy, interface: str = "eth0") -> Frame:
    return Frame(at, Port(node, interface), direction == "out", bytes(ETHER / packet))


OPENING = frame(0, "client", "out", SYN)


def places(*frames: Frame) -> list[str]:
    return [where(hop) for hop in journey([OPENING, *frames])]


def test_request_then_reply_each_in_the_order_of_time() -> None:
    assert places(
        frame(5, "client", "in", OK),
        frame(2, "router", "in", GET),
        frame(4, "rs1", "out", OK),
        frame(1, "client", "out", GET),
    ) == ["client eth0 out", "router eth0 in", "rs1 eth0 out", "client eth0 in"]


def test_only_a_syn_without_ack_opens() -> None:
    packets = {flags: parse(bytes(ETHER / IP() / TCP(flags=flags))) for flags in ("S", "SA", "A", "FA", "R")}
    assert [flags for flags, packet in packets.items() if packet and packet.opens] == ["S"]


def test_a_retransmission_is_left_out() -> None:
    hops = journey([OPENING, frame(9, "client", "out", GET), frame(2, "client", "out", GET)])
    assert [hop.at for hop in hops] == [2]


def test_another_connection_is_left_out() -> None:
    other = IP(src=CIP, dst=VIP) / TCP(sport=39999, dport=80) / b"GET / HTTP/1.1\r\n\r\n"
    assert places(frame(1, "client", "out", other)) == []


def test_without_a_connection_there_is_no_way() -> None:
    assert journey([frame(1, "client", "out", GET)]) == []


def test_the_switch_speaks_for_a_director_whose_taps_saw_nothing() -> None:
    to, back = frame(1, "switch", "out", GET, "director"), frame(2, "switch", "in", GET, "director")
    assert places(to, back) == ["switch, to director", "switch, from director"]


def test_the_switch_is_silent_where_the_director_saw_it() -> None:
    to = frame(1, "switch", "out", GET, "director")
    assert places(to, frame(2, "director", "in", GET)) == ["director eth0 in"]


def test_taps() -> None:
    network = topology(Lab("x", ForwardingMethod.DR))
    assert sorted(f"{port.node}.{port.interface}" for port in taps(network)) == [
        "client.eth0",
        "director.eth0",
        "router.eth0",
        "router.eth1",
        "rs1.eth0",
        "rs2.eth0",
        "switch.director",
    ]
