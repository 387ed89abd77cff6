"""FULLNAT: local addresses and ports, both ways, in both families and between them; and what the server is told."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, PadN
from scapy.packet import Raw

from pylvs.director.ebpf import abi
from pylvs.model import Endpoint, ForwardingMethod, Protocol, RealServer, VirtualAddress, VirtualService, parse_address
from tests.packets.frames import payload
from tests.packets.plane import SENT, Plane
from tests.packets.wire import CIP, DIP, MACS, RIP1, RIP2, VIP, from_client, from_server

pytestmark = pytest.mark.root

CIP6, VIP6, DIP6, RIP6 = "2001:db8::1", "fd00::fa", "fd00::d0", "fd00::111"
CPORT = 40000
FIRST, LAST = 1024, 32767
TOA = 254
KINDS = {
    "IPv4": (VIP, RIP1, CIP, DIP),
    "IPv6": (VIP6, RIP6, CIP6, DIP6),
    "IPv4 to IPv6": (VIP, RIP6, CIP, DIP6),
    "IPv6 to IPv4": (VIP6, RIP1, CIP6, DIP),
}
PORT = dict(zip(KINDS, (80, 81, 82, 83), strict=True))


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """A service of each kind, with another port at its server, and IPv6 on the wire."""
    loaded.reset()
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    for command in (
        f"-6 address replace {DIP6}/64 dev eth0 nodad",
        f"-6 neighbour replace {RIP6} lladdr {MACS[RIP1]} dev eth0 nud permanent",
        f"-6 neighbour replace fd00::15 lladdr {MACS[RIP2]} dev eth0 nud permanent",
        "-6 route replace default via fd00::15 dev eth0",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    for kind, (vip, rip, _, _) in KINDS.items():
        for protocol in (Protocol.TCP, Protocol.UDP):
            id = VirtualAddress(protocol, Endpoint(parse_address(vip), PORT[kind]))
            loaded.director.add_service(VirtualService(id, "rr"))
            loaded.director.add_server(id, RealServer(Endpoint(parse_address(rip), 8080), ForwardingMethod.FULLNAT))
    yield loaded
    loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    standing.forget()
    return standing


def ip(source: str, destination: str, ttl: int = 64) -> Any:
    if ":" in source:
        return IPv6(src=source, dst=destination, hlim=ttl)
    return IP(src=source, dst=destination, ttl=ttl, flags="DF")


def client(kind: str, flags: str, size: int = 0, *, port: int = CPORT, options: Any = ()) -> bytes:
    vip, _, cip, _ = KINDS[kind]
    segment = TCP(sport=port, dport=PORT[kind], flags=flags, seq=99, options=list(options)) / Raw(payload(size))
    return bytes(from_client(ip(cip, vip) / segment))


def server(kind: str, flags: str, local: int, size: int = 0, options: Any = ()) -> bytes:
    _, rip, _, lip = KINDS[kind]
    segment = TCP(sport=8080, dport=local, flags=flags, ack=100, options=list(options)) / Raw(payload(size))
    return bytes(from_server(ip(rip, lip) / segment))


def sent(plane: Plane, hook: str, frame: bytes, by: str = "") -> Any:
    """The packet that leaves, its checksums right."""
    plane.knows_the_way()
    outcome = plane.run(hook, frame)
    assert outcome.verdict == SENT
    assert not by or outcome.hook == by
    raw = outcome.frame[14:]
    packet = IPv6(raw) if raw[0] >> 4 == 6 else IP(raw)
    again = packet.copy()
    if isinstance(again, IP):
        again.chksum = None
    again.payload.chksum = None
    assert bytes(again) == raw
    return packet


def addresses(packet: Any) -> tuple[str, int, str, int]:
    return packet.src, packet.payload.sport, packet.dst, packet.payload.dport


def told(packet: Any) -> bytes | None:
    """The option, as far as there is one."""
    return next((bytes(value) for kind, value in packet[TCP].options if kind == TOA), None)


def expected_option(kind: str) -> bytes:
    cip = KINDS[kind][2]
    family = socket.AF_INET6 if ":" in cip else socket.AF_INET
    return struct.pack("!H", CPORT) + socket.inet_pton(family, cip)


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_connection(kind: str, hook: str, director: Plane) -> None:
    """Both addresses change, both ways; the TTL goes down by one."""
    vip, rip, cip, lip = KINDS[kind]
    syn = sent(director, hook, client(kind, "S"))
    source, local, destination, port = addresses(syn)
    assert (source, destination, port) == (lip, rip, 8080)
    assert FIRST <= local <= LAST
    assert (syn.hlim if ":" in rip else syn.ttl) == 63
    answer = sent(director, hook, server(kind, "SA", local))
    assert addresses(answer) == (vip, PORT[kind], cip, CPORT)
    data = sent(director, hook, client(kind, "PA", 100))
    assert addresses(data) == (lip, local, rip, 8080)
    assert bytes(data[TCP].payload) == payload(100)


@pytest.mark.parametrize("size", [0, 1, 7, 512, 513, 1400])
@pytest.mark.parametrize("kind", KINDS)
def test_the_server_is_told_the_client_until_it_answers(kind: str, size: int, director: Plane) -> None:
    options = [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]
    syn = sent(director, "tc", client(kind, "S"))
    assert told(syn) is None
    local = syn.sport if hasattr(syn, "sport") else syn.payload.sport
    sent(director, "tc", server(kind, "SA", local))
    for _ in range(2):
        data = sent(director, "xdp", client(kind, "PA", size, options=options), by="tc")
        assert told(data) == expected_option(kind)
        assert bytes(data[TCP].payload) == payload(size)
        assert ("Timestamp", (1, 2)) in data[TCP].options
    sent(director, "tc", server(kind, "A", local))
    assert told(sent(director, "tc", client(kind, "PA", size))) is None


@pytest.mark.parametrize("kind", ["IPv4", "IPv6"])
def test_xdp_takes_over_once_the_server_knows(kind: str, director: Plane) -> None:
    local = sent(director, "tc", client(kind, "S")).payload.sport
    sent(director, "tc", client(kind, "A"), by="tc")
    sent(director, "tc", server(kind, "PA", local, 10))
    assert told(sent(director, "xdp", client(kind, "A"), by="xdp")) is None
    sent(director, "xdp", server(kind, "PA", local, 10))  # once a second the kernel is asked
    answer = sent(director, "xdp", server(kind, "PA", local, 10), by="xdp")
    assert addresses(answer) == (KINDS[kind][0], PORT[kind], KINDS[kind][2], CPORT)


@pytest.mark.parametrize(("kind", "less"), [("IPv4", 8), ("IPv6", 20), ("IPv4 to IPv6", 8), ("IPv6 to IPv4", 20)])
@pytest.mark.parametrize("before", [(), (("NOP", None),)])
def test_the_servers_mss_leaves_room(kind: str, less: int, before: Any, director: Plane) -> None:
    """Also where it stands at an odd place."""
    local = sent(director, "tc", client(kind, "S")).payload.sport
    answer = sent(director, "tc", server(kind, "SA", local, options=(*before, ("MSS", 1460))))
    assert dict(answer[TCP].options)["MSS"] == 1460 - less


def test_an_option_that_has_no_room_is_left_out(director: Plane) -> None:
    sent(director, "tc", client("IPv4", "S"))
    full = [("Timestamp", (1, 2))] * 4
    assert told(sent(director, "tc", client("IPv4", "A", options=full))) is None
    assert told(sent(director, "tc", client("IPv4", "PA", 1455))) is None


def with_options(packet: Any) -> Any:
    """The same with four bytes of IPv4's, or with an extension header."""
    if isinstance(packet, IP):
        return IP(src=packet.src, dst=packet.dst, ttl=packet.ttl, options=[IPOption_NOP()] * 4) / packet.payload
    header = IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim)
    return header / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / packet.payload


