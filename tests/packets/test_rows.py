"""One packet in, one verdict and one packet out: the rows of the data plane's specification, for both hooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, TCP, IPOption_EOL, IPOption_NOP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from pylvs.director.ebpf import abi
from pylvs.model import Counters, ForwardingMethod
from tests.packets.errors import told, with_id_of
from tests.packets.frames import CPORT, answer, datagram, from_vip, hop, reply, request, to_rip
from tests.packets.plane import PASS, SENT, Outcome, Plane
from tests.packets.wire import (
    CIP,
    DIP,
    DIRECTOR_MAC,
    DIRECTOR_MAC1,
    NARROW,
    NARROW_MTU,
    NOWHERE,
    OTHER_MAC,
    RIP1,
    RIP2,
    RIP3,
    RIP4,
    ROUTER_MAC,
    VIP,
    from_client,
    from_server,
    to_server,
)

pytestmark = pytest.mark.root

NAT, DR = ForwardingMethod.NAT, ForwardingMethod.DR
SERVICES = (
    (f"tcp {VIP}:80", (f"{RIP1}:8080",), NAT),
    (f"tcp {VIP}:81", (f"{RIP2}:81",), NAT),
    (f"tcp {VIP}:82", (f"{RIP1}:82",), DR),
    (f"tcp {VIP}:83", (f"{RIP3}:83",), NAT),
    (f"tcp {VIP}:84", (f"{RIP4}:84",), NAT),
    (f"tcp {VIP}:85", (f"{RIP1}:8080",), NAT),
    (f"tcp {VIP}:86", (f"{NOWHERE}:86",), NAT),
    (f"tcp {VIP}:87", (f"{NARROW}:87",), NAT),
    (f"tcp {VIP}:88", (f"{NARROW}:88",), DR),
    (f"tcp {VIP}:90", (f"{RIP1}:90 0",), NAT),
    (f"tcp {VIP}:91", (), NAT),
    (f"udp {VIP}:53", (f"{RIP1}:5353",), NAT),
    (f"udp {VIP}:54", (f"{RIP1}:54",), DR),
    (f"udp {VIP}:90", (f"{RIP1}:90 0",), NAT),
)


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """The services above stand for the whole module."""
    loaded.reset()
    for id, servers, method in SERVICES:
        loaded.serve(id, *servers, method=method)
    yield loaded
    loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    standing.forget()
    return standing


class Row(NamedTuple):
    """`before` are frames that came first; `opens` connections are made; `up` where XDP leaves it to tc."""

    frame: Any
    verdict: str
    out: Any = None
    before: Sequence[Any] = ()
    opens: int = 0
    up: bool = False
    interface: str = "eth0"


def drop(reason: abi.DropReason) -> str:
    return reason.name.lower()


NO_SERVER, TUPLE_IN_USE = drop(abi.DropReason.NO_SERVER), drop(abi.DropReason.TUPLE_IN_USE)
TTL_EXCEEDED, NO_ROUTE = drop(abi.DropReason.TTL_EXCEEDED), drop(abi.DropReason.NO_ROUTE)
TOO_BIG = drop(abi.DropReason.TOO_BIG)

OPTIONS = [IPOption_NOP()] * 7 + [IPOption_EOL()]
OPEN = (from_client(request()),)
OPEN_DR = (from_client(request(82)),)
OPEN_UDP = (from_client(datagram()),)
CLOSED = (*OPEN, from_client(request(flags="A")), from_client(request(flags="RA")))
FROM_NOWHERE = {"src": NOWHERE}
LARGE = NARROW_MTU - 40
PORT_UNREACHABLE, HOST_UNREACHABLE, FRAGMENTATION_NEEDED, TIME_EXCEEDED = (3, 3), (3, 1), (3, 4), (11, 0)

REQUESTS = {
    "NAT: a SYN opens, the port is mapped": Row(from_client(request()), SENT, to_rip(request(), dport=8080), opens=1),
    "NAT: the same port on both sides": Row(from_client(request(81)), SENT, to_rip(request(81), RIP2), opens=1),
    "NAT: an odd payload": Row(
        from_client(request(flags="PA", size=13)), SENT, to_rip(request(flags="PA", size=13), dport=8080), before=OPEN
    ),
    "NAT: an even payload": Row(
        from_client(request(flags="PA", size=512)), SENT, to_rip(request(flags="PA", size=512), dport=8080), before=OPEN
    ),
    "NAT: the largest frame": Row(
        from_client(request(flags="A", size=1460)), SENT, to_rip(request(flags="A", size=1460), dport=8080), before=OPEN
    ),
    "NAT: IP options": Row(
        from_client(request(ip={"options": OPTIONS}, size=5)),
        SENT,
        to_rip(request(ip={"options": OPTIONS}, size=5), dport=8080),
        opens=1,
        up=True,
    ),
    "NAT: IP options, as many as there can be": Row(
        from_client(request(ip={"options": [IPOption_NOP()] * 40})),
        SENT,
        to_rip(request(ip={"options": [IPOption_NOP()] * 40}), dport=8080),
        opens=1,
        up=True,
    ),
    "NAT: TCP options": Row(
        from_client(request(options=[("MSS", 1460), ("SAckOK", ""), ("Timestamp", (1, 0)), ("WScale", 7)])),
        SENT,
        to_rip(request(options=[("MSS", 1460), ("SAckOK", ""), ("Timestamp", (1, 0)), ("WScale", 7)]), dport=8080),
        opens=1,
    ),
    "NAT: TOS and DF stay": Row(
        from_client(request(ip={"tos": 0xB8, "flags": "DF"})),
        SENT,
        to_rip(request(ip={"tos": 0xB8, "flags": "DF"}), dport=8080),
        opens=1,
    ),
    "NAT: out of another interface": Row(
        from_client(request(83)), SENT, to_rip(request(83), RIP3, DIRECTOR_MAC1), opens=1
    ),
    "NAT: out of an interface without XDP": Row(
        from_client(request(84)), SENT, to_rip(request(84), RIP4), opens=1, up=True
    ),
    "NAT: SYN+ACK opens too": Row(
        from_client(request(flags="SA")), SENT, to_rip(request(flags="SA"), dport=8080), opens=1
    ),
    "NAT: SYN+FIN opens too": Row(
        from_client(request(flags="SF")), SENT, to_rip(request(flags="SF"), dport=8080), opens=1
    ),
    "NAT: a SYN reuses the port of a closed connection": Row(
        from_client(request()), SENT, to_rip(request(), dport=8080), before=CLOSED, opens=1
    ),
    "NAT: an ACK of a closed connection goes to its server": Row(
        from_client(request(flags="A")), SENT, to_rip(request(flags="A"), dport=8080), before=CLOSED
    ),
    "NAT: an older inactive connection of the tuple gives way": Row(
        from_client(request(85)), SENT, to_rip(request(85), dport=8080), before=CLOSED, opens=1
    ),
    "NAT, UDP: a datagram opens": Row(from_client(datagram()), SENT, to_rip(datagram(), dport=5353), opens=1),
    "NAT, UDP: the next one doesn't": Row(
        from_client(datagram(size=4)), SENT, to_rip(datagram(size=4), dport=5353), before=OPEN_UDP
    ),
    "NAT, UDP: without a checksum it stays so": Row(
        from_client(datagram(chksum=0)), SENT, to_rip(datagram(chksum=0), dport=5353), opens=1
    ),
    "NAT, UDP: empty": Row(from_client(datagram(size=0)), SENT, to_rip(datagram(size=0), dport=5353), opens=1),
    "NAT, UDP: IP options": Row(
        from_client(datagram(ip={"options": OPTIONS})),
        SENT,
        to_rip(datagram(ip={"options": OPTIONS}), dport=5353),
        opens=1,
        up=True,
    ),
    "DR: a SYN opens, only the MACs change": Row(from_client(request(82)), SENT, to_server(hop(request(82))), opens=1),
    "DR: an ACK goes the same way": Row(
        from_client(request(82, "A", size=77)), SENT, to_server(hop(request(82, "A", size=77))), before=OPEN_DR
    ),
    "DR: IP options": Row(
        from_client(request(82, ip={"options": OPTIONS})),
        SENT,
        to_server(hop(request(82, ip={"options": OPTIONS}))),
        opens=1,
        up=True,
    ),
    "DR, UDP": Row(from_client(datagram(54)), SENT, to_server(hop(datagram(54))), opens=1),
    "DR, UDP without a checksum": Row(
        from_client(datagram(54, chksum=0)), SENT, to_server(hop(datagram(54, chksum=0))), opens=1
    ),
    "the last TTL that goes on": Row(
        from_client(request(ip={"ttl": 2})), SENT, to_rip(request(ip={"ttl": 2}), dport=8080), opens=1
    ),
    "a full MTU": Row(
        from_client(request(87, size=LARGE)), SENT, to_rip(request(87, size=LARGE), NARROW, DIRECTOR_MAC1), opens=1
    ),
}

REPLIES = {
    "NAT: a SYN+ACK comes from the VIP": Row(
        from_server(reply(flags="SA")), SENT, from_vip(reply(flags="SA"), sport=80), before=OPEN, up=True
    ),
    "NAT: an ACK": Row(from_server(reply()), SENT, from_vip(reply(), sport=80), before=OPEN),
    "NAT: an odd payload back": Row(
        from_server(reply(flags="PA", size=333)), SENT, from_vip(reply(flags="PA", size=333), sport=80), before=OPEN
    ),
    "NAT: the same port back": Row(
        from_server(reply(81, ip={"src": RIP2}), RIP2),
        SENT,
        from_vip(reply(81, ip={"src": RIP2})),
        before=(from_client(request(81)),),
    ),
    "NAT: IP options back": Row(
        from_server(reply(ip={"options": OPTIONS})),
        SENT,
        from_vip(reply(ip={"options": OPTIONS}), sport=80),
        before=OPEN,
        up=True,
    ),
    "NAT: in by another interface": Row(
        Ether(src=ROUTER_MAC, dst=DIRECTOR_MAC1) / reply(83, ip={"src": RIP3}),
        SENT,
        from_vip(reply(83, ip={"src": RIP3})),
        before=(from_client(request(83)),),
        interface="eth1",
    ),
    "NAT: in by an interface without XDP": Row(
        Ether(src=ROUTER_MAC, dst="02:00:00:00:00:d2") / reply(84, ip={"src": RIP4}),
        SENT,
        from_vip(reply(84, ip={"src": RIP4})),
        before=(from_client(request(84)),),
        interface="eth2",
    ),
    "NAT, UDP: an answer": Row(from_server(answer()), SENT, from_vip(answer(), sport=53), before=OPEN_UDP),
    "NAT, UDP: an answer without a checksum": Row(
        from_server(answer(chksum=0)), SENT, from_vip(answer(chksum=0), sport=53), before=OPEN_UDP
    ),
    "NAT: a RST to a closed connection": Row(
        from_server(reply(flags="R")), SENT, from_vip(reply(flags="R"), sport=80), before=CLOSED
    ),
}

HOSTILE = (
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254"),  # noqa: S104  # nobody binds to it
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
)
PASSES = {
    "the VIP, another port": Row(from_client(request(8000)), PASS),
    "the VIP, the other protocol": Row(from_client(datagram(80)), PASS),
    "another address": Row(from_client(request(ip={"dst": DIP})), PASS),
    "the port of a server, but not from one": Row(from_server(reply(ip={"src": "192.168.0.112"})), PASS, before=OPEN),
    "a reply of no connection": Row(from_server(reply()), PASS),
    "a reply from another port of the server": Row(from_server(reply(8081)), PASS, before=OPEN),
    "a reply to another port of the client": Row(from_server(reply(dport=CPORT + 1)), PASS, before=OPEN),
    "a reply to another client": Row(from_server(reply(ip={"dst": "110.0.0.9"})), PASS, before=OPEN),
    "a reply of a DR server through the director": Row(from_server(reply(82)), PASS, before=OPEN_DR),
    "an ACK of no connection": Row(from_client(request(flags="A")), PASS),
    "a FIN of no connection": Row(from_client(request(flags="FA")), PASS),
    "a RST of no connection": Row(from_client(request(flags="R")), PASS),
    "a SYN+RST of no connection": Row(from_client(request(flags="SR")), PASS),
    "no flags and no connection": Row(from_client(request(flags="")), PASS),
    "a RST where there is no server": Row(from_client(request(90, "R")), PASS),
    "ICMP": Row(from_client(IP(src=CIP, dst=VIP) / ICMP()), PASS),
    "an ICMP error about a connection": Row(
        from_client(IP(src=CIP, dst=VIP) / ICMP(type=3, code=4) / request()), PASS, before=OPEN
    ),
    "SCTP": Row(from_client(IP(src=CIP, dst=VIP, proto=132) / Raw(bytes(64))), PASS),
    "ARP": Row(Ether(src=ROUTER_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=CIP, pdst=VIP), PASS),
    "ARP to this host": Row(from_client(ARP(psrc=CIP, pdst=VIP)), PASS),
    "IPv6": Row(from_client(IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(dport=80, flags="S")), PASS),
    "a VLAN": Row(from_client(Dot1Q(vlan=5) / request()), PASS),
    "another Ethernet type": Row(Ether(src=ROUTER_MAC, dst=DIRECTOR_MAC, type=0x88B5) / request(), PASS),
    "for another station": Row(Ether(src=ROUTER_MAC, dst=OTHER_MAC) / request(), PASS),
    "a broadcast frame": Row(Ether(src=ROUTER_MAC, dst="ff:ff:ff:ff:ff:ff") / request(), PASS),
    "a multicast frame": Row(Ether(src=ROUTER_MAC, dst="01:00:5e:00:00:01") / request(), PASS),
    "to the MAC of another interface of this host": Row(Ether(src=ROUTER_MAC, dst=DIRECTOR_MAC1) / request(), PASS),
    "a first fragment that opens nothing": Row(from_client(request(flags="A", ip={"flags": "MF"})), PASS),
} | {
    f"{protocol} from {source}": Row(from_client(make(ip={"src": source})), PASS)
    for source in (*HOSTILE, VIP)
    for protocol, make in (("TCP", request), ("UDP", datagram))
}


def dropped(packet: Any, verdict: str, kind: tuple[int, int], mtu: int = 0, before: Sequence[Any] = ()) -> Row:
    """A client's packet that is dropped, which the client is told."""
    return Row(from_client(packet), verdict, told(packet, kind, mtu), before=before, up=True)


