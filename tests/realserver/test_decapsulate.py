"""One packet in a tunnel in, one verdict and one frame out: what the real server takes, leaves and drops."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from pylvs.director.ebpf.abi import TunnelType
from tests.realserver.frames import (
    CIP,
    CIP6,
    RIP,
    STRANGER,
    STRANGER6,
    TUNNELS,
    VIP,
    VIP6,
    decapsulated,
    frame,
    gre,
    gre_csum,
    gue,
    gue_nocsum,
    gue_remcsum,
    ipip,
    next_header,
    outer,
    undone,
)
from tests.realserver.plane import DROPPED, LEFT, TAKEN, Outcome, Plane

pytestmark = pytest.mark.root

PORTS = {"sport": 40000, "dport": 80}
DATA = bytes(1 + index * 7 % 255 for index in range(3000))


def tcp(size: int = 0, *, ip: dict[str, Any] | None = None, **fields: Any) -> bytes:
    head = IP(**{"src": CIP, "dst": VIP, "ttl": 62, "id": 7, "flags": "DF", **(ip or {})})
    return bytes(head / TCP(**{**PORTS, "seq": 99, "flags": "PA", **fields}) / Raw(DATA[:size]))


def tcp6(size: int = 0, *, ip: dict[str, Any] | None = None) -> bytes:
    head = IPv6(**{"src": CIP6, "dst": VIP6, "hlim": 62, "fl": 0x12345, **(ip or {})})
    return bytes(head / TCP(**PORTS, seq=99, flags="PA") / Raw(DATA[:size]))


def udp(size: int = 9) -> bytes:
    return bytes(IP(src=CIP, dst=VIP, id=9) / UDP(**PORTS) / Raw(DATA[:size]))


def udp6(size: int = 9) -> bytes:
    return bytes(IPv6(src=CIP6, dst=VIP6) / UDP(**PORTS) / Raw(DATA[:size]))


INNER = {
    "SYN": tcp(),
    "segment": tcp(1400),
    "odd": tcp(511),
    "longer than a frame": tcp(2500),
    "UDP": udp(),
    "empty datagram": udp(0),
    "options": tcp(10, ip={"options": [IPOption_NOP()] * 4}),
    "IPv6 SYN": tcp6(),
    "IPv6 segment": tcp6(1400),
    "IPv6 odd": tcp6(37),
    "IPv6 UDP": udp6(),
}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_taken_out(plane: Plane, tunnel: str, inner: bytes, family: int) -> None:
    got = plane.receive(frame(TUNNELS[tunnel](inner, family)))
    assert got == Outcome(TAKEN, tunnel.partition(" ")[0], decapsulated(inner))


def test_what_needs_no_transport_is_taken_as_it_is(plane: Plane) -> None:
    """Fragments of what a client sent, ICMP errors, extension headers."""
    whole = tcp(600, ip={"flags": 0})
    first, later = (bytes(part) for part in IP(whole).fragment(400)[:2])
    icmp = bytes(IP(src=CIP, dst=VIP) / ICMP(type=3, code=4) / IP(src=VIP, dst=CIP) / TCP(sport=80))
    extended = bytes(IPv6(src=CIP6, dst=VIP6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(m=1) / TCP(**PORTS))
    for inner in (first, later, icmp, extended):
        assert plane.receive(frame(ipip(inner))) == Outcome(TAKEN, "ipip", decapsulated(inner))


def test_the_second_port_of_gue(plane: Plane) -> None:
    got = plane.receive(frame(gue(tcp(), udp={"dport": 6081})))
    assert got == Outcome(TAKEN, "gue", decapsulated(tcp()))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("make", [tcp, tcp6])
@pytest.mark.parametrize("tunnel", ["ipip", "gre", "gue", "gue remcsum"])
def test_congestion_in_the_tunnel(plane: Plane, tunnel: str, make: Callable[..., bytes], family: int) -> None:
    """RFC 6040, as the kernel's tunnels do it."""
    mark = "tos" if make is tcp else "tc"
    ce, outer_mark = 3, "tos" if family == 4 else "tc"
    for inner, expected in ((2, 3), (1, 3), (3, 3), (0, None)):
        got = plane.receive(frame(TUNNELS[tunnel](make(5, ip={mark: 0xB8 | inner}), family, **{outer_mark: ce})))
        if expected is None:
            assert (got.action, got.counted) == (DROPPED, "drop_ecn")
        else:
            assert got.frame == decapsulated(make(5, ip={mark: 0xB8 | expected}))
    for inner in range(4):
        got = plane.receive(frame(TUNNELS[tunnel](make(5, ip={mark: inner}), family, **{outer_mark: 0xB8 | 2})))
        assert got.frame == decapsulated(make(5, ip={mark: inner}))


