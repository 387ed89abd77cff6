"""Fragments in tunnels, behind local addresses, of IPv6, and of datagrams that no connection is kept for."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from pylvs.director.ebpf import abi
from pylvs.model import Endpoint, ForwardingMethod, Protocol, RealServer, VirtualAddress, VirtualService, parse_address
from tests.packets.fragments import IDS, big, pieces
from tests.packets.frames import datagram, payload
from tests.packets.plane import HELD, PASS, SENT, Plane
from tests.packets.wire import CIP, DIP, MACS, RIP1, RIP2, VIP, from_client, from_server

pytestmark = pytest.mark.root

TUN, FULLNAT, ONE_PACKET = f"udp {VIP}:60", f"udp {VIP}:61", f"udp {VIP}:62"
CIP6, VIP6, DIP6, RIP6 = "2001:db8::1", "fd00::fa", "fd00::d0", "fd00::111"
FRAGMENT = abi.DropReason.FRAGMENT.name.lower()
SMALL = (1400, 2400)
"""Where to cut what is to fit into a tunnel."""


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """A service of each kind, and IPv6 on the wire."""
    loaded.reset()
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    for command in (
        f"-6 address replace {DIP6}/64 dev eth0 nodad",
        f"-6 neighbour replace {RIP6} lladdr {MACS[RIP1]} dev eth0 nud permanent",
        f"-6 neighbour replace fd00::15 lladdr {MACS[RIP2]} dev eth0 nud permanent",
        "-6 route replace default via fd00::15 dev eth0",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    loaded.serve(TUN, f"{RIP1}:60", method=ForwardingMethod.TUN)
    loaded.serve(FULLNAT, f"{RIP1}:6161", method=ForwardingMethod.FULLNAT)
    one_packet = VirtualAddress(Protocol.UDP, Endpoint(parse_address(VIP), 62))
    loaded.director.add_service(VirtualService(one_packet, "rr", one_packet=True))
    for rip in (RIP1, RIP2):
        loaded.add(ONE_PACKET, f"{rip}:62")
    for port, method in ((53, ForwardingMethod.NAT), (54, ForwardingMethod.DR)):
        six = VirtualAddress(Protocol.UDP, Endpoint(parse_address(VIP6), port))
        loaded.director.add_service(VirtualService(six, "rr"))
        where = Endpoint(parse_address(RIP6), 5353 if port == 53 else 54)
        loaded.director.add_server(six, RealServer(where, method))
    mixed = VirtualAddress(Protocol.UDP, Endpoint(parse_address(VIP6), 55))
    loaded.director.add_service(VirtualService(mixed, "rr"))
    loaded.director.add_server(mixed, RealServer(Endpoint(parse_address(RIP1), 55), ForwardingMethod.FULLNAT))
    yield loaded
    loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    standing.forget()
    return standing


@pytest.fixture(params=["tc", "xdp"])
def hook(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sent(plane: Plane, hook: str, frame: Any) -> bytes:
    """The packet that leaves."""
    outcome = plane.run(hook, bytes(frame))
    assert (outcome.verdict, outcome.hook) == (SENT, "tc")
    return outcome.frame[14:]


def test_tunnel(director: Plane, hook: str) -> None:
    for one in pieces(big(3000, 60), *SMALL):
        outer = IP(sent(director, hook, from_client(one)))
        assert (outer.src, outer.dst, outer.proto) == (DIP, RIP1, 4)
        one.ttl -= 1
        one.chksum = None
        assert bytes(outer.payload) == bytes(one)


def test_local_addresses_and_back(director: Plane, hook: str) -> None:
    packet = big(3000, 61)
    out = [IP(sent(director, hook, from_client(one))) for one in pieces(packet)]
    assert {(one.src, one.dst, one.id) for one in out} == {(DIP, RIP1, packet.id)}
    assert out[0][UDP].dport == 6161
    local = out[0][UDP].sport
    whole = b"".join(bytes(one.payload) for one in out)
    moved = IP(src=DIP, dst=RIP1) / UDP(sport=local, dport=6161) / Raw(payload(3000))
    assert whole == bytes(moved)[20:], "the checksum is right"

    answer = IP(src=RIP1, dst=DIP, id=next(IDS)) / UDP(sport=6161, dport=local) / Raw(payload(3000))
    back = [IP(sent(director, hook, from_server(one))) for one in pieces(answer)]
    assert {(one.src, one.dst) for one in back} == {(VIP, CIP)}
    expected = IP(src=VIP, dst=CIP) / UDP(sport=61, dport=datagram().sport) / Raw(payload(3000))
    assert b"".join(bytes(one.payload) for one in back) == bytes(expected)[20:]
    (connection,) = director.connections()
    assert connection.expires == 300


def test_an_early_answer_to_a_local_address_is_held(director: Plane, hook: str) -> None:
    answer = IP(src=RIP2, dst=DIP, id=next(IDS)) / UDP(sport=6161, dport=9) / Raw(payload(3000))
    assert director.run(hook, bytes(from_server(pieces(answer)[1]))).verdict == HELD


def test_one_packet_scheduling_schedules_datagrams(director: Plane, hook: str) -> None:
    """Each is scheduled once, as its first fragment comes; no connection is kept."""
    chosen: list[str] = []
    for _ in range(4):
        servers = {IP(sent(director, hook, from_client(one))).dst for one in pieces(big(3000, 62))}
        assert len(servers) == 1
        chosen += servers
    assert chosen in ([RIP1, RIP2] * 2, [RIP2, RIP1] * 2)
    assert director.connections() == []
    counters = director.snapshot(ONE_PACKET).counters
    assert (counters.connections, counters.in_packets) == (4, 12)


# -- IPv6


def big6(port: int = 53, size: int = 3000) -> Any:
    return IPv6(src=CIP6, dst=VIP6, hlim=64) / UDP(sport=4000, dport=port) / Raw(payload(size))


def pieces6(packet: Any, id: int, step: int = 1448) -> list[Any]:
    whole = IPv6(bytes(packet))
    data = bytes(whole.payload)
    found = []
    for start, end in itertools.pairwise((*range(0, len(data), step), len(data))):
        header = IPv6(src=whole.src, dst=whole.dst, hlim=whole.hlim)
        fragment = IPv6ExtHdrFragment(nh=17, offset=start // 8, m=end < len(data), id=id)
        found.append(header / fragment / Raw(data[start:end]))
    return found


def moved6(packet: Any, **fields: Any) -> Any:
    moved = packet.copy()
    moved.hlim -= 1
    for name, value in fields.items():
        setattr(moved if name in {"src", "dst"} else moved[UDP], name, value)
    moved[UDP].chksum = None
    return moved


@pytest.mark.parametrize(("port", "becomes"), [(53, {"dst": RIP6, "dport": 5353}), (54, {})], ids=["NAT", "DR"])
def test_ipv6(port: int, becomes: dict[str, Any], director: Plane, hook: str) -> None:
    packet, id = big6(port), next(IDS)
    for one, out in zip(pieces6(packet, id), pieces6(moved6(packet, **becomes), id), strict=True):
        assert sent(director, hook, from_client(one)) == bytes(out)
    assert len(director.connections()) == 1


def test_ipv6_answers(director: Plane, hook: str) -> None:
    sent(director, hook, from_client(big6(size=20)))
    answer = IPv6(src=RIP6, dst=CIP6, hlim=64) / UDP(sport=5353, dport=4000) / Raw(payload(3000))
    id = next(IDS)
    for one, out in zip(pieces6(answer, id), pieces6(moved6(answer, src=VIP6, sport=53), id), strict=True):
        assert sent(director, hook, from_server(one)) == bytes(out)


def test_ipv6_in_fragments_that_are_whole(director: Plane, hook: str) -> None:
    """An atomic fragment (RFC 6946) is a packet as any other: nothing is remembered of it, and nothing waits for it."""
    packet, id = big6(size=100), next(IDS)
    (atom,) = pieces6(packet, id)
    (out,) = pieces6(moved6(packet, dst=RIP6, dport=5353), id)
    assert sent(director, hook, from_client(atom)) == bytes(out)
    later = pieces6(big6(), id)[1]
    assert director.run(hook, bytes(from_client(later))).verdict == HELD


def test_ipv6_later_ones_alone(director: Plane, hook: str) -> None:
    later = pieces6(big6(), next(IDS))[1]
    assert director.run(hook, bytes(from_client(later))).verdict == HELD
    later.dst = "fd00::99"
    assert director.run(hook, bytes(from_client(later))).verdict == PASS


def test_between_the_families_fragments_are_dropped(director: Plane, hook: str) -> None:
    first, *later = pieces6(big6(55), next(IDS))
    assert director.run(hook, bytes(from_client(first))).verdict == FRAGMENT
    assert director.run(hook, bytes(from_client(later[0]))).verdict == FRAGMENT
