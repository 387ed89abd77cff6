"""ICMP errors by IPv6, TUN and FULLNAT: the same as by IPv4 and NAT, in other words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.packet import Raw

from pylvs.model import ForwardingMethod, RealServer, Tunnel, TunnelChecksum, TunnelType, VirtualService
from tests.packets.errors import with_id_of
from tests.packets.frames import CPORT, payload
from tests.packets.plane import PASS, SENT, Plane, endpoint, service
from tests.packets.six import CIP6, DIP6, FAR6, RIP6, ROUTER6, VIP6, ipv6
from tests.packets.test_icmp import one_cpu
from tests.packets.wire import CIP, DIP, RIP1, VIP, from_client, from_server

pytestmark = pytest.mark.root

FAR = "203.0.113.77"
NAT, DR, TUN, FULLNAT = (ForwardingMethod(one) for one in ("nat", "dr", "tun", "fullnat"))
GRE, GUE, REMCSUM = Tunnel(TunnelType.GRE), Tunnel(TunnelType.GUE, 6080), TunnelChecksum.REMOTE
GRE_CSUM, GUE_REMCSUM = Tunnel(TunnelType.GRE, 0, TunnelChecksum.CSUM), Tunnel(TunnelType.GUE, 6080, REMCSUM)
MTU = 1400
SHOT, REDIRECT = 2, 7
"""What tc returns."""


class Kind(NamedTuple):
    """A service with one server; `overhead` is what a tunnel adds."""

    service: str
    server: str
    method: ForwardingMethod
    tunnel: Tunnel = Tunnel()
    overhead: int = 0

    @property
    def port(self) -> int:
        return int(self.service.rpartition(":")[2])

    @property
    def six(self) -> bool:
        return VIP6 in self.service

    @property
    def outside(self) -> bool:
        """Whether the server is reached by IPv6."""
        return RIP6 in self.server


KINDS = {
    "NAT6": Kind(f"tcp {VIP6}:80", f"{RIP6}:8080", NAT),
    "NAT6 UDP": Kind(f"udp {VIP6}:53", f"{RIP6}:5353", NAT),
    "DR6": Kind(f"tcp {VIP6}:82", f"{RIP6}:82", DR),
    "FULLNAT": Kind(f"tcp {VIP}:83", f"{RIP1}:8080", FULLNAT),
    "FULLNAT6": Kind(f"tcp {VIP6}:83", f"{RIP6}:8080", FULLNAT),
    "IPIP": Kind(f"tcp {VIP}:84", f"{RIP1}:84", TUN, Tunnel(), 20),
    "GRE": Kind(f"tcp {VIP}:85", f"{RIP1}:85", TUN, GRE, 24),
    "GRE with a checksum": Kind(f"tcp {VIP}:86", f"{RIP1}:86", TUN, GRE_CSUM, 28),
    "GUE": Kind(f"tcp {VIP}:87", f"{RIP1}:87", TUN, GUE, 32),
    "GUE with remcsum": Kind(f"tcp {VIP}:88", f"{RIP1}:88", TUN, GUE_REMCSUM, 40),
    "IPIP6": Kind(f"tcp {VIP6}:84", f"{RIP6}:84", TUN, Tunnel(), 40),
    "GRE6": Kind(f"tcp {VIP6}:85", f"{RIP6}:85", TUN, GRE, 44),
    "4 in 6": Kind(f"tcp {VIP}:89", f"{RIP6}:89", TUN, Tunnel(), 40),
    "6 in 4": Kind(f"tcp {VIP6}:89", f"{RIP1}:89", TUN, Tunnel(), 20),
    "6 in 4 by GUE": Kind(f"tcp {VIP6}:90", f"{RIP1}:90", TUN, GUE, 32),
}
MIXED = {
    "4 to 6": Kind(f"tcp {VIP}:91", f"{RIP6}:8080", FULLNAT),
    "6 to 4": Kind(f"tcp {VIP6}:91", f"{RIP1}:8080", FULLNAT),
    "4 to 6, UDP": Kind(f"udp {VIP}:91", f"{RIP6}:5353", FULLNAT),
    "6 to 4, UDP": Kind(f"udp {VIP6}:91", f"{RIP1}:5353", FULLNAT),
}
TUNNELS = [name for name, kind in KINDS.items() if kind.method is TUN]
LATER = ("GUE with remcsum",)
"""What tc does not send yet, and whose errors are relayed all the same."""


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """A service of each kind, and an IPv6 network around the director."""
    loaded.reset()
    with ipv6():
        for kind in (*KINDS.values(), *MIXED.values()):
            loaded.director.add_service(VirtualService(service(kind.service), "rr"))
            loaded.director.add_server(
                service(kind.service), RealServer(endpoint(kind.server), kind.method, tunnel=kind.tunnel)
            )
        loaded.director.add_service(VirtualService(service(f"tcp {VIP6}:99"), "rr"))
        yield loaded
        loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    """Empty."""
    standing.forget()
    return standing


def syn(kind: Kind, *, ttl: int = 64, size: int = 0, flags: str = "S") -> Any:
    """What the client sends."""
    ports: Any = {"sport": CPORT, "dport": kind.port}
    layer = UDP(**ports) if kind.service.startswith("udp") else TCP(**ports, flags=flags, seq=9)
    return address(kind.six, client(kind), vip(kind), ttl) / layer / Raw(payload(size))


def client(kind: Kind) -> str:
    return CIP6 if kind.six else CIP


def vip(kind: Kind) -> str:
    return VIP6 if kind.six else VIP


def address(six: bool, source: str, destination: str, ttl: int = 50) -> Any:
    if six:
        return IPv6(src=source, dst=destination, hlim=ttl)
    return IP(src=source, dst=destination, ttl=ttl, flags="DF")


def segment(six: bool, source: tuple[str, int], destination: tuple[str, int], *, udp: bool = False) -> Any:
    """What is quoted, by one who has seen it."""
    ports: Any = {"sport": source[1], "dport": destination[1]}
    layer = UDP(**ports) if udp else TCP(**ports, flags="A", seq=7, ack=9)
    return address(six, source[0], destination[0], 60) / layer / Raw(payload(99))


def too_big(six: bool, mtu: int = MTU) -> Any:
    return ICMPv6PacketTooBig(mtu=mtu) if six else ICMP(type=3, code=4, nexthopmtu=mtu)


def opened(director: Plane, kind: Kind) -> tuple[str, int]:
    """The address and port that the server sees after a connection was opened."""
    outcome = director.tc(bytes(from_client(syn(kind))))
    assert outcome.verdict == SENT
    packet = (IPv6 if kind.outside else IP)(outcome.frame[14:])
    director.knows_the_way()
    return (packet.src, packet.sport) if kind.method is not TUN else ("", 0)


ERRORS6: dict[str, Callable[[], Any]] = {
    "too big": lambda: ICMPv6PacketTooBig(mtu=MTU),
    "no route": lambda: ICMPv6DestUnreach(code=0),
    "port unreachable": lambda: ICMPv6DestUnreach(code=4),
    "time exceeded": ICMPv6TimeExceeded,
    "parameter problem": lambda: ICMPv6ParamProblem(code=1, ptr=6),
}
REWRITTEN = ("NAT6", "NAT6 UDP", "FULLNAT", "FULLNAT6")


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("length", [44, 48, 60, 61, 159])
@pytest.mark.parametrize("name", REWRITTEN)
def test_an_error_from_the_clients_side(name: str, length: int, hook: str, director: Plane) -> None:
    kind = KINDS[name]
    local, rip = opened(director, kind), endpoint(kind.server)
    udp = "UDP" in name
    quoted = segment(kind.six, (vip(kind), kind.port), (client(kind), CPORT), udp=udp)
    becomes = segment(kind.six, (str(rip.address), rip.port), local, udp=udp)
    router = FAR6 if kind.six else FAR
    frame = address(kind.six, router, vip(kind)) / too_big(kind.six) / Raw(bytes(quoted)[:length])
    out = address(kind.six, router, str(rip.address), 49) / too_big(kind.six) / Raw(bytes(becomes)[:length])
    slots = director.table.connections.memory[:]
    outcome = director.run(hook, bytes(from_client(frame)))
    assert (outcome.verdict, outcome.frame[14:].hex()) == (SENT, bytes(out).hex())
    assert director.table.connections.memory[:] == slots


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("length", [44, 48, 60, 61, 159])
@pytest.mark.parametrize("name", REWRITTEN)
def test_an_error_from_the_servers_side(name: str, length: int, hook: str, director: Plane) -> None:
    kind = KINDS[name]
    local, rip = opened(director, kind), endpoint(kind.server)
    udp = "UDP" in name
    quoted = segment(kind.six, local, (str(rip.address), rip.port), udp=udp)
    becomes = segment(kind.six, (client(kind), CPORT), (vip(kind), kind.port), udp=udp)
    router = FAR6 if kind.six else FAR
    frame = address(kind.six, router, local[0]) / too_big(kind.six) / Raw(bytes(quoted)[:length])
    out = address(kind.six, vip(kind), client(kind), 49) / too_big(kind.six) / Raw(bytes(becomes)[:length])
    outcome = director.run(hook, bytes(from_server(frame)))
    assert (outcome.verdict, outcome.frame[14:].hex()) == (SENT, bytes(out).hex())


@pytest.mark.parametrize("error", ERRORS6)
@pytest.mark.parametrize("name", ["NAT6", "DR6"])
def test_every_error_of_icmpv6(name: str, error: str, director: Plane) -> None:
    kind = KINDS[name]
    opened(director, kind)
    quoted = segment(True, (VIP6, kind.port), (CIP6, CPORT))
    becomes = segment(True, (RIP6, 8080), (CIP6, CPORT)) if name == "NAT6" else quoted
    frame = address(True, FAR6, VIP6) / ERRORS6[error]() / Raw(bytes(quoted))
    out = address(True, FAR6, RIP6 if name == "NAT6" else VIP6, 49) / ERRORS6[error]() / Raw(bytes(becomes))
    outcome = director.tc(bytes(from_client(frame)))
    assert (outcome.verdict, outcome.frame[14:].hex()) == (SENT, bytes(out).hex())


def test_a_first_fragment_is_quoted(director: Plane) -> None:
    kind = KINDS["NAT6"]
    opened(director, kind)
    quotes = [
        IPv6(src=source, dst=CIP6)
        / IPv6ExtHdrFragment(m=1, id=5)
        / segment(True, (source, port), (CIP6, CPORT)).payload
        for source, port in ((VIP6, 80), (RIP6, 8080))
    ]
    frame = address(True, FAR6, VIP6) / too_big(True) / Raw(bytes(quotes[0]))
    outcome = director.tc(bytes(from_client(frame)))
    assert (outcome.verdict, outcome.frame[54:62].hex()[:4]) == (SENT, "0200")
    assert outcome.frame[62:110].hex() == bytes(quotes[1])[:48].hex()
    assert outcome.frame[110:].hex() == bytes(quotes[1])[48:].hex()


QUOTE6 = segment(True, (VIP6, 80), (CIP6, CPORT))
STRANGE6 = {
    "an echo request": address(True, CIP6, VIP6) / ICMPv6EchoRequest(),
    "another port": address(True, FAR6, VIP6) / too_big(True) / Raw(bytes(segment(True, (VIP6, 81), (CIP6, CPORT)))),
    "to another": address(True, FAR6, DIP6) / too_big(True) / Raw(bytes(QUOTE6)),
    "from nobody": address(True, "::", VIP6) / too_big(True) / Raw(bytes(QUOTE6)),
    "from a group": address(True, "ff02::1", VIP6) / too_big(True) / Raw(bytes(QUOTE6)),
    "ports cut off": address(True, FAR6, VIP6) / too_big(True) / Raw(bytes(QUOTE6)[:43]),
    "an IPv4 packet": address(True, FAR6, VIP6) / too_big(True) / Raw(bytes(segment(False, (VIP, 80), (CIP, CPORT)))),
    "a later fragment": address(True, FAR6, VIP6)
    / too_big(True)
    / Raw(bytes(IPv6(src=VIP6, dst=CIP6) / IPv6ExtHdrFragment(offset=9, id=5) / QUOTE6.payload)),
    "other extension headers": address(True, FAR6, VIP6)
    / too_big(True)
    / Raw(bytes(IPv6(src=VIP6, dst=CIP6) / IPv6ExtHdrDestOpt() / QUOTE6.payload)),
}


@pytest.mark.parametrize("name", STRANGE6)
def test_what_belongs_to_no_connection_passes(name: str, director: Plane) -> None:
    opened(director, KINDS["NAT6"])
    before, raw = director.state(), bytes(from_client(STRANGE6[name]))
    outcome = director.run("xdp", raw)
    assert (outcome.verdict, outcome.frame) == (PASS, raw)
    assert director.state() == before


def test_nat_drops_a_wrong_checksum(director: Plane) -> None:
    opened(director, KINDS["NAT6"])
    raw = bytearray(bytes(from_client(address(True, FAR6, VIP6) / too_big(True) / Raw(bytes(QUOTE6)))))
    raw[56] ^= 1
    assert director.tc(bytes(raw)).verdict == "checksum"


# -- through tunnels


@pytest.mark.parametrize("name", [one for one in TUNNELS if one not in LATER])
def test_an_error_goes_through_the_tunnel_as_it_is(name: str, director: Plane) -> None:
    """Its own, whichever the packet before it went through."""
    kind = KINDS[name]
    quoted = segment(kind.six, (vip(kind), kind.port), (client(kind), CPORT))
    far = FAR6 if kind.six else FAR
    frame, out = (address(kind.six, far, vip(kind), ttl) / too_big(kind.six) / Raw(bytes(quoted)) for ttl in (50, 49))
    with one_cpu():
        for one in (kind, KINDS["IPIP" if kind.tunnel.type is TunnelType.GUE else "GUE"]):
            opened(director, one)
        outcome = director.tc(bytes(from_client(frame)))
    assert outcome.verdict == SENT
    assert outcome.frame[14 + kind.overhead :].hex() == bytes(out).hex()
    outer = (IPv6 if kind.outside else IP)(outcome.frame[14:])
    assert (outer.src, outer.dst) == ((DIP6, RIP6) if kind.outside else (DIP, RIP1))


def wrapped(kind: Kind, inner: Any) -> Any:
    """The tunnel packet that the director made of a client's, as a router quotes it."""
    source, destination = (DIP6, RIP6) if kind.outside else (DIP, RIP1)
    number = 41 if kind.six else 4
    if kind.tunnel.type is TunnelType.GRE:
        checksum = kind.tunnel.checksum is TunnelChecksum.CSUM
        head = (b"\x80\0" if checksum else b"\0\0") + (b"\x86\xdd" if kind.six else b"\x08\0") + bytes(4 * checksum)
        number = 47
    elif kind.tunnel.type is TunnelType.GUE:
        remcsum = kind.tunnel.checksum is TunnelChecksum.REMOTE
        form = bytes([2, number]) + b"\0\1" + bytes(8) if remcsum else bytes([0, number, 0, 0])
        head, number = bytes(UDP(sport=50000, dport=6080, chksum=0, len=8 + len(form) + len(inner))) + form, 17
    else:
        head = b""
    if kind.outside:
        return IPv6(src=source, dst=destination, hlim=40, nh=number) / Raw(head + bytes(inner))
    return IP(src=source, dst=destination, ttl=40, flags="DF", proto=number) / Raw(head + bytes(inner))


