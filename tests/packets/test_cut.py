"""Packets without DF that are too big for their way out leave in fragments, as real wires show."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption, IPOption_NOP
from scapy.packet import Raw

from pylvs.director.ebpf import abi
from tests.packets.cutting import JUMBO, WAYS, Way, check, folded, furnish, piece, set_mtu, unwrapped, whole
from tests.packets.fragments import IDS, pieces
from tests.packets.frames import CPORT, hop, payload, request
from tests.packets.plane import Plane, director_apart
from tests.packets.plane import service as service_named
from tests.packets.space import inside, ip
from tests.packets.wire import CIP, MACS, NARROW, RIP4, VIP, from_client, from_server
from tests.packets.wires import ENTRANCES, ETH_P_IP, Wires

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")]

ETH_P_IPV6, SOL_PACKET, PACKET_VNET_HDR, NEEDS_CHECKSUM = 0x86DD, 263, 15, 1
LARGEST, LARGEST_FRAGMENT = 65535, 15 * 1024
TC_REDIRECT = 7
CLIENT_ROUTE = f"{CIP}/32 via 192.168.0.15"


class Narrow:
    """A director whose servers are behind a narrow link."""

    def __init__(self, plane: Plane, wires: Wires, six: Wires) -> None:
        self.plane, self.wires, self.six = plane, wires, six

    def through(self, way: Way, frames: Sequence[Any], entrance: str = "eth0", end: str = "eth1") -> list[bytes]:
        """The packets that a server gets, once these frames have come in."""
        self.wires.send(frames, entrance)
        return [frame[14:] for frame in (self.six if way.six else self.wires).receive(1, end)]

    def open(self, way: Way) -> None:
        """UDP needs no opening."""
        if way.service.startswith("tcp"):
            self.through(way, [from_client(request(way.port))])
            self.plane.forgets_the_way()

    def counters(self, way: Way) -> tuple[int, int, int]:
        counters = self.plane.director.service(service_named(way.service)).counters
        return counters.connections, counters.in_packets, counters.in_bytes


@pytest.fixture(scope="module")
def built() -> Iterator[Narrow]:
    with ExitStack() as stack:
        plane, far = stack.enter_context(director_apart())
        ip(f"link set eth2 mtu {LARGEST}")
        with inside(far):
            ip(f"link set far-eth2 mtu {LARGEST}")
        made = [Wires(plane, far, kind) for kind in (ETH_P_IP, ETH_P_IPV6)]
        for wires in made:
            stack.callback(wires.close)
        furnish(plane)
        yield Narrow(plane, *made)


@pytest.fixture
def narrow(built: Narrow) -> Narrow:
    set_mtu(built.plane, 576)
    built.plane.forget()
    return built


def at(mtu: int, way: Way) -> int:
    return max(mtu, 1280) if way.six else mtu


@pytest.mark.parametrize("entrance", ENTRANCES, ids=list(ENTRANCES.values()))
@pytest.mark.parametrize("mtu", [1491, 1280, 763, 576, 300])
@pytest.mark.parametrize("name", WAYS)
def test_every_way(name: str, mtu: int, entrance: str, narrow: Narrow) -> None:
    """The first packet asks for the way, the second one finds it known."""
    way = WAYS[name]
    set_mtu(narrow.plane, mtu)
    narrow.open(way)
    before = narrow.counters(way)
    for length in (1500, 1499):
        packet = way.packet(length)
        check(way, packet, narrow.through(way, [from_client(packet)], entrance), at(mtu, way))
    connections, packets, size = (now - was for now, was in zip(narrow.counters(way), before, strict=True))
    assert (connections + before[0], packets, size) == (1, 2, 2999), "each is counted once, as it came"


@pytest.mark.parametrize("name", WAYS)
def test_a_byte_too_much(name: str, narrow: Narrow) -> None:
    way = WAYS[name]
    set_mtu(narrow.plane, 1400)
    narrow.open(way)
    most = 1400 - way.added
    fitting, cut = (narrow.through(way, [from_client(way.packet(most + more))]) for more in (0, 1))
    assert (len(fitting), len(cut)) == (1, 2)


@pytest.mark.parametrize("mtu", [256, 1500, 9000, 40000])
@pytest.mark.parametrize("name", JUMBO)
def test_the_largest_datagram(name: str, mtu: int, narrow: Narrow) -> None:
    """Fragments are no larger than what BPF may make."""
    way, packet = JUMBO[name], JUMBO[name].packet(LARGEST)
    ip(f"route replace {RIP4}/32 dev eth2 mtu lock {mtu}")
    narrow.plane.forgets_the_way()
    packets = narrow.through(way, [from_client(packet)], "eth2", "eth2")
    check(way, packet, packets, min(mtu, LARGEST_FRAGMENT))


@pytest.mark.parametrize("name", ["IPIP", "GRE with a checksum", "GUE in IPv6"])
def test_a_large_datagram_in_a_tunnel(name: str, narrow: Narrow) -> None:
    """In as many fragments as a tunnel's packet can have: the kernel makes none larger than 16 KiB here."""
    way, packet = WAYS[name], WAYS[name].packet(15000)
    check(way, packet, narrow.through(way, [from_client(packet)], "eth2"), at(576, way))