DROPS = {
    "no server: all weights are 0": dropped(request(90), NO_SERVER, PORT_UNREACHABLE),
    "no server: the service has none": dropped(request(91), NO_SERVER, PORT_UNREACHABLE),
    "no server: UDP": dropped(datagram(90), NO_SERVER, PORT_UNREACHABLE),
    "the tuple is in use by an active connection": Row(from_client(request(85)), TUPLE_IN_USE, before=OPEN),
    "the time to live ends": dropped(request(flags="A", ip={"ttl": 1}), TTL_EXCEEDED, TIME_EXCEEDED, before=OPEN),
    "a time to live of 0": dropped(request(flags="A", ip={"ttl": 0}), TTL_EXCEEDED, TIME_EXCEEDED, before=OPEN),
    "the time to live of a reply ends": Row(
        from_server(reply(ip={"ttl": 1})),
        TTL_EXCEEDED,
        told(reply(ip={"ttl": 1}), TIME_EXCEEDED, source=DIP),
        before=OPEN,
        up=True,
    ),
    "no route to the client": Row(
        from_server(reply(ip={"dst": NOWHERE})),
        NO_ROUTE,
        told(reply(ip={"dst": NOWHERE}), HOST_UNREACHABLE, source=DIP),
        before=(from_client(request(ip=FROM_NOWHERE)),),
        up=True,
    ),
    "larger than the way out": dropped(
        request(87, "A", size=LARGE + 1, ip={"flags": "DF"}),
        TOO_BIG,
        FRAGMENTATION_NEEDED,
        NARROW_MTU,
        before=(from_client(request(87)),),
    ),
    "larger than the way out, DR": dropped(
        request(88, "A", size=LARGE + 1, ip={"flags": "DF"}),
        TOO_BIG,
        FRAGMENTATION_NEEDED,
        NARROW_MTU,
        before=(from_client(request(88)),),
    ),
}


