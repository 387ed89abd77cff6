"""Datagrams in fragments, and the services that they are for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from pylvs.model import ForwardingMethod
from tests.packets.frames import answer, datagram, from_vip, hop, to_rip
from tests.packets.plane import Plane
from tests.packets.wire import CIP, RIP1, RIP2, VIP, from_client, from_server, to_server, word

MAPPED, ROUTED, WEB, TWO, QUIESCED = (
    f"udp {VIP}:53",
    f"udp {VIP}:54",
    f"tcp {VIP}:80",
    f"udp {VIP}:55",
    f"udp {VIP}:90",
)
IDS = itertools.count(1000)
"""Every datagram has its own, so that no test meets what another one left."""


def furnish(plane: Plane) -> None:
    """A director with the services above."""
    plane.reset()
    plane.serve(MAPPED, f"{RIP1}:5353")
    plane.serve(ROUTED, f"{RIP1}:54", method=ForwardingMethod.DR)
    plane.serve(WEB, f"{RIP1}:8080")
    plane.serve(TWO, f"{RIP1}:55", f"{RIP2}:55")
    plane.serve(QUIESCED, f"{RIP1}:90 0")


def mapped(address: str) -> bytes:
    return bytes(10) + b"\xff\xff" + word(address)


def big(size: int = 3000, port: int = 53, source: str = CIP) -> Any:
    """A datagram that comes in fragments."""
    return datagram(port, size=size, ip={"id": next(IDS) % 65536, "src": source})


def big_answer(size: int = 3000, port: int = 5353) -> Any:
    return answer(port, size=size, ip={"id": next(IDS) % 65536})


def pieces(packet: Any, *cuts: int) -> list[Any]:
    """A packet in fragments, cut at these bytes of its payload; or as an Ethernet would have them."""
    whole = IP(bytes(packet))
    data = bytes(whole.payload)
    found = []
    for start, end in itertools.pairwise((0, *(cuts or range(1480, len(data), 1480)), len(data))):
        header = whole.copy()
        header.remove_payload()
        header.frag, header.flags = start // 8, "MF" if end < len(data) else 0
        header.len = header.chksum = None
        found.append(IP(bytes(header / data[start:end])))
    return found


class Case(NamedTuple):
    """How a datagram comes in and leaves, as whole frames; `before` has opened its connection."""

    make: Callable[..., Any]
    wrap: Callable[[Any], Any]
    becomes: Callable[[Any], Any]
    before: tuple[Any, ...] = ()


CASES = {
    "NAT": Case(big, from_client, lambda packet: to_rip(packet, dport=5353)),
    "DR": Case(lambda size=3000: big(size, 54), from_client, lambda packet: to_server(hop(packet))),
    "NAT, answers": Case(
        big_answer, from_server, lambda packet: from_vip(packet, sport=53), before=(from_client(datagram()),)
    ),
}


def expected(case: Case, packet: Any, *cuts: int) -> list[Any]:
    """The frames that leave."""
    whole = case.becomes(packet)
    return [Ether(src=whole.src, dst=whole.dst) / one for one in pieces(whole.payload, *cuts)]
