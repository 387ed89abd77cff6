"""What becomes of connections when services and servers are edited, deleted and added again."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from pylvs.model import Counters, ForwardingMethod, VirtualService
from tests.packets.plane import PASS, SENT, Plane, service
from tests.packets.slots import Slots
from tests.packets.wire import CIP, RIP1, RIP2, VIP, tcp, udp, word

pytestmark = pytest.mark.root

WEB, OTHER, DATAGRAMS = f"tcp {VIP}:80", f"tcp {VIP}:85", f"udp {VIP}:53"
NO_SERVER, SERVER_DELETED, TUPLE_IN_USE = "no_server", "server_deleted", "tuple_in_use"
NAT, DR = ForwardingMethod.NAT, ForwardingMethod.DR
METHODS = pytest.mark.parametrize("method", [NAT, DR])


def client(plane: Plane, flags: str, port: int = 5000, service_port: int = 80) -> str:
    return plane.tc(tcp(word(CIP), port, word(VIP), service_port, flags)).verdict


def server(plane: Plane, flags: str, rip: str = RIP1, port: int = 5000) -> str:
    return plane.tc(tcp(word(rip), 80, word(CIP), port, flags)).verdict


def servers(plane: Plane) -> list[str]:
    """Of the connections there are."""
    return [str(one.server.address) for one in plane.connections()]


def establish(plane: Plane, port: int = 5000, service_port: int = 80) -> None:
    assert client(plane, "S", port, service_port) == SENT
    assert client(plane, "A", port, service_port) == SENT


@METHODS
def test_a_connection_keeps_its_server_whatever_is_edited(method: ForwardingMethod, plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=method)
    establish(plane)
    plane.edit(WEB, f"{RIP1}:80 0", method)
    assert client(plane, "A") == SENT
    plane.add(WEB, f"{RIP2}:80 5", method)
    assert client(plane, "A") == SENT
    plane.director.edit_service(VirtualService(service(WEB), "wlc"))
    assert client(plane, "A") == SENT
    plane.edit(WEB, f"{RIP1}:80 7", NAT if method is DR else DR)
    assert client(plane, "A") == SENT
    assert servers(plane) == [RIP1]
    Slots(plane).check()


@METHODS
def test_the_method_of_a_connection_is_that_of_its_beginning(method: ForwardingMethod, plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=method)
    establish(plane)
    before = plane.tc(tcp(word(CIP), 5000, word(VIP), 80, "A")).frame
    plane.edit(WEB, f"{RIP1}:80", NAT if method is DR else DR)
    assert plane.tc(tcp(word(CIP), 5000, word(VIP), 80, "A")).frame == before


@METHODS
def test_a_quiesced_server_gets_no_new_connection(method: ForwardingMethod, plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=method)
    establish(plane)
    plane.edit(WEB, f"{RIP1}:80 0", method)
    assert client(plane, "S", 5001) == NO_SERVER
    assert client(plane, "A") == SENT
    assert client(plane, "R") == SENT
    assert client(plane, "S") == NO_SERVER, "the port of a closed connection is a new connection"
    plane.edit(WEB, f"{RIP1}:80 1", method)
    assert client(plane, "S") == SENT


@METHODS
def test_a_deleted_server(method: ForwardingMethod, plane: Plane) -> None:
    """Its connections stay, their requests are dropped; answers that are on their way still get through."""
    plane.serve(WEB, f"{RIP1}:80", method=method)
    establish(plane)
    state = plane.connections()
    plane.delete(WEB, f"{RIP1}:80")
    counted = plane.snapshot(WEB).counters
    assert [client(plane, flags) for flags in ("A", "PA", "FA", "R", "S")] == [SERVER_DELETED] * 5
    assert plane.connections() == state
    if method is NAT:
        assert server(plane, "A") == SENT
    assert plane.snapshot(WEB).counters == counted, "only the packets of available servers are counted"
    assert client(plane, "S", 5001) == NO_SERVER
    Slots(plane).check()


@METHODS
def test_a_deleted_server_comes_back_with_connections_and_counters(method: ForwardingMethod, plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=method)
    establish(plane)
    before = plane.server(WEB, f"{RIP1}:80")
    assert (before.active, before.counters.in_packets) == (1, 2)
    plane.delete(WEB, f"{RIP1}:80")
    assert client(plane, "A") == SERVER_DELETED
    plane.add(WEB, f"{RIP1}:80", method)
    assert plane.server(WEB, f"{RIP1}:80") == before
    assert client(plane, "A") == SENT
    assert plane.server(WEB, f"{RIP1}:80").counters.in_packets == 3


@METHODS
def test_another_server_takes_the_port_of_a_closed_connection(method: ForwardingMethod, plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=method)
    establish(plane)
    client(plane, "R")
    plane.delete(WEB, f"{RIP1}:80")
    plane.add(WEB, f"{RIP2}:80", method)
    assert client(plane, "A") == SERVER_DELETED
    assert client(plane, "S") == SENT
    assert servers(plane) == [RIP2]
    Slots(plane).check()


@METHODS
def test_a_persistent_connection_goes_on_when_its_port_is_used_again(method: ForwardingMethod, plane: Plane) -> None:
    """It is no new one: its template keeps it at its server anyway."""
    plane.director.add_service(VirtualService(service(WEB), "rr", persistence=300))
    for rip in (RIP1, RIP2):
        plane.add(WEB, f"{rip}:80", method)
    establish(plane)
    client(plane, "R")
    assert client(plane, "S") == SENT
    assert plane.snapshot(WEB).counters.connections == 1
    assert sorted(one.state for one in plane.connections()) == ["ASSURED", "SYN_RECV"]


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_a_template_of_a_quiesced_server_opens_one_connection(hook: str, plane: Plane) -> None:
    """And not a second one when the packet that opened it by XDP goes up to tc."""
    plane.director.set_knobs({"expire_nodest_conn": 1})
    plane.director.add_service(VirtualService(service(WEB), "rr", persistence=300))
    plane.add(WEB, f"{RIP1}:80")
    establish(plane)
    plane.edit(WEB, f"{RIP1}:80 0")
    plane.forgets_the_way()
    assert plane.run(hook, tcp(word(CIP), 5001, word(VIP), 80)).verdict == SENT
    assert plane.snapshot(WEB).counters.connections == 2


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_an_answer_over_udp_assures_the_template(hook: str, plane: Plane) -> None:
    plane.director.add_service(VirtualService(service(DATAGRAMS), "rr", persistence=300))
    plane.add(DATAGRAMS, f"{RIP1}:53")
    for _ in range(2):
        assert plane.run(hook, udp(word(CIP), 5000, word(VIP), 53)).verdict == SENT
        assert sorted(one.state for one in plane.connections()) == ["NONE", "UDP"]
    assert plane.run(hook, udp(word(RIP1), 53, word(CIP), 5000)).verdict == SENT
    assert sorted(one.state for one in plane.connections()) == ["ASSURED", "UDP"]


@METHODS
def test_connections_of_a_deleted_server_end_in_time(method: ForwardingMethod, plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=method)
    establish(plane)
    plane.delete(WEB, f"{RIP1}:80")
    for _ in range(9):
        plane.pass_seconds(100)
        client(plane, "A")
    plane.pass_seconds(5)
    assert plane.connections() == []
    assert client(plane, "A") == PASS
    Slots(plane).check()
    plane.add(WEB, f"{RIP1}:80", method)
    after = plane.server(WEB, f"{RIP1}:80")
    assert (after.active, after.inactive) == (0, 0)


@METHODS
def test_a_deleted_service(method: ForwardingMethod, plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=method)
    establish(plane)
    plane.director.delete_service(service(WEB))
    assert client(plane, "A") == SERVER_DELETED
    assert client(plane, "S", 5001) == PASS
    plane.serve(WEB, f"{RIP1}:80", method=method)
    assert client(plane, "A") == SENT
    assert plane.server(WEB, f"{RIP1}:80").active == 1
    Slots(plane).check()


def test_a_server_comes_back_under_another_service_slot(plane: Plane) -> None:
    """The service's number has changed: counters must go to where it is now."""
    plane.serve(WEB, f"{RIP1}:80")
    establish(plane)
    plane.director.delete_service(service(WEB))
    plane.serve(OTHER, f"{RIP2}:85")
    plane.serve(WEB, f"{RIP1}:80")
    before = plane.snapshot(OTHER).counters
    assert client(plane, "A") == SENT
    assert plane.snapshot(WEB).counters == Counters(0, 1, 0, 40, 0)
    assert plane.snapshot(OTHER).counters == before