def tunnel_error(kind: Kind, error: Any, inner: Any, length: int = 2000, **ends: str) -> bytes:
    """A router's error about it."""
    far, here = (ROUTER6, DIP6) if kind.outside else ("192.168.0.15", DIP)
    outer = address(kind.outside, ends.get("source", far), ends.get("destination", here))
    return bytes(from_client(outer / error / Raw(bytes(wrapped(kind, inner))[:length])))


@pytest.mark.parametrize("name", TUNNELS)
def test_an_error_about_a_tunnel_packet_is_the_clients(name: str, director: Plane) -> None:
    kind = KINDS[name]
    director.tc(bytes(from_client(syn(kind))))
    inner = segment(kind.six, (client(kind), CPORT), (vip(kind), kind.port))
    outcome = director.tc(tunnel_error(kind, too_big(kind.outside), inner))
    quote = Raw(bytes(inner)[:548])
    fits = MTU - kind.overhead
    if kind.six:
        out = address(True, VIP6, CIP6, 64) / too_big(True, fits) / quote
    else:
        out = IP(src=VIP, dst=CIP, tos=0xC0, ttl=64) / too_big(False, fits) / quote
    assert outcome.verdict == SENT
    expected = bytes(from_client(out))
    if not kind.six:
        expected = with_id_of(expected, outcome.frame)
    assert outcome.frame[12:].hex() == expected[12:].hex()


