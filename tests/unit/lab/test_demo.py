"""When a demonstration is content."""

from __future__ import annotations

import pytest

from pylvs.lab import demo
from pylvs.lab.hop import REPLY, REQUEST, Hop
from pylvs.lab.packet import Outer, Packet
from pylvs.lab.topology import Lab, Port, Topology, topology
from pylvs.model import Endpoint, ForwardingMethod, IPAddress, TunnelType

NAT, DR, TUN, FULLNAT = (topology(Lab("x", method)) for method in ForwardingMethod)
ONE, TWO = "hello 192.168.101.110\n", "hello 192.168.101.210\n"


def hop(node: str, payload: bytes, source: IPAddress, destination: IPAddress, *, outer: Outer | None = None) -> Hop:
    packet = Packet("", "", Endpoint(source, 40000), Endpoint(destination, 80), 64, False, 1, 1, payload, outer)
    return Hop(0, Port(node, "eth0"), outgoing=payload == REPLY, packet=packet)


def way(*, source: IPAddress, destination: IPAddress, outer: Outer | None = None) -> list[Hop]:
    """As the real server sees it; only its ends matter."""
    nodes = ("client", "router", "director", "rs1")
    return [hop(node, word, source, destination, outer=outer) for word in (REQUEST, REPLY) for node in nodes]


CIP = NAT.node("client").address
WAY = way(source=CIP, destination=NAT.servers[0].address)


def complaints(network: Topology, answers: list[str], hops: list[Hop]) -> list[str]:
    return list(demo.complaints(network, network.vip, answers, hops))


def test_content() -> None:
    assert complaints(NAT, [ONE, TWO, ONE, TWO], WAY) == []


WRONG = {
    "the wrong server first": ([TWO, ONE], [1, 2]),
    "the same one twice": ([ONE, TWO, TWO], [3]),
    "no answer": ([ONE, "curl: (28) timed out"], [2]),
    "nearly": ([ONE.strip()], [1]),
}


@pytest.mark.parametrize(("answers", "numbers"), WRONG.values(), ids=WRONG)
def test_not_content_with_answers(answers: list[str], numbers: list[int]) -> None:
    said = complaints(NAT, answers, WAY)
    assert [line.split(" should")[0] for line in said] == [f"answer {number}" for number in numbers]


def test_not_content_with_half_a_way() -> None:
    assert complaints(NAT, [], WAY[:-1]) == [
        "the reply was not captured all the way, only at: client, director, router"
    ]
    assert len(complaints(NAT, [], [])) == 2


DIP = TUN.node("director").address
WRAPPED = Outer(TunnelType.IPIP, DIP, TUN.servers[0].address, 64)
LOCAL = FULLNAT.node("director").address
METHODS = {
    "DR": (DR, way(source=CIP, destination=DR.vip), []),
    "DR with a changed destination": (
        DR,
        way(source=CIP, destination=DR.servers[0].address),
        ["the request reached the real server as one to 192.168.0.188:80"],
    ),
    "NAT without a changed destination": (
        NAT,
        way(source=CIP, destination=NAT.vip),
        ["the request reached the real server as one to 192.168.101.100:80"],
    ),
    "TUN": (TUN, way(source=CIP, destination=TUN.vip, outer=WRAPPED), []),
    "TUN without a tunnel": (TUN, way(source=CIP, destination=TUN.vip), ["the request was not wrapped"]),
    "NAT in a tunnel": (
        NAT,
        way(source=CIP, destination=NAT.servers[0].address, outer=WRAPPED),
        ["the request was wrapped"],
    ),
    "FULLNAT": (FULLNAT, way(source=LOCAL, destination=FULLNAT.servers[1].address), []),
    "FULLNAT without a changed source": (
        FULLNAT,
        way(source=CIP, destination=FULLNAT.servers[1].address),
        ["the request reached the real server as one from 110.0.0.1:40000"],
    ),
}


@pytest.mark.parametrize(("network", "hops", "expected"), METHODS.values(), ids=METHODS)
def test_the_method_shows_in_the_request(network: Topology, hops: list[Hop], expected: list[str]) -> None:
    assert complaints(network, [], hops) == expected
