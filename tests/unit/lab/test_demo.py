"""When a demonstration is content."""

from __future__ import annotations

import pytest

from pylvs.lab.demo import complaints
from pylvs.lab.hop import REPLY, REQUEST, Hop, Packet
from pylvs.lab.topology import Lab, Port, topology
from pylvs.model import Endpoint, ForwardingMethod

NAT = topology(Lab("x", ForwardingMethod.NAT))
ONE, TWO = "hello 192.168.101.110\n", "hello 192.168.101.210\n"


def hop(node: str, payload: bytes) -> Hop:
    any_endpoint = Endpoint(NAT.vip, 80)
    packet = Packet("", "", any_endpoint, any_endpoint, ttl=64, opens=False, payload=payload)
    return Hop(0, Port(node, "eth0"), outgoing=True, packet=packet)


WAY = [hop(node, word) for word in (REQUEST, REPLY) for node in ("client", "router", "director", "rs1")]


def test_content() -> None:
    assert list(complaints(NAT, [ONE, TWO, ONE, TWO], WAY)) == []


WRONG = {
    "the wrong server first": ([TWO, ONE], [1, 2]),
    "the same one twice": ([ONE, TWO, TWO], [3]),
    "no answer": ([ONE, "curl: (28) timed out"], [2]),
    "nearly": ([ONE.strip()], [1]),
}


@pytest.mark.parametrize(("answers", "numbers"), WRONG.values(), ids=WRONG)
def test_not_content_with_answers(answers: list[str], numbers: list[int]) -> None:
    said = list(complaints(NAT, answers, WAY))
    assert [line.split(" should")[0] for line in said] == [f"answer {number}" for number in numbers]


def test_not_content_with_half_a_way() -> None:
    assert list(complaints(NAT, [], WAY[:-1])) == [
        "the reply was not captured all the way, only at: client, director, router"
    ]
    assert len(list(complaints(NAT, [], []))) == 2