def test_the_same_server_of_another_service_is_another_server(plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80")
    establish(plane)
    plane.delete(WEB, f"{RIP1}:80")
    plane.serve(OTHER, f"{RIP1}:80")
    assert client(plane, "A") == SERVER_DELETED
    assert plane.server(OTHER, f"{RIP1}:80").active == 0


def test_zero_counts_from_nothing_and_keeps_connections(plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80")
    establish(plane)
    plane.director.zero(service(WEB))
    snapshot = plane.snapshot(WEB)
    assert snapshot.counters == snapshot.servers[0].counters == Counters()
    assert snapshot.servers[0].active == 1
    client(plane, "A")
    server(plane, "A")
    assert plane.snapshot(WEB).counters == Counters(0, 1, 1, 40, 40)


# -- one client's port, two services of one NAT server


def test_the_tuple_is_in_use_while_the_older_is_active(plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80")
    plane.serve(OTHER, f"{RIP1}:80")
    establish(plane)
    before = plane.snapshot(OTHER)
    assert client(plane, "S", service_port=85) == TUPLE_IN_USE
    assert plane.snapshot(OTHER) == before
    assert len(plane.connections()) == 1
    assert client(plane, "A") == SENT
    Slots(plane).check()


def test_the_older_gives_way_when_it_is_inactive(plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80")
    plane.serve(OTHER, f"{RIP1}:80")
    establish(plane)
    client(plane, "FA")
    assert client(plane, "S", service_port=85) == SENT
    assert [one.virtual.port for one in plane.connections()] == [85]
    assert (plane.server(WEB, f"{RIP1}:80").inactive, plane.server(OTHER, f"{RIP1}:80").active) == (0, 1)
    answer = plane.tc(tcp(word(RIP1), 80, word(CIP), 5000, "SA")).frame
    assert answer[34:36] == (85).to_bytes(2, "big")
    Slots(plane).check()


def test_dr_servers_may_share_a_tuple(plane: Plane) -> None:
    plane.serve(WEB, f"{RIP1}:80", method=DR)
    plane.serve(OTHER, f"{RIP1}:85", method=DR)
    establish(plane)
    establish(plane, service_port=85)
    assert len(plane.connections()) == 2


def test_a_nat_server_that_is_a_client_of_the_service(plane: Plane) -> None:
    """Its requests are no answers."""
    plane.serve(WEB, f"{RIP1}:80", f"{RIP2}:80")
    assert plane.tc(tcp(word(RIP1), 5000, word(VIP), 80)).verdict == SENT
    assert [one.client.address for one in plane.connections()] == [IPv4Address(RIP1)]
    Slots(plane).check()
