"""The program on the device that marked packets are led to: the same as at tc, but this hop is counted already."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pylvs.director.ebpf import libbpf
from pylvs.model import Counters, Endpoint, FirewallMark, ForwardingMethod, RealServer, VirtualService, parse_address
from tests.packets.frames import CPORT, datagram, hop, reply, request
from tests.packets.plane import Plane
from tests.packets.slots import Slots
from tests.packets.wire import RIP1, RIP2, VIP, VIP2, from_client, from_server

pytestmark = pytest.mark.root

MARK = FirewallMark(10)
DR, NAT = ForwardingMethod.DR, ForwardingMethod.NAT
OK, SHOT, REDIRECT = 0, 2, 7
MARK_AT, CAME_BY_AT, INTERFACE_AT = 8, 36, 40
"""Where `struct __sk_buff` has them."""


def run(plane: Plane, program: str, packet: Any, mark: int = 10, came_by: str = "eth0") -> tuple[int, bytes]:
    """What a program does on eth0 with a marked packet, and what it is then: the kernel writes the Ethernet header."""
    context = bytearray(192)
    struct.pack_into("I", context, MARK_AT, mark)
    struct.pack_into("I", context, CAME_BY_AT, plane.indexes[came_by])
    struct.pack_into("I", context, INTERFACE_AT, plane.indexes["eth0"])
    done = libbpf.test_run(plane.table.fd(program), bytes(from_client(packet)), context=bytes(context))
    return done.retval, done.data[14:]


def marked(plane: Plane, packet: Any, mark: int = 10) -> tuple[int, bytes]:
    """A packet that was led to the device, for which eth0 stands here."""
    return run(plane, "director_mark", packet, mark, "eth1")


def again(plane: Plane, packet: Any, mark: int = 10) -> tuple[int, bytes]:
    """The same when it comes in by the device."""
    return run(plane, "director_mark", packet, mark)


def serve(plane: Plane, *servers: str, id: FirewallMark = MARK, method: ForwardingMethod = NAT) -> None:
    """`RIP` or `RIP:port`, in the order in which they get connections."""
    plane.director.add_service(VirtualService(id, "rr"))
    for one in reversed(servers):
        address, _, port = one.partition(":")
        plane.director.add_server(id, RealServer(Endpoint(parse_address(address), int(port or 0)), method))


def same_hop(packet: Any, ip: dict[str, Any], **ports: int) -> bytes:
    return bytes(hop(packet, {**ip, "ttl": packet.ttl}, **ports))


def test_nat(plane: Plane) -> None:
    serve(plane, f"{RIP1}:8080")
    assert marked(plane, request()) == (REDIRECT, same_hop(request(), {"dst": RIP1}, dport=8080))
    assert marked(plane, request(flags="A")) == (REDIRECT, same_hop(request(flags="A"), {"dst": RIP1}, dport=8080))
    assert len(plane.connections()) == 1
    Slots(plane).check()


def test_dr(plane: Plane) -> None:
    serve(plane, RIP1, method=DR)
    assert marked(plane, request()) == (REDIRECT, bytes(request()))
    assert [(one.active, one.inactive) for one in plane.director.service(MARK).servers] == [(1, 0)]


def test_the_last_hop_of_a_packet_was_counted_before(plane: Plane) -> None:
    serve(plane, f"{RIP1}:80")
    last = request(ip={"ttl": 1})
    assert marked(plane, last) == (REDIRECT, same_hop(last, {"dst": RIP1}))


def test_a_packet_keeps_its_port_where_the_server_has_none(plane: Plane) -> None:
    serve(plane, RIP1)
    for port in (80, 443):
        assert marked(plane, request(port)) == (REDIRECT, same_hop(request(port), {"dst": RIP1}))
    assert sorted(one.virtual.port for one in plane.connections()) == [80, 443]
    answer = reply(443)
    assert run(plane, "director_tc", answer, 0) == (REDIRECT, bytes(hop(answer, {"src": VIP})))


@pytest.mark.parametrize("vip", [VIP, VIP2])
def test_an_answer_comes_from_what_the_client_asked(plane: Plane, vip: str) -> None:
    serve(plane, f"{RIP1}:8080")
    marked(plane, request(4711, ip={"dst": vip}))
    answer = reply(8080, "SA")
    outcome = plane.tc(bytes(from_server(answer)))
    assert outcome.frame[14:] == bytes(hop(answer, {"src": vip}, sport=4711))


def test_later_packets_need_no_mark(plane: Plane) -> None:
    """They are met where they come in, and go on by what is known."""
    serve(plane, f"{RIP1}:80")
    marked(plane, request())
    later = request(flags="A")
    assert run(plane, "director_tc", later, 0) == (REDIRECT, bytes(hop(later, {"dst": RIP1})))
    assert plane.director.service(MARK).counters.in_packets == 2


@pytest.mark.parametrize("program", ["director_mark", "director_tc"])
def test_a_mark_comes_before_an_address(plane: Plane, program: str) -> None:
    """At tc ingress too, where another program has set it."""
    plane.serve(f"tcp {VIP}:80", f"{RIP2}:80")
    serve(plane, f"{RIP1}:80")
    run(plane, program, request())
    run(plane, program, request(sport=CPORT + 1), 11)
    assert [str(one.server.address) for one in sorted(plane.connections(), key=lambda one: one.client.port)] == [
        RIP1,
        RIP2,
    ]


@pytest.mark.parametrize(
    "packet",
    [
        request(flags="A"),
        request(flags="R"),
        request(ip={"src": VIP}),
        request(ip={"src": "127.0.0.1"}),
        datagram(),
        request(ip={"proto": 47}),
        reply(),
    ],
    ids=lambda packet: packet.summary(),
)
def test_what_is_not_for_it_goes_back_to_the_host(plane: Plane, packet: Any) -> None:
    serve(plane, f"{RIP1}:80")
    before = plane.state()
    mark = 11 if packet.proto == 17 else 10
    assert marked(plane, packet, mark) == (REDIRECT, bytes(packet))
    assert again(plane, packet, mark) == (OK, bytes(packet))
    assert plane.state() == before


def test_an_unknown_neighbour_is_looked_for_without_the_route_that_led_here(plane: Plane) -> None:
    """Else the first packet would go by that one when its neighbour has answered."""
    serve(plane, "192.168.0.77:80")
    assert marked(plane, request()) == (REDIRECT, bytes(request()))
    assert plane.director.service(MARK).counters.in_packets == 0
    assert again(plane, request()) == (REDIRECT, same_hop(request(), {"dst": "192.168.0.77"}))
    assert plane.director.service(MARK).counters == Counters(1, 1, 0, len(request()), 0)


def test_what_has_no_mark_was_not_led_there(plane: Plane) -> None:
    """The kernel's own IPv6 messages."""
    serve(plane, f"{RIP1}:80")
    assert marked(plane, request(), 0) == (SHOT, bytes(request()))
    assert plane.connections() == []


def test_the_families_have_marks_of_their_own(plane: Plane) -> None:
    serve(plane, id=FirewallMark(10, 6))
    assert marked(plane, request()) == (REDIRECT, bytes(request()))
    assert plane.connections() == []