def _hopped(packet: bytes) -> bytes:
    """Two routers further on."""
    raw = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    if isinstance(raw, IP):
        raw.ttl -= 2
        del raw.chksum
        return bytes(raw)
    return packet[:7] + bytes([packet[7] - 2]) + packet[8:]


RECORDED = json.loads((Path(__file__).parents[1] / "golden/tunnel/recorded.json").read_text())


@pytest.fixture(scope="module")
def recording() -> Iterator[Plane]:
    loaded = Plane(vips=("10.20.0.100", "fd00:20::100"), rips=("10.40.0.11", "fd00:40::11"))
    yield loaded
    loaded.close()


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["name"])
def test_what_a_kernels_director_sent(recording: Plane, row: dict[str, str]) -> None:
    """Recorded on the wire: a client's packet, and what the director of a real kernel made of it."""
    came = bytes.fromhex(row["came"])
    got = recording.receive(frame(IP(came) if came[0] >> 4 == 4 else IPv6(came)))
    assert got.action == TAKEN
    assert got.frame == decapsulated(_hopped(bytes.fromhex(row["sent"])))


def _cut(packet: Any, by: int) -> bytes:
    return frame(packet)[:-by]


def _changed(packet: Any, at: int, *values: int) -> bytes:
    """With other bytes at a place in the outer packet."""
    raw = bytearray(frame(packet))
    raw[14 + at : 14 + at + len(values)] = bytes(values)
    return bytes(raw)


def _length(inner: bytes, more: int) -> bytes:
    """The packet with a length that lies, and a header checksum that does not."""
    packet = IP(inner) if inner[0] >> 4 == 4 else IPv6(inner)
    if isinstance(packet, IP):
        packet.len += more
        del packet.chksum
        return bytes(packet)
    packet.plen += more
    return bytes(packet)


def _gue_header(form: int = 0, protocol: int = 4, flags: int = 0, rest: bytes = b"") -> bytes:
    return struct.pack("!BBH", form, protocol, flags) + rest


ELSEWHERE = bytes(IP(src=CIP, dst="192.168.0.99") / TCP(**PORTS))
ELSEWHERE6 = bytes(IPv6(src=CIP6, dst="fd00:20::99") / TCP(**PORTS))

