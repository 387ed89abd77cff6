"""What another director tells of its connections goes into the table, as if they had always been here."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.convert import pack_address, unpack_address
from pylvs.director.ebpf.incoming import Incoming
from pylvs.model import ForwardingMethod, VirtualService
from pylvs.sync.message import DR, Flag, SyncConnection, decode
from tests.packets.plane import SENT, Plane, service
from tests.packets.slots import Slots
from tests.packets.wire import CIP, RIP1, RIP2, RIP3, VIP, tcp, word

pytestmark = pytest.mark.root

NAT_SERVICE, DR_SERVICE, HELD = f"tcp {VIP}:80", f"tcp {VIP}:82", f"tcp {VIP}:84"
ESTABLISHED, CLOSE_WAIT, TIME_WAIT = 1, 7, 5


def told(**changes: Any) -> SyncConnection:
    """An established connection of NAT."""
    usual = SyncConnection(6, ip_address(CIP), 1024, ip_address(VIP), 80, ip_address(RIP1), 8080, 0, ESTABLISHED, 900)
    return usual.replace(**changes)


TOLD_OF_DR = told(virtual_port=82, server_port=82, flags=DR | Flag.NOOUTPUT)
TEMPLATE = told(client=ip_address("110.0.0.0"), client_port=0, virtual_port=84, server_port=84, timeout=60).replace(
    flags=Flag.TEMPLATE | Flag.INACTIVE, state=1
)


@pytest.fixture
def standing(loaded: Plane) -> Iterator[Plane]:
    """Two servers of NAT and of DR; RIP2 is the next to be chosen."""
    loaded.reset()
    loaded.serve(NAT_SERVICE, f"{RIP1}:8080", f"{RIP2}:8080")
    loaded.serve(DR_SERVICE, f"{RIP1}:82", f"{RIP2}:82", method=ForwardingMethod.DR)
    loaded.director.add_service(
        VirtualService(service(HELD), "rr", persistence=60, netmask=ip_address("255.255.255.0"))
    )
    for rip in (RIP1, RIP2):
        loaded.add(HELD, f"{rip}:84")
    yield loaded
    Slots(loaded).check()
    loaded.reset()


@pytest.fixture
def incoming(standing: Plane) -> Incoming:
    return Incoming(standing.table)


def listed(plane: Plane) -> list[tuple[str, str, int]]:
    return sorted((str(one.server), one.state, one.expires) for one in plane.connections())


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize(("one", "port"), [(told(), 80), (TOLD_OF_DR, 82)], ids=["nat", "dr"])
def test_a_told_connection_goes_on_at_its_server(
    standing: Plane, incoming: Incoming, hook: str, one: SyncConnection, port: int
) -> None:
    assert incoming.take([one]) == 1
    assert listed(standing) == [(f"{RIP1}:{one.server_port}", "ESTABLISHED", 900)]
    assert [s.active for s in standing.snapshot(f"tcp {VIP}:{port}").servers] == [0, 1]
    assert standing.run(hook, tcp(word(CIP), 1024, word(VIP), port, "A")).verdict == SENT
    assert listed(standing) == [(f"{RIP1}:{one.server_port}", "ESTABLISHED", 900)]


def test_the_answers_of_nat_are_found(standing: Plane, incoming: Incoming) -> None:
    incoming.take([told()])
    answer = standing.tc(tcp(word(RIP1), 8080, word(CIP), 1024, "A"))
    assert (answer.verdict, answer.frame[26:30], answer.frame[34:36]) == (SENT, word(VIP), (80).to_bytes(2, "big"))


def test_what_is_told_again_changes_state_load_and_end(standing: Plane, incoming: Incoming) -> None:
    incoming.take([told(), told(state=CLOSE_WAIT, flags=Flag.INACTIVE, timeout=60)])
    assert listed(standing) == [(f"{RIP1}:8080", "CLOSE_WAIT", 60)]
    server = standing.server(NAT_SERVICE, f"{RIP1}:8080")
    assert (server.active, server.inactive) == (0, 1)


def test_a_told_connection_ends_by_itself(standing: Plane, incoming: Incoming) -> None:
    incoming.take([told(state=TIME_WAIT, flags=Flag.INACTIVE, timeout=5)])
    standing.pass_seconds(8)
    assert not standing.connections()


def test_no_timeout_means_that_of_the_state(standing: Plane, incoming: Incoming) -> None:
    incoming.take([told(timeout=0, state=CLOSE_WAIT, flags=Flag.INACTIVE)])
    assert listed(standing) == [(f"{RIP1}:8080", "CLOSE_WAIT", 60)]


def test_a_connection_told_of_another_server_moves_there(standing: Plane, incoming: Incoming) -> None:
    incoming.take([told(), told(server=ip_address(RIP2))])
    assert listed(standing) == [(f"{RIP2}:8080", "ESTABLISHED", 900)]


def test_the_end_of_a_former_connection_is_no_news(standing: Plane, incoming: Incoming) -> None:
    late = told(server=ip_address(RIP2), state=TIME_WAIT, flags=Flag.INACTIVE, timeout=120)
    assert incoming.take([told(), late]) == 1
    assert listed(standing) == [(f"{RIP1}:8080", "ESTABLISHED", 900)]


def test_a_template_holds_its_clients(standing: Plane, incoming: Incoming) -> None:
    assert incoming.take([TEMPLATE]) == 1
    assert listed(standing) == [(f"{RIP1}:84", "ASSURED", 60)]
    for port in range(2000, 2004):
        standing.run("tc", tcp(word(CIP), port, word(VIP), 84, "S"))
    assert {server for server, _, _ in listed(standing)} == {f"{RIP1}:84"}
    assert standing.server(HELD, f"{RIP1}:84").persistent == 1


def test_a_template_moves(standing: Plane, incoming: Incoming) -> None:
    assert incoming.take([TEMPLATE, TEMPLATE.replace(server=ip_address(RIP2))]) == 2
    assert listed(standing) == [(f"{RIP2}:84", "ASSURED", 60)]
    assert standing.server(HELD, f"{RIP1}:84").persistent == 0


def test_a_connection_waits_for_its_server(standing: Plane, incoming: Incoming) -> None:
    standing.delete(NAT_SERVICE, f"{RIP1}:8080")
    incoming.look_again()
    assert incoming.take([told()]) == 0
    standing.add(NAT_SERVICE, f"{RIP1}:8080")
    incoming.look_again()
    assert [server for server, _, _ in listed(standing)] == [f"{RIP1}:8080"]


def test_a_server_that_went_since_the_last_look_gets_nothing(standing: Plane, incoming: Incoming) -> None:
    standing.delete(NAT_SERVICE, f"{RIP1}:8080")
    assert incoming.take([told()]) == 0
    assert not standing.connections()


def test_a_place_that_another_server_has_by_now_is_not_bound_to(standing: Plane, incoming: Incoming) -> None:
    servers = standing.table.servers
    number = next(n for n in range(servers.entries) if unpack_address(servers[n].address) == ip_address(RIP1))
    servers[number].address = abi.Address.from_buffer_copy(pack_address(ip_address(RIP3)))
    assert incoming.take([told()]) == 0
    servers[number].address = abi.Address.from_buffer_copy(pack_address(ip_address(RIP1)))
    assert incoming.take([told()]) == 1


def test_many_are_taken_in_several_frames(standing: Plane, incoming: Incoming) -> None:
    assert incoming.take([told(client_port=port) for port in range(1024, 1124)]) == 100
    assert len(standing.connections()) == 100


@pytest.mark.parametrize(
    "nonsense",
    [
        told(protocol=1),
        told(state=11),
        told(client_port=0, flags=Flag.NO_CLIENT_PORT),
        told(client=ip_address("127.0.0.1")),
        told(client=ip_address("224.0.0.1")),
        told(client=ip_address(0)),
        told(virtual=ip_address("fd00::1")),
        told(engine="sip", engine_data=b"call"),
        TEMPLATE.replace(client_port=1024),
        TEMPLATE.replace(state=2),
        told(virtual_port=81),
        told(virtual=ip_address(RIP1)),
    ],
    ids=repr,
)
def test_nonsense_is_not_taken(standing: Plane, incoming: Incoming, nonsense: SyncConnection) -> None:
    assert incoming.take([nonsense]) == 0
    assert not standing.connections()


def test_a_backup_that_is_told_nothing_true_stays_whole(standing: Plane, incoming: Incoming) -> None:
    """Whatever comes, nothing is raised and no invariant of the table breaks (see `standing`)."""
    ports, addresses = st.sampled_from([0, 80, 82, 84, 1024, 8080, 65535]), st.sampled_from([CIP, VIP, RIP1, RIP2])
    connection = st.builds(
        SyncConnection,
        st.sampled_from([0, 6, 17, 132, 255]),
        addresses.map(ip_address),
        ports,
        addresses.map(ip_address),
        ports,
        addresses.map(ip_address),
        ports,
        st.integers(0, 2**32 - 1) | st.sampled_from([Flag.TEMPLATE, 0x100]),
        st.integers(0, 65535) | st.integers(0, 13),
        st.integers(0, 2**32 - 1),
        st.integers(0, 3),
    )

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(connection, max_size=40))
    def take(connections: list[SyncConnection]) -> None:
        incoming.take(connections)
        Slots(standing).check()

    take()


def test_what_is_told_is_marked_and_ends_with_a_second(standing: Plane, incoming: Incoming) -> None:
    """By this a master knows what it was told itself, until a packet comes."""
    incoming.take([told()])
    slots = Slots(standing)
    assert slots.owners.sum() == 1
    assert slots.told[slots.owners].all()
    assert (slots.raw["deadline"][slots.owners] % abi.TICKS_A_SECOND == abi.TICKS_A_SECOND - 1).all()


def test_a_datagram_of_the_kernel_is_taken_as_it_is(standing: Plane, incoming: Incoming) -> None:
    """As tests/golden/sync has it, with the addresses of this network."""
    message = decode(
        bytes.fromhex(
            "0007002c01010000 00060024 00000000 0001 0400 0050 1f90 00000000 00000384 6e000001 c0a800fa c0a8006f"
        )
    )
    assert message
    assert not message.fault
    assert incoming.take(message.connections) == 1