ELSEWHERE = {
    "server_deleted": "test_edits.py",
    "table_full": "test_table.py",
    "ended": "test_table.py",
    "fragment": "test_fragments.py",
    "no_local_port": "nowhere yet: it comes with FULLNAT",
    "tunnel_mtu": "test_tunnel_mtu.py",
    "defence": "nowhere yet: it comes with drop_packet",
    "icmp_limit": "test_icmp.py, together with another",
    "checksum": "test_icmp.py",
    "no_connection": "test_nat_icmp_send.py",
    "rewrite": "nowhere: what parse() lets through the kernel's helpers can change",
}


def test_every_drop_has_a_row() -> None:
    names = {drop(reason) for reason in abi.DropReason if reason is not abi.DropReason.REASONS}
    assert {row.verdict for row in DROPS.values()} | ELSEWHERE.keys() == names


@pytest.mark.parametrize("hook", ["tc", "tc that asks for the way", "xdp"])
@pytest.mark.parametrize("name", [*REQUESTS, *REPLIES, *PASSES, *DROPS])
def test_row(name: str, hook: str, director: Plane) -> None:
    row = (REQUESTS | REPLIES | PASSES | DROPS)[name]
    hook, _, asks = hook.partition(" ")
    for frame in row.before:
        sent = director.run(hook, bytes(frame))
        assert sent.verdict == SENT
    before = totals(director)
    (director.forgets_the_way if asks else director.knows_the_way)()
    raw = bytes(row.frame)
    outcome = director.run(hook, raw, row.interface)
    assert outcome.verdict == row.verdict
    expect_hook(row, hook, outcome)
    expect_frame(row, raw, outcome)
    assert difference(before, totals(director)) == counted(row)