@pytest.mark.parametrize("kind", ["IPv4 to IPv6", "IPv6 to IPv4"])
def test_options_stay_behind_where_the_family_changes(kind: str, director: Plane) -> None:
    vip, _, cip, lip = KINDS[kind]
    segment = TCP(sport=CPORT, dport=PORT[kind], flags="S", seq=99) / Raw(payload(31))
    packet = sent(director, "tc", bytes(from_client(with_options(ip(cip, vip) / segment))))
    assert len(packet) == (40 if ":" in lip else 20) + len(segment)
    assert bytes(packet[TCP].payload) == payload(31)
    answer = TCP(sport=8080, dport=packet[TCP].sport, flags="SA") / Raw(payload(7))
    back = sent(director, "tc", bytes(from_server(with_options(ip(KINDS[kind][1], lip) / answer))))
    assert addresses(back) == (vip, PORT[kind], cip, CPORT)
    assert bytes(back[TCP].payload) == payload(7)


def test_a_packet_gets_longer_by_the_larger_header(director: Plane) -> None:
    kind = "IPv4 to IPv6"
    local = sent(director, "tc", client(kind, "S")).payload.sport
    sent(director, "tc", server(kind, "A", local))
    assert len(sent(director, "tc", client(kind, "PA", 1440))) == 1500
    outcome = director.tc(client(kind, "PA", 1441))
    assert outcome.verdict == "too_big"
    assert (IP(outcome.frame[14:])[ICMP].code, IP(outcome.frame[14:])[ICMP].nexthopmtu) == (4, 1480)


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("kind", KINDS)
def test_udp(kind: str, hook: str, director: Plane) -> None:
    vip, rip, cip, lip = KINDS[kind]
    datagram = ip(cip, vip) / UDP(sport=CPORT, dport=PORT[kind]) / Raw(b"question")
    asked = sent(director, hook, bytes(from_client(datagram)))
    source, local, destination, port = addresses(asked)
    assert (source, destination, port) == (lip, rip, 8080)
    answer = ip(rip, lip) / UDP(sport=8080, dport=local) / Raw(b"answer")
    assert addresses(sent(director, hook, bytes(from_server(answer)))) == (vip, PORT[kind], cip, CPORT)