OTHERS = [("IPIP", (3, 1), (3, 1)), ("IPIP", (11, 0), (11, 0)), ("6 in 4", (3, 2), (1, 3)), ("6 in 4", (11, 0), (3, 0))]
OTHERS6 = [
    ("IPIP6", (1, 0), (1, 0)),
    ("IPIP6", (3, 0), (3, 0)),
    ("4 in 6", (1, 4), (3, 1)),
    ("4 in 6", (3, 0), (11, 0)),
]


@pytest.mark.parametrize(("name", "was", "becomes"), OTHERS + OTHERS6)
def test_other_errors_about_tunnel_packets(
    name: str, was: tuple[int, int], becomes: tuple[int, int], director: Plane
) -> None:
    """In the other family's words, where it is one."""
    kind = KINDS[name]
    director.tc(bytes(from_client(syn(kind))))
    inner = segment(kind.six, (client(kind), CPORT), (vip(kind), kind.port))
    errors = {1: ICMPv6DestUnreach, 3: ICMPv6TimeExceeded}
    error = errors[was[0]](code=was[1]) if kind.outside else ICMP(type=was[0], code=was[1])
    outcome = director.tc(tunnel_error(kind, error, inner))
    assert outcome.verdict == SENT
    icmp = outcome.frame[54:] if kind.six else outcome.frame[34:]
    assert (icmp[0], icmp[1]) == becomes
    assert icmp[8:] == bytes(inner)


