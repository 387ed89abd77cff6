"""What a master tells of its table, and when: packets in, connections for the backup out."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.incoming import Incoming
from pylvs.director.ebpf.outgoing import Outgoing
from pylvs.model import FirewallMark, ForwardingMethod, RealServer, VirtualService
from pylvs.sync.due import Refresh
from pylvs.sync.message import SyncConnection
from tests.packets.plane import Plane, endpoint, service
from tests.packets.slots import Slots
from tests.packets.test_take_over import told
from tests.packets.wire import CIP, RIP1, VIP, tcp, udp, word

pytestmark = pytest.mark.root

NAT, DR, DATAGRAMS, HELD, FULL = f"tcp {VIP}:80", f"tcp {VIP}:82", f"udp {VIP}:53", f"tcp {VIP}:84", f"tcp {VIP}:86"
SECOND = abi.TICKS_A_SECOND


class Master:
    """Looks over the table, all of it at once."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.outgoing = Outgoing(plane.table)
        self.refresh = Refresh()
        self.only_templates = False

    def tells(self, most: int = 1000) -> list[SyncConnection]:
        parts = 8
        look = [
            self.outgoing.part(number, parts, self.refresh, most, only_templates=self.only_templates)
            for number in range(parts)
        ]
        return sorted((one for part in look for one in part), key=lambda one: (one.is_template, one.client_port))

    def words(self) -> list[str]:
        return [
            f"{one.client}:{one.client_port} {one.virtual_port} {one.server}:{one.server_port}"
            f" {int(one.flags):#x} {one.state} {one.timeout}"
            for one in self.tells()
        ]

    def packet(self, port: int, flags: str = "S", *, at: int = 80) -> None:
        self.plane.tc(tcp(word(CIP), port, word(VIP), at, flags))

    def open(self, port: int, *, at: int = 80) -> None:
        self.packet(port, at=at)
        if at == 80:
            self.plane.tc(tcp(word(RIP1), 8080, word(CIP), port, "SA"))
        self.packet(port, "A", at=at)


@pytest.fixture
def master(loaded: Plane) -> Iterator[Master]:
    loaded.reset()
    loaded.serve(NAT, f"{RIP1}:8080")
    loaded.serve(DR, f"{RIP1}:82", method=ForwardingMethod.DR)
    loaded.serve(DATAGRAMS, f"{RIP1}:5353")
    loaded.director.add_service(VirtualService(service(HELD), "rr", persistence=60))
    loaded.add(HELD, f"{RIP1}:84")
    yield Master(loaded)
    loaded.reset()


def test_an_established_connection_is_told_once(master: Master) -> None:
    master.packet(1024)
    assert master.words() == []
    master.open(1024)
    assert master.words() == [f"{CIP}:1024 80 {RIP1}:8080 0x0 1 900"]
    assert master.words() == []


def test_each_further_state_is_told(master: Master) -> None:
    master.open(1024)
    master.tells()
    master.packet(1024, "FA")
    assert master.words() == [f"{CIP}:1024 80 {RIP1}:8080 0x100 7 60"]
    master.plane.tc(tcp(word(RIP1), 8080, word(CIP), 1024, "FA"))
    assert master.words() == [f"{CIP}:1024 80 {RIP1}:8080 0x100 5 120"]


def test_flags_say_the_method_as_the_kernel_does(master: Master) -> None:
    master.open(1024, at=82)
    assert master.words() == [f"{CIP}:1024 82 {RIP1}:82 0x83 1 900"]
    master.packet(1024, "FA", at=82)
    assert master.words() == [f"{CIP}:1024 82 {RIP1}:82 0x183 4 120"]


def test_a_single_datagram_is_not_told(master: Master) -> None:
    send = udp(word(CIP), 1024, word(VIP), 53)
    master.plane.tc(send)
    assert master.words() == []
    master.plane.advance(1)
    assert master.words() == []
    master.plane.tc(send)
    assert master.words() == [f"{CIP}:1024 53 {RIP1}:5353 0x100 0 300"]


def test_a_template_comes_after_its_connection(master: Master) -> None:
    master.open(1024, at=84)
    assert master.words() == [f"{CIP}:1024 84 {RIP1}:84 0x0 1 900", f"{CIP}:0 84 {RIP1}:84 0x1100 1 60"]


