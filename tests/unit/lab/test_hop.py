"""Frames in, hops out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from pylvs.lab.hop import Frame, journey, taps
from pylvs.lab.packet import parse
from pylvs.lab.topology import Lab, Port, topology
from pylvs.model import ForwardingMethod
from pylvs.views.hop import where

if TYPE_CHECKING:
    from scapy.packet import Packet as Scapy

CIP, VIP, DIP, RIP = "110.0.0.1", "192.168.101.100", "192.168.101.200", "192.168.101.110"
ETHER = Ether(src="02:00:00:0c:00:00", dst="02:00:00:0e:00:00")
HELLO, WELCOME = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"
ISN, SERVERS_ISN = 1000, 0xFFFFFFFF


def request(source: str, destination: str, port: int = 40000, sequence: int = ISN + 1) -> Scapy:
    tcp = TCP(sport=port, dport=80, flags="PA", seq=sequence, ack=SERVERS_ISN + 1 & 0xFFFFFFFF)
    return IP(src=source, dst=destination, ttl=63) / tcp / HELLO


def reply(source: str, destination: str, port: int = 40000) -> Scapy:
    return IP(src=source, dst=destination) / TCP(sport=80, dport=port, flags="PA", seq=0) / WELCOME


GET, OK = request(CIP, VIP), reply(VIP, CIP)
SYN = IP(src=CIP, dst=VIP) / TCP(sport=40000, dport=80, flags="S", seq=ISN)


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
    other = request(CIP, VIP, 39999, sequence=5)
    assert places(frame(1, "client", "out", other), frame(2, "client", "in", OK)) == []


def test_a_connection_is_followed_when_both_its_addresses_and_ports_change() -> None:
    assert places(
        frame(1, "client", "out", GET),
        frame(2, "rs1", "in", request(DIP, RIP, 61000)),
        frame(3, "rs1", "out", reply(RIP, DIP, 61000)),
        frame(4, "client", "in", OK),
    ) == ["client eth0 out", "rs1 eth0 in", "rs1 eth0 out", "client eth0 in"]


def test_a_reply_to_another_request_is_left_out() -> None:
    late = IP(src=VIP, dst=CIP) / TCP(sport=80, dport=40000, flags="PA", seq=77) / WELCOME
    assert places(frame(1, "client", "out", GET), frame(2, "client", "in", late)) == ["client eth0 out"]


def test_sequence_numbers_wrap_around() -> None:
    opening = IP(src=CIP, dst=VIP) / TCP(flags="S", seq=0xFFFFFFFF)
    hops = journey([frame(0, "client", "out", opening), frame(1, "client", "out", request(CIP, VIP, sequence=0))])
    assert [hop.at for hop in hops] == [1]


def test_wrapped_and_unwrapped_are_two_hops_at_one_place() -> None:
    tunnelled = IP(src=DIP, dst=RIP) / GET
    hops = journey([OPENING, *(frame(at, "rs1", "in", packet) for at, packet in ((1, tunnelled), (2, GET), (3, GET)))])
    assert [(hop.at, hop.packet.outer is None) for hop in hops] == [(1, False), (2, True)]


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


def test_taps_where_there_are_two_switches() -> None:
    names = {f"{port.node}.{port.interface}" for port in taps(topology(Lab("x", ForwardingMethod.TUN)))}
    assert {name for name in names if name.startswith("switch")} == {"switch.director"}
    assert {"router2.eth0", "router2.eth1", "router.eth2"} <= names