LEAVES = {
    "no tunnel": (frame(IP(src=CIP, dst=VIP) / TCP(**PORTS)), ""),
    "no tunnel, IPv6": (frame(IPv6(src=CIP6, dst=VIP6) / TCP(**PORTS)), ""),
    "another port": (frame(gue(tcp(), udp={"dport": 6082})), ""),
    "port 0": (frame(gue(tcp(), udp={"dport": 0})), ""),
    "to another host": (frame(ipip(tcp(), dst="192.168.0.112")), ""),
    "to another host, IPv6": (frame(gre(tcp(), 6, dst="fd00:40::12")), ""),
    "to the VIP": (frame(ipip(tcp(), dst=VIP)), ""),
    "for no VIP": (frame(ipip(ELSEWHERE)), "left_not_vip"),
    "for no VIP, IPv6": (frame(gue(ELSEWHERE6)), "left_not_vip"),
    "for the RIP": (frame(gre(bytes(IP(src=CIP, dst=RIP) / TCP(**PORTS)))), "left_not_vip"),
    "an IPv4-mapped VIP": (frame(ipip(bytes(IPv6(src=CIP6, dst=f"::ffff:{VIP}") / TCP(**PORTS)))), "left_header"),
    "a later fragment": (frame(ipip(tcp(), flags=0, frag=8)), "left_fragment"),
    "a later fragment of GUE has no port": (frame(gue(tcp(), flags=0, frag=1)), ""),
    "a later fragment of GRE": (frame(gre(tcp(), flags=0, frag=8)), "left_fragment"),
    "an IPv6 fragment": (
        frame(outer(6) / IPv6ExtHdrFragment(nh=4, offset=8) / Raw(tcp())),
        "left_fragment",
    ),
    "outer options": (frame(ipip(tcp(), options=[IPOption_NOP()] * 4)), ""),
    "outer extension header": (frame(outer(6) / IPv6ExtHdrHopByHop(nh=4) / Raw(tcp())), ""),
    "a wrong outer checksum": (_changed(ipip(tcp()), 10, 1, 2), ""),
    "a wrong outer version": (_changed(ipip(tcp()), 0, 0x55), ""),
    "cut behind the outer header": (frame(ipip(tcp()))[:34], ""),
    "shorter than the outer length": (_cut(ipip(tcp(100)), 1), ""),
    "shorter than the outer length, IPv6": (_cut(ipip(tcp(100), 6), 1), ""),
    "nothing in it": (frame(ipip(b"\x45")), "left_header"),
    "half a header in it": (frame(ipip(tcp()[:19])), "left_header"),
    "half an IPv6 header in it": (frame(ipip(tcp6()[:39])), "left_header"),
    "IPv6 by name, IPv4 by content": (frame(next_header(outer(4), 41) / Raw(tcp(60))), "left_header"),
    "IPv4 by name, IPv6 by content": (frame(next_header(outer(4), 4) / Raw(tcp6())), "left_header"),
    "GRE without a header": (frame(next_header(outer(4), 47) / Raw(b"\0")), "left_header"),
    "GRE with a key": (frame(gre(tcp(), header={"key_present": 1, "key": 5})), "left_header"),
    "GRE with a sequence number": (frame(gre(tcp(), header={"seqnum_present": 1})), "left_header"),
    "GRE with a key and a checksum": (frame(gre(tcp(), header={"key_present": 1, "chksum_present": 1})), "left_header"),
    "GRE with routing": (_changed(gre(tcp()), 20, 0x40), "left_header"),
    "GRE version 1": (frame(gre(tcp(), header={"version": 1})), "left_header"),
    "GRE of Ethernet": (frame(gre(tcp(), header={"proto": 0x6558})), "left_header"),
    "GRE cut before its checksum": (frame(next_header(outer(4), 47) / Raw(b"\x80\0\x08\0")), "left_header"),
    "GUE without a header": (frame(gue(b"", header=b"\0\x04")), "left_header"),
    "GUE version 1": (frame(gue(tcp(), header=_gue_header(0x40))), "left_header"),
    "GUE direct": (frame(gue(tcp(), header=b"")), "left_header"),
    "GUE control": (frame(gue(tcp(), header=_gue_header(0x20))), "left_header"),
    "GUE of TCP": (frame(gue(tcp(), header=_gue_header(protocol=6))), "left_header"),
    "GUE with flags": (frame(gue(tcp(), header=_gue_header(flags=0x8000))), "left_header"),
    "GUE with a length alone": (frame(gue(tcp(), header=_gue_header(1, rest=bytes(4)))), "left_header"),
    "GUE with another option": (frame(gue(tcp(), header=_gue_header(2, flags=1, rest=bytes(8)))), "left_header"),
    "GUE cut within its option": (frame(gue(b"", header=_gue_header(2, flags=1, rest=bytes(4)))), "left_header"),
    "GUE, UDP length too long": (frame(gue(tcp(), udp={"len": 80})), "left_header"),
    "GUE, UDP length too short": (frame(gue(tcp(), udp={"len": 40})), "left_header"),
    "another VLAN": (bytes(Ether(dst="00:00:00:00:00:00") / Dot1Q(vlan=5) / ipip(tcp())), ""),
    "for another machine": (bytes(Ether(dst="02:00:00:00:00:99") / ipip(tcp())), ""),
}


@pytest.mark.parametrize(("came", "counted"), LEAVES.values(), ids=LEAVES)
def test_left_to_the_kernel(plane: Plane, came: bytes, counted: str) -> None:
    assert plane.receive(came) == Outcome(LEFT, counted, came)


IN_TUNNEL = bytes(IP(src=CIP, dst=VIP, proto=4) / Raw(tcp()))