def test_persist_mode_tells_of_templates_only(master: Master) -> None:
    master.only_templates = True
    master.open(1024, at=84)
    master.open(1025)
    assert master.words() == [f"{CIP}:1025 80 {RIP1}:8080 0x0 1 900", f"{CIP}:0 84 {RIP1}:84 0x1100 1 60"]


def test_packets_repeat_it_after_half_of_the_timeout(master: Master) -> None:
    master.open(1024)
    master.tells()
    master.plane.advance(449 * SECOND)
    master.packet(1024, "A")
    assert master.words() == []
    master.plane.advance(SECOND)
    master.packet(1024, "A")
    assert master.words() == [f"{CIP}:1024 80 {RIP1}:8080 0x0 1 900"]


def test_it_is_repeated_before_the_backups_copy_ends(master: Master) -> None:
    master.open(1024)
    master.tells()
    master.plane.advance(400 * SECOND)
    master.packet(1024, "A")
    master.plane.advance(490 * SECOND)
    assert master.words() == [f"{CIP}:1024 80 {RIP1}:8080 0x0 1 410"]


def test_silence_is_not_repeated(master: Master) -> None:
    master.open(1024)
    master.tells()
    master.plane.advance(895 * SECOND)
    assert master.words() == []


def test_the_refresh_period_and_retries(master: Master) -> None:
    master.refresh = Refresh(16 * SECOND, 1)
    master.open(1024)
    master.tells()
    spoken = []
    for second in range(1, 22):
        master.plane.advance(SECOND)
        master.packet(1024, "A")
        spoken += [second] * len(master.tells())
    assert spoken == [2, 18, 20]


def test_no_repetition_where_no_knob_asks_for_it(master: Master) -> None:
    master.refresh = Refresh(0, 0, repeats=False)
    master.open(1024)
    assert len(master.tells()) == 1
    master.plane.advance(600 * SECOND)
    master.packet(1024, "A")
    assert not master.tells()


def test_what_was_told_here_is_not_sent_back_until_a_packet_comes(master: Master) -> None:
    Incoming(master.plane.table).take([told()])
    assert master.words() == []
    master.plane.advance(9)
    master.packet(1024, "A")
    assert master.words() == [f"{CIP}:1024 80 {RIP1}:8080 0x0 1 900"]


def test_what_is_too_much_for_one_look_comes_with_the_next(master: Master) -> None:
    for port in range(1024, 1064):
        master.open(port)
    told_first, told_then = master.tells(most=2), master.tells()
    assert 0 < len(told_first) <= 16
    assert sorted(one.client_port for one in told_first + told_then) == list(range(1024, 1064))


def test_a_slot_that_is_used_again_is_told_again(master: Master) -> None:
    master.open(1024)
    master.tells()
    master.plane.tc(tcp(word(CIP), 1024, word(VIP), 80, "R"))
    master.tells()
    master.plane.pass_seconds(14)
    assert not Slots(master.plane).live.any()
    master.open(1024)
    assert master.words() == [f"{CIP}:1024 80 {RIP1}:8080 0x0 1 900"]


def test_a_mark_is_told(master: Master) -> None:
    Incoming(master.plane.table)  # the same look-ups, the other way round
    plane = master.plane
    plane.director.add_service(VirtualService(FirewallMark(7, 4), "rr", persistence=60))
    plane.director.add_server(FirewallMark(7, 4), RealServer(endpoint(f"{RIP1}:0"), ForwardingMethod.NAT))
    incoming = Incoming(plane.table)
    template = told(protocol=0, client_port=0, virtual=ip_address("0.0.0.7"), virtual_port=0, server_port=0, timeout=60)
    assert incoming.take([told(mark=7, server_port=80), template.replace(mark=7, flags=0x1100, state=1)]) == 2
    assert sorted(str(one.server) for one in plane.connections()) == [f"{RIP1}:0", f"{RIP1}:80"]


def test_what_the_protocol_has_no_word_for_is_not_told(master: Master) -> None:
    master.plane.serve(FULL, f"{RIP1}:86", method=ForwardingMethod.FULLNAT)
    master.packet(1024, at=86)
    master.packet(1024, "A", at=86)
    assert len(master.plane.connections()) == 1
    assert master.words() == []