SPURIOUS = {
    "only 8 bytes of the client's packet": {"length": 28},
    "its ports cut off": {"length": 43},
    "to another address of the director": {"destination": VIP},
    "from nobody": {"source": "127.0.0.1"},
}


@pytest.mark.parametrize("name", SPURIOUS)
def test_what_does_not_say_enough_passes(name: str, director: Plane) -> None:
    kind = KINDS["IPIP"]
    director.tc(bytes(from_client(syn(kind))))
    inner = segment(False, (CIP, CPORT), (VIP, kind.port))
    how: Any = SPURIOUS[name]
    raw, before = tunnel_error(kind, too_big(False), inner, **how), director.state()
    outcome = director.tc(raw)
    assert (outcome.verdict, outcome.frame) == (PASS, raw)
    assert director.state() == before


@pytest.mark.parametrize("other", ["GRE", "GUE", "FULLNAT"])
def test_a_tunnel_of_another_kind_than_the_servers_passes(other: str, director: Plane) -> None:
    kind = KINDS["IPIP"]
    director.tc(bytes(from_client(syn(kind))))
    director.tc(bytes(from_client(syn(KINDS["FULLNAT"]))))
    to = KINDS["FULLNAT"] if other == "FULLNAT" else kind
    inner = segment(False, (CIP, CPORT), (VIP, to.port))
    raw = tunnel_error(KINDS[other] if other != "FULLNAT" else kind, too_big(False), inner)
    assert director.tc(raw).verdict == PASS