@pytest.mark.parametrize("number", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("name", ["NAT", "DR", "FULLNAT", "IPIP", "GRE with a checksum", "GUE in IPv6"])
def test_a_fragment_in_fragments(name: str, number: int, narrow: Narrow) -> None:
    """It keeps its place in the datagram; in a tunnel, the outer packet is cut."""
    way, mtu = WAYS[name], at(576, WAYS[name])
    first, *others = pieces(WAYS[name].packet(4400))
    packet = (first, *others)[number]
    if number:
        narrow.through(way, [from_client(first)])
    packets = narrow.through(way, [from_client(packet)])
    if way.method.value == "tun":
        header, data = whole(packets, mtu)
        assert unwrapped(way, header, data) == bytes(_next_hop(packet))
        return
    header, data = whole(packets, mtu)
    assert {piece(one).header for one in packets} == {header}
    assert piece(packets[0]).at == packet.frag * 8
    assert piece(packets[-1]).more == (number < 2)
    assert struct.unpack("!H", header[4:6]) == (packet.id,)
    assert data[8:] == bytes(packet.payload)[8:]


def _next_hop(packet: Any) -> Any:
    moved = packet.copy()
    moved.ttl, moved.chksum = packet.ttl - 1, None
    return moved


@pytest.mark.parametrize("name", ["NAT", "DR"])
def test_options(name: str, narrow: Narrow) -> None:
    """One that is to be in each fragment, and one that is only for the first: the others have padding there."""
    way = WAYS[name]
    copied, not_copied = b"\x88\x04\x12\x34", b"\x44\x08\x05\x00\x01\x02\x03\x04"
    packet = way.packet(1400, options=[IPOption_NOP(), IPOption(copied), IPOption(not_copied)])
    size = len(IP(bytes(packet)).options and bytes(packet)) - len(bytes(packet.payload))
    packets = narrow.through(way, [from_client(packet)])
    _, data = whole(packets, 576, options=True)
    assert data[8:] == bytes(packet.payload)[8:]
    assert [one[20:size] for one in packets] == [
        b"\1" + copied + not_copied + bytes(size - 33),
        *[b"\1" + copied + b"\1" * 8 + bytes(size - 33)] * (len(packets) - 1),
    ]


# -- answers


@pytest.fixture
def narrow_client(narrow: Narrow) -> Iterator[Narrow]:
    """It is the way to the client that is narrow."""
    set_mtu(narrow.plane, 1500)
    ip(f"route replace {CLIENT_ROUTE} mtu lock 576")
    yield narrow
    ip(f"route del {CLIENT_ROUTE}")


@pytest.mark.parametrize("name", ["NAT", "NAT, TCP", "FULLNAT", "FULLNAT, TCP"])
def test_answers(name: str, narrow_client: Narrow) -> None:
    way = WAYS[name]
    narrow_client.open(way)
    asked = IP(narrow_client.through(way, [from_client(way.packet(100))])[0])
    narrow_client.wires.receive(0)
    layer = TCP if "TCP" in name else UDP
    ports = {"sport": asked.dport, "dport": asked.sport}
    answer = IP(src=NARROW, dst=asked.src, id=next(IDS)) / layer(**ports) / Raw(payload(1300))
    frame = from_server(answer, NARROW)
    frame.dst = "02:00:00:00:00:d1"
    narrow_client.wires.ends["eth1"].send(bytes(frame))
    header, data = whole([one[14:] for one in narrow_client.wires.receive(1)], 576)
    expected = hop(answer, {"src": VIP, "dst": CIP}, sport=way.port, dport=CPORT)
    assert data == bytes(expected)[20:]
    assert header[12:20] == bytes(expected)[12:20]


# -- checksums that the sender has left to be done


@pytest.mark.parametrize("name", [name for name in WAYS if name != "GUE"])
def test_an_undone_checksum_is_done(name: str, narrow: Narrow) -> None:
    """As a sender on the same machine leaves it: nobody could do it later, in a fragment."""
    way, mtu = WAYS[name], at(576, WAYS[name])
    narrow.open(way)
    packet = way.packet(1500)
    frame = bytes(from_client(packet))
    where = 34 + (16 if way.service.startswith("tcp") else 6)
    pseudo = frame[26:34] + struct.pack("!HH", frame[23], len(frame) - 34)
    undone = frame[:where] + struct.pack("!H", folded(pseudo)) + frame[where + 2 :]
    end = narrow.wires.ends["eth0"]
    end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    try:
        end.send(struct.pack("=BBHHHH", NEEDS_CHECKSUM, 0, 0, 0, 34, where - 34) + undone)
    finally:
        end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 0)
    got = [one[14:] for one in (narrow.six if way.six else narrow.wires).receive(1, "eth1")]
    check(way, packet, got, mtu)