DROPS = {
    "longer than the tunnel": (ipip(_length(tcp(), 1)), "drop_length"),
    "much longer": (gre(_length(tcp(), 60000)), "drop_length"),
    "IPv6, longer than the tunnel": (gue(_length(tcp6(), 1)), "drop_length"),
    "shorter than its header": (ipip(_length(tcp(), -25)), "drop_length"),
    "IPIP in IPIP": (ipip(IN_TUNNEL), "drop_nested"),
    "GRE in GUE": (gue(bytes(IP(src=CIP, dst=VIP, proto=47) / Raw(bytes(8) + tcp()))), "drop_nested"),
    "IPv6 in IPv6 in GRE": (gre(bytes(IPv6(src=CIP6, dst=VIP6, nh=41) / Raw(tcp6()))), "drop_nested"),
    "remcsum: a wrong checksum": (gue_remcsum(tcp(9), udp={"chksum": 0x1234}), "drop_checksum"),
    "remcsum: no checksum": (gue_remcsum(tcp(9), udp={"chksum": 0}), "drop_checksum"),
    "remcsum: from elsewhere": (gue_remcsum(tcp(9), start=0), "drop_checksum"),
    "remcsum: behind the end": (gue_remcsum(tcp(9), start=2000, offset=2016), "drop_checksum"),
    "remcsum: to elsewhere": (gue_remcsum(tcp(9), offset=12), "drop_checksum"),
    "remcsum: UDP's place for TCP": (gue_remcsum(tcp(9), offset=26), "drop_checksum"),
    "remcsum of ICMP": (gue_remcsum(bytes(IP(src=CIP, dst=VIP) / ICMP())), "drop_checksum"),
    "remcsum: no room for it": (gue_remcsum(bytes(IP(src=CIP, dst=VIP, proto=6) / Raw(bytes(17)))), "drop_checksum"),
}


@pytest.mark.parametrize(("packet", "counted"), DROPS.values(), ids=DROPS)
def test_dropped(plane: Plane, packet: Any, counted: str) -> None:
    got = plane.receive(frame(packet))
    assert (got.action, got.counted) == (DROPPED, counted)


def test_remcsum_of_a_sender_whose_device_was_to_compute_the_outer_checksum(plane: Plane) -> None:
    """Then the sum of the outer pseudo header stands in its place, and nothing can be checked."""
    whole = bytes(gue_remcsum(tcp(100)))
    came = undone(whole)
    assert came != whole
    got = plane.receive(frame(IP(came)))
    assert got == Outcome(TAKEN, "gue", decapsulated(tcp(100)))


def test_remcsum_makes_a_wrong_inner_checksum_right_only_where_it_was_undone(plane: Plane) -> None:
    """Whatever stands in the field is part of the sum, as for any receiver of this option."""
    broken = tcp(100, chksum=0x1111)
    got = plane.receive(frame(gue(broken)))
    assert got == Outcome(TAKEN, "gue", decapsulated(broken))


def test_bytes_behind_the_outer_packet_are_no_part_of_it(plane: Plane) -> None:
    """A short frame is padded; a length that only the padding would make true is a lie."""
    assert plane.receive(frame(ipip(tcp())) + bytes(9)).frame == decapsulated(tcp()) + bytes(9)
    got = plane.receive(frame(ipip(_length(tcp(), 4))) + bytes(9))
    assert (got.action, got.counted) == (DROPPED, "drop_length")


@pytest.mark.parametrize("tunnel", [ipip, gre_csum, gue_nocsum])
def test_none_but_directors(tunnel: Callable[..., Any]) -> None:
    plane = Plane(only_directors=True)
    try:
        for family, stranger in ((4, STRANGER), (6, STRANGER6)):
            came = frame(tunnel(tcp(), family, src=stranger))
            assert plane.receive(came) == Outcome(LEFT, "left_stranger", came)
            assert plane.receive(frame(tunnel(tcp(), family))).action == TAKEN
    finally:
        plane.close()


@pytest.mark.parametrize(
    ("kind", "takes"),
    [
        (TunnelType.IPIP, {"ipip"}),
        (TunnelType.GRE, {"gre", "gre csum"}),
        (TunnelType.GUE, {"gue", "gue nocsum", "gue remcsum"}),
    ],
)
def test_none_but_the_types_asked_for(kind: TunnelType, takes: set[str]) -> None:
    plane = Plane(kind)
    try:
        took = {name for name, tunnel in TUNNELS.items() if plane.receive(frame(tunnel(tcp()))).action == TAKEN}
        assert took == takes
    finally:
        plane.close()