def test_a_narrow_path_is_remembered_for_the_server(director: Plane) -> None:
    """The next client is told at once."""
    kind = KINDS["IPIP"]
    opened(director, kind)
    inner = segment(False, (CIP, CPORT), (VIP, kind.port))
    assert director.tc(tunnel_error(kind, too_big(False, 1300), inner)).verdict == SENT
    fitting, not_ = (director.tc(bytes(from_client(syn(kind, flags="A", size=size)))) for size in (1240, 1241))
    assert (fitting.verdict, not_.verdict) == (SENT, "too_big")
    assert IP(not_.frame[14:])[ICMP].nexthopmtu == 1280


@pytest.mark.parametrize(("said", "told", "remembered"), [(100, 80, 552), (68, 68, 552), (67, 0, 1500), (0, 0, 1500)])
def test_a_path_that_claims_to_be_very_narrow(said: int, told: int, remembered: int, director: Plane) -> None:
    """As the kernel does (min_pmtu), the director believes in no less than 552, and in no less than 68 at all."""
    kind = KINDS["IPIP"]
    opened(director, kind)
    inner = segment(False, (CIP, CPORT), (VIP, kind.port))
    outcome = director.tc(tunnel_error(kind, too_big(False, said), inner))
    assert outcome.verdict == (SENT if told else PASS)
    if told:
        assert IP(outcome.frame[14:])[ICMP].nexthopmtu == told
    number = list(KINDS).index("IPIP")
    assert director.table.servers[number].next_hop.mtu == remembered


