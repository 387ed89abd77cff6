"""nat_icmp_send=1: a NAT server that sends what belongs to no connection is told: port unreachable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Raw

from pylvs.model import FirewallMark, ForwardingMethod, RealServer, VirtualService
from tests.packets.errors import told, with_id_of
from tests.packets.frames import CPORT, answer, reply, request
from tests.packets.plane import PASS, SENT, Plane, endpoint, service
from tests.packets.sctp import sctp
from tests.packets.six import CIP6, DIP6, RIP6, VIP6, ipv6
from tests.packets.wire import CIP, DIP, NARROW, RIP1, RIP2, VIP, from_client, from_server

pytestmark = pytest.mark.root

NAT, DR, TUN, FULLNAT = (ForwardingMethod(one) for one in ("nat", "dr", "tun", "fullnat"))
MARK, EVERY = FirewallMark(7), service(f"tcp {VIP}:0")
HOOKS = ("tc", "xdp")
UNREACHABLE = (3, 3)


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """Servers of every kind."""
    loaded.reset()
    with ipv6():
        loaded.serve(f"tcp {VIP}:80", f"{RIP1}:8080", f"{RIP2}:8080 0")
        loaded.serve(f"tcp {VIP}:82", f"{RIP1}:82", method=DR)
        loaded.serve(f"tcp {VIP}:83", f"{RIP1}:83", method=TUN)
        loaded.serve(f"tcp {VIP}:84", f"{RIP1}:8484", method=FULLNAT)
        loaded.serve(f"udp {VIP}:53", f"{RIP1}:5353")
        loaded.serve(f"sctp {VIP}:80", f"{RIP1}:9090")
        loaded.serve(f"tcp {VIP6}:80", f"{RIP6}:8080")
        loaded.director.add_service(VirtualService(MARK, "rr"))
        loaded.director.add_server(MARK, RealServer(endpoint(f"{RIP1}:7070"), NAT))
        loaded.director.add_server(MARK, RealServer(endpoint(f"{RIP2}:0"), NAT))
        loaded.director.add_service(VirtualService(EVERY, "rr", persistence=100))
        loaded.director.add_server(EVERY, RealServer(endpoint(f"{NARROW}:0"), NAT))
        yield loaded
        loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Iterator[Plane]:
    """With the knob set, and without connections."""
    with standing.switched_on("nat_icmp_send"):
        yield standing


def six(flags: str = "A", *, sport: int = 8080, dst: str = CIP6, hlim: int = 64) -> Any:
    """What an IPv6 server sends."""
    return IPv6(src=RIP6, dst=dst, hlim=hlim) / TCP(sport=sport, dport=CPORT, flags=flags) / Raw(b"data")


def chunks(names: str) -> Any:
    """What an SCTP server sends."""
    packet = IP(sctp(RIP1, 9090, CIP, CPORT, names))
    packet.chksum = None
    return packet


REFUSED = {
    "an answer": reply(),
    "a FIN": reply(flags="FA"),
    "a SYN": reply(flags="S"),
    "no flags": reply(flags=""),
    "data with a TOS": reply(flags="PA", size=700, ip={"tos": 0x10}),
    "a server of weight 0": reply(ip={"src": RIP2}),
    "to another client": reply(ip={"dst": "110.0.0.77"}),
    "a datagram": answer(),
    "the first fragment": answer(ip={"flags": "MF"}),
    "a mark's server, TCP": reply(7070),
    "a mark's server, UDP": answer(7070),
    "the last TTL that goes on": reply(ip={"ttl": 2}),
    "SCTP": chunks("DATA"),
    "SCTP without a chunk": chunks("NOCHUNK"),
    "SCTP that aborts behind another chunk": chunks("COOKIE_ACK+ABORT"),
}
PASSED = {
    "a reset": reply(flags="R"),
    "a reset of what was heard": reply(flags="RA"),
    "SCTP's ABORT": chunks("ABORT"),
    "the last hop": reply(ip={"ttl": 1}),
    "another port": reply(22),
    "the service's port": reply(80),
    "another protocol": answer(8080),
    "another protocol of UDP's": reply(5353),
    "another address": reply(ip={"src": "192.168.0.112"}),
    "a DR server": reply(82),
    "a TUN server": reply(83),
    "a FULLNAT server": reply(8484),
    "a mark's server of every port": reply(4444, ip={"src": RIP2}),
    "a server of every port": reply(80, ip={"src": NARROW}),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, hook: str, director: Plane) -> None:
    packet, before = REFUSED[name], director.table.connections.memory[:]
    outcome = director.run(hook, bytes(from_server(packet)))
    expected = bytes(told(packet, UNREACHABLE, source=DIP, forwarded=True))
    assert (outcome.verdict, outcome.hook) == ("no_connection", "tc")
    assert outcome.frame[12:].hex() == with_id_of(expected, outcome.frame)[12:].hex()
    assert director.table.connections.memory[:] == before


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", PASSED)
def test_passed(name: str, hook: str, director: Plane) -> None:
    before, raw = director.state(), bytes(from_server(PASSED[name]))
    outcome = director.run(hook, raw)
    assert (outcome.verdict, outcome.frame) == (PASS, raw)
    assert director.state() == before


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", REFUSED)
def test_passed_while_the_knob_is_0(name: str, hook: str, director: Plane) -> None:
    director.director.set_knobs({"nat_icmp_send": 0})
    raw = bytes(from_server(REFUSED[name]))
    assert director.run(hook, raw).verdict == PASS


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("port", [80, 443])
def test_to_the_vip(port: int, hook: str, director: Plane) -> None:
    """It answers by itself; a real server is no client of a service, as long as it sends from that port."""
    packet = reply(flags="S", ip={"dst": VIP})
    packet[TCP].dport = port
    outcome = director.run(hook, bytes(from_server(packet)))
    expected = bytes(told(packet, UNREACHABLE))
    assert outcome.verdict == "no_connection"
    assert outcome.frame[12:].hex() == with_id_of(expected, outcome.frame)[12:].hex()
    assert not director.connections()


@pytest.mark.parametrize("hook", HOOKS)
def test_ipv6(hook: str, director: Plane) -> None:
    for packet in (six(), six(flags="S"), six(hlim=2)):
        quoted = packet.copy()
        quoted.hlim -= 1
        out = IPv6(src=DIP6, dst=RIP6, hlim=64) / ICMPv6DestUnreach(code=4) / Raw(bytes(quoted))
        outcome = director.run(hook, bytes(from_server(packet)))
        assert (outcome.verdict, outcome.frame[14:].hex()) == ("no_connection", bytes(out).hex())
    for packet in (six("R"), six(sport=22), six(hlim=1)):
        assert director.run(hook, bytes(from_server(packet))).verdict == PASS


@pytest.mark.parametrize("hook", HOOKS)
def test_answers_of_connections_are_none_of_it(hook: str, director: Plane) -> None:
    assert director.run(hook, bytes(from_client(request()))).verdict == SENT
    assert director.run(hook, bytes(from_server(reply(flags="SA")))).verdict == SENT
    director.delete(f"tcp {VIP}:80", f"{RIP1}:8080")
    assert director.run(hook, bytes(from_server(reply()))).verdict == SENT
    assert director.run(hook, bytes(from_server(reply(dport=CPORT + 1)))).verdict == PASS
    director.add(f"tcp {VIP}:80", f"{RIP1}:8080")
    assert director.run(hook, bytes(from_server(reply(dport=CPORT + 1)))).verdict == "no_connection"


def test_a_server_that_changes_its_method(director: Plane) -> None:
    id, raw = f"tcp {VIP}:82", bytes(from_server(reply(82)))
    assert director.tc(raw).verdict == PASS
    director.edit(id, f"{RIP1}:82", NAT)
    assert director.tc(raw).verdict == "no_connection"
    director.edit(id, f"{RIP1}:82", DR)
    assert director.tc(raw).verdict == PASS