def expect_hook(row: Row, hook: str, outcome: Outcome) -> None:
    """Whatever XDP can do, it does."""
    by_xdp = hook == "xdp" and not row.up and row.verdict != PASS and row.interface != "eth2"
    assert outcome.hook == ("xdp" if by_xdp else "tc")


def expect_frame(row: Row, raw: bytes, outcome: Outcome) -> None:
    """By the complete way tc leaves the MACs to the kernel, which writes them when it sends to the neighbour."""
    if row.out is None:
        assert outcome.frame == raw
        return
    expected = bytes(row.out)
    if outcome.hook == "tc" and outcome.frame[:12] == raw[:12]:
        expected = raw[:12] + expected[12:]
    if outcome.verdict != SENT:
        expected = with_id_of(expected, outcome.frame)
    assert Ether(outcome.frame) == Ether(expected)
    assert outcome.frame == expected


def totals(director: Plane) -> Counters:
    """Of all services; those of their servers are the same."""
    services = director.director.services()
    for one in services:
        assert one.counters == added(server.counters for server in one.servers)
    return added(one.counters for one in services)


def added(counters: Any) -> Counters:
    rows = [tuple(getattr(one, name) for name in Counters._fields) for one in counters]
    return Counters(*(sum(column) for column in zip(*rows, strict=True))) if rows else Counters()


def difference(before: Counters, after: Counters) -> Counters:
    return Counters(*(getattr(after, name) - getattr(before, name) for name in Counters._fields))


def counted(row: Row) -> Counters:
    """As in IPVS, a request that is refused on its way out counts; a reply is refused before it gets that far."""
    if row.verdict in ("ttl_exceeded", "too_big") and row.frame[IP].dst == VIP:
        return Counters(row.opens, 1, 0, len(row.frame.payload), 0)
    if row.verdict != SENT:
        return Counters()
    size = len(row.out.payload)
    if row.frame[IP].dst == VIP:
        return Counters(row.opens, 1, 0, size, 0)
    return Counters(0, 0, 1, 0, size)