# -- what is cut, and what is not


@pytest.mark.parametrize("name", WAYS)
def test_df_is_respected(name: str, narrow: Narrow) -> None:
    way = WAYS[name]
    narrow.open(way)
    outcome = narrow.plane.tc(bytes(from_client(way.packet(1500, flags="DF"))))
    assert outcome.verdict == "too_big"
    assert IP(outcome.frame[14:])[ICMP].code == 4


@pytest.mark.parametrize("name", WAYS)
def test_without_path_mtu_discovery(name: str, narrow: Narrow) -> None:
    """net.ipv4.vs.pmtu_disc=0 is about tunnels only."""
    way, packet = WAYS[name], WAYS[name].packet(1500, flags="DF")
    narrow.open(way)
    narrow.plane.settings.knob[abi.Knob.PMTU_DISC] = 0
    try:
        if way.method.value != "tun":
            assert narrow.plane.tc(bytes(from_client(packet))).verdict == "too_big"
            return
        check(way, packet, narrow.through(way, [from_client(packet)]), at(576, way))
    finally:
        narrow.plane.settings.knob[abi.Knob.PMTU_DISC] = 1


@pytest.mark.parametrize("name", ["NAT", "DR", "IPIP"])
def test_an_error_for_a_server_is_cut_whatever_it_says(name: str, narrow: Narrow) -> None:
    way = WAYS[name]
    narrow.through(way, [from_client(way.packet(100))])
    quoted = IP(src=VIP, dst=CIP) / UDP(sport=way.port, dport=CPORT) / Raw(payload(700))
    error = IP(src=CIP, dst=VIP, flags="DF", ttl=64, id=next(IDS)) / ICMP(type=3, code=3) / Raw(bytes(quoted))
    header, data = whole(narrow.through(way, [from_client(error)]), 576)
    if way.method.value == "tun":
        assert data[20:] == bytes(error)[20:]
        assert struct.unpack_from("!H", header, 4) != (0,)
    else:
        assert header[9] == 1
        assert folded(data) == 0xFFFF
        assert data[60:] == bytes(error)[80:]


def test_outer_packets_are_numbered(narrow: Narrow) -> None:
    """Ids at random would soon meet again where the fragments are put together."""
    ids = []
    for _ in range(5):
        packets = narrow.through(WAYS["IPIP"], [from_client(WAYS["IPIP"].packet(1500))])
        ids.append({struct.unpack_from("!H", one, 4)[0] for one in packets})
    assert all(len(one) == 1 for one in ids)
    first = ids[0].pop()
    assert ids[1:] == [{(first + number) % 65536} for number in range(1, 5)]


@pytest.mark.parametrize("name", ["NAT", "IPIP"])
def test_an_unknown_neighbour(name: str, narrow: Narrow) -> None:
    """One fragment leaves, so that the kernel looks for it; what it was part of is lost, and counted."""
    way = WAYS[name]
    packet = way.packet(1400)
    ip(f"neighbour del {NARROW} dev eth1")
    try:
        outcome = narrow.plane.tc(bytes(from_client(packet)))
        assert (outcome.verdict, outcome.code) == ("fragment", TC_REDIRECT)
        assert piece(outcome.frame[14:])[:2] == (0, True)
        assert len(outcome.frame) == 14 + 572
    finally:
        ip(f"neighbour replace {NARROW} lladdr {MACS[NARROW]} dev eth1 nud permanent")
    check(way, packet, narrow.through(way, [from_client(packet)]), 576)