def test_a_packet_that_may_be_fragmented_is_not_the_clients_concern(director: Plane) -> None:
    kind = KINDS["IPIP"]
    opened(director, kind)
    inner = segment(False, (CIP, CPORT), (VIP, kind.port))
    inner.flags = 0
    assert director.tc(tunnel_error(kind, too_big(False), inner)).verdict == PASS


# -- FULLNAT between the families


def heard(source: str, destination: str, error: Any, quote: bytes) -> bytes:
    """An error in the other family, which is a new packet."""
    if ":" in destination:
        return bytes(IPv6(src=source, dst=destination, hlim=64) / error / Raw(quote))
    return bytes(IP(src=source, dst=destination, tos=0xC0, ttl=64, id=0) / error / Raw(quote))


def in_family(six: bool, source: tuple[str, int], destination: tuple[str, int], *, udp: bool) -> Any:
    """A quote that was translated: the same segment, and of IPv4 a header without an identification."""
    packet = segment(six, source, destination, udp=udp)
    if not six:
        packet.id = 0
    return packet


@pytest.mark.parametrize("part", [8, 17, 18, 20, 41, 119])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("name", MIXED)
def test_an_error_changes_its_family(name: str, back: bool, part: int, director: Plane) -> None:
    kind = MIXED[name]
    local, rip = opened(director, kind), endpoint(kind.server)
    udp, six = "UDP" in name, kind.outside if back else kind.six
    answer = ((vip(kind), kind.port), (client(kind), CPORT)), ((str(rip.address), rip.port), local)
    quoted, becomes = [ends[::-1] for ends in answer[::-1]] if back else answer
    outer = address(six, FAR6 if six else FAR, quoted[0][0])
    whole = segment(six, *quoted, udp=udp)
    frame = bytes(from_client(outer / too_big(six) / Raw(bytes(whole)[: (40 if six else 20) + part])))
    outcome = director.tc(frame)
    wanted = in_family(not six, *becomes, udp=udp)
    if not udp and part == 17:  # half a checksum stays
        wanted[TCP].chksum = TCP(bytes(whole[TCP])).chksum
    quote = bytes(wanted)[: (20 if six else 40) + part]
    # it comes from whom its hearer had sent to
    out = heard(becomes[1][0], becomes[0][0], too_big(not six, MTU - 20 if six else MTU + 20), quote)
    assert outcome.verdict == SENT
    expected = with_id_of(bytes(14) + out, outcome.frame) if six else bytes(14) + out
    assert outcome.frame[14:].hex() == expected[14:].hex()


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        ("4 to 6", (3, 3), (1, 3)),
        ("4 to 6", (11, 0), (3, 0)),
        ("4 to 6", (4, 0), None),
        ("6 to 4", (1, 0), (3, 1)),
        ("6 to 4", (3, 0), (11, 0)),
        ("6 to 4", (4, 1), None),
    ],
)
def test_other_errors_change_their_family(
    name: str, was: tuple[int, int], becomes: tuple[int, int] | None, director: Plane
) -> None:
    """As far as the other one has words for them."""
    kind = MIXED[name]
    opened(director, kind)
    quoted = segment(kind.six, (vip(kind), kind.port), (client(kind), CPORT))
    errors = {1: ICMPv6DestUnreach, 3: ICMPv6TimeExceeded, 4: ICMPv6ParamProblem}
    error = errors[was[0]](code=was[1]) if kind.six else ICMP(type=was[0], code=was[1])
    raw = bytes(from_client(address(kind.six, FAR6 if kind.six else FAR, vip(kind)) / error / Raw(bytes(quoted))))
    outcome = director.tc(raw)
    assert (outcome.verdict, outcome.frame == raw) == ((SENT, False) if becomes else (PASS, True))
    if becomes:
        icmp = outcome.frame[54:] if kind.outside else outcome.frame[34:]
        assert (icmp[0], icmp[1]) == becomes