@pytest.mark.parametrize("size", [0, 1, 8, 1000])
def test_a_datagram_without_a_checksum(size: int, director: Plane) -> None:
    """It may stay so unless it becomes one of IPv6 (RFC 7915)."""
    for kind, wanted in (("IPv4", False), ("IPv4 to IPv6", True)):
        vip, _, cip, _ = KINDS[kind]
        datagram = ip(cip, vip) / UDP(sport=CPORT, dport=PORT[kind], chksum=0) / Raw(payload(size))
        outcome = director.tc(bytes(from_client(datagram)))
        assert outcome.verdict == SENT
        packet = (IPv6 if wanted else IP)(outcome.frame[14:])
        again = packet.copy()
        if wanted:
            again.payload.chksum = None
        assert (bool(packet[UDP].chksum), bytes(again)) == (wanted, outcome.frame[14:])


def test_no_two_connections_have_one_local_port(director: Plane) -> None:
    ports = [sent(director, "tc", client("IPv4", "S", port=port)).payload.sport for port in range(5000, 5400)]
    assert len(set(ports)) == len(ports)


def test_every_port_in_use(director: Plane) -> None:
    """It is dropped by name, and nothing is left of it; when one ends there is a port again."""
    knobs = director.settings.knob
    knobs[abi.Knob.LOCAL_PORT_FIRST], knobs[abi.Knob.LOCAL_PORT_LAST] = 2000, 2003
    for port in range(4):
        sent(director, "tc", client("IPv4", "S", port=6000 + port))
    before = director.connections()
    assert director.tc(client("IPv4", "S", port=7000)).verdict == "no_local_port"
    assert director.connections() == before
    director.pass_seconds(63)
    sent(director, "tc", client("IPv4", "S", port=7000))
    knobs[abi.Knob.LOCAL_PORT_FIRST], knobs[abi.Knob.LOCAL_PORT_LAST] = FIRST, LAST