# -- the director's own


OWN6 = {
    "no server": (syn(Kind(f"tcp {VIP6}:99", "", NAT)), "no_server", lambda: ICMPv6DestUnreach(code=4)),
    "hop limit": (syn(KINDS["NAT6"], ttl=1), "ttl_exceeded", ICMPv6TimeExceeded),
    "hop limit, DR": (syn(KINDS["DR6"], ttl=1, size=1300), "ttl_exceeded", ICMPv6TimeExceeded),
    "hop limit, TUN": (syn(KINDS["IPIP6"], ttl=1), "ttl_exceeded", ICMPv6TimeExceeded),
}


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("name", OWN6)
def test_a_dropped_packets_sender_is_told(name: str, hook: str, director: Plane) -> None:
    packet, verdict, error = OWN6[name]
    outcome = director.run(hook, bytes(from_client(packet)))
    out = IPv6(src=VIP6, dst=CIP6, hlim=64) / error() / Raw(bytes(packet)[:1232])
    assert (outcome.verdict, outcome.frame[14:].hex()) == (verdict, bytes(out).hex())


@pytest.mark.parametrize(
    "extension", [IPv6ExtHdrFragment, lambda **fields: IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(**fields)]
)
def test_a_later_fragment_silences_nothing_but_itself(extension: Callable[..., Any], director: Plane) -> None:
    """Nobody is told of one that was dropped, or about one; what comes next on the same CPU is another matter."""
    kind = KINDS["NAT6"]
    first, later = (IPv6(src=CIP6, dst=VIP6, hlim=1) / extension(offset=at, m=not at, id=7, nh=6) for at in (0, 3))
    error = bytes(from_client(address(True, FAR6, VIP6) / too_big(True) / Raw(bytes(QUOTE6))))
    with one_cpu():
        opened(director, kind)
        assert director.tc(bytes(from_client(first / syn(kind).payload))).code == REDIRECT
        assert director.tc(bytes(from_client(later / Raw(bytes(8))))).code == SHOT
        assert director.tc(bytes(from_client(syn(kind, ttl=1)))).code == REDIRECT
        assert director.tc(bytes(from_client(STRANGE6["a later fragment"]))).verdict == PASS
        assert director.tc(error).verdict == SENT


@pytest.mark.parametrize("name", [one for one in TUNNELS if one not in LATER])
def test_a_packet_too_big_for_its_tunnel(name: str, director: Plane) -> None:
    kind = KINDS[name]
    opened(director, kind)
    headers = 60 if kind.six else 40
    most = 1500 - kind.overhead
    packet = address(kind.six, client(kind), vip(kind), 64) / TCP(sport=CPORT, dport=kind.port, flags="A")
    fitting, not_ = (packet / Raw(payload(most - headers + more)) for more in (0, 1))
    assert director.tc(bytes(from_client(fitting))).verdict == SENT
    outcome = director.tc(bytes(from_client(not_)))
    assert outcome.verdict == "too_big"
    setattr(not_, "hlim" if kind.six else "ttl", 63)
    quote = Raw(bytes(not_)[: 1232 if kind.six else 548])
    if kind.six:
        out = bytes(IPv6(src=VIP6, dst=CIP6, hlim=64) / too_big(True, most) / quote)
        assert outcome.frame[14:].hex() == out.hex()
    else:
        made = bytes(from_client(IP(src=VIP, dst=CIP, tos=0xC0, ttl=64) / too_big(False, most) / quote))
        assert outcome.frame[12:].hex() == with_id_of(made, outcome.frame)[12:].hex()
