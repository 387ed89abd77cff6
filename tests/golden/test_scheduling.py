"""The data plane chooses as the kernel's IPVS was recorded to, packet by packet."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6

from pylvs.director.ebpf import libbpf
from pylvs.director.ebpf.registry import compare_with_thresholds
from pylvs.model import IPAddress
from tests.golden.scheduling import Opened, Step, scenarios
from tests.ipvsadm import ipvsadm
from tests.packets.plane import Plane
from tests.packets.space import ip
from tests.packets.test_mark import CAME_BY_AT, INTERFACE_AT, MARK_AT
from tests.packets.wire import RIP1, from_client, tcp

pytestmark = pytest.mark.root

MARK = 1
V6 = ("address add fd00::208/64 dev eth0 nodad", "route add fd00:30::/64 dev eth0", "route add default dev eth0")


@pytest.fixture(scope="module")
def machine(loaded: Plane) -> Iterator[Plane]:
    """With ways to the recorded servers, which nobody is at."""
    ip(f"route add 10.30.0.0/16 via {RIP1}")
    ip("address flush dev eth0 scope global", *V6, six=True)
    yield loaded
    ip("route delete 10.30.0.0/16")
    ip("address flush dev eth0 scope global", six=True)


class Replay:
    """The recorded connections, opened through the data plane."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.opened: list[Opened] = []

    def take(self, step: Step) -> None:
        if step.command:
            assert ipvsadm(step.command.split()[1:], self.plane.director) == ("", "", 0)
        for one in step.opened:
            for flags in "SA":
                self.send(one, flags)
            if one.chosen:
                self.opened.append(one)
        for number in step.closed:
            self.send(self.opened[number], "FA")
        if step.loads:
            self.carry(step.loads)

    def send(self, one: Opened, flags: str) -> None:
        """With the mark that a rule of the recorded machine gave it, where the service has one."""
        context = bytearray(192)
        struct.pack_into("I", context, MARK_AT, MARK)
        for at in (CAME_BY_AT, INTERFACE_AT):
            struct.pack_into("I", context, at, self.plane.indexes["eth0"])
        libbpf.test_run(self.plane.table.fd("director_tc"), _frame(one, flags), context=bytes(context))

    def carry(self, loads: dict[IPAddress, tuple[int, int]]) -> None:
        """What became of the recorded connections until then, whatever ours have become."""
        for service in self.plane.director.services():
            registry = self.plane.director._registry
            assert registry is not None
            for slot in registry.servers[registry.services[service.service.id]]:
                active, inactive = loads[registry.endpoint(slot).address]
                raw = self.plane.table.servers[slot]
                raw.load = active << 32 | inactive
                compare_with_thresholds(raw)

    def chosen(self) -> dict[tuple[IPAddress, int, IPAddress], IPAddress]:
        """Who has got each connection."""
        return {
            (one.client.address, one.client.port, one.virtual.address): one.server.address
            for one in self.plane.connections()
        }


def _frame(one: Opened, flags: str) -> bytes:
    if one.client.version == 4:
        return tcp(one.client.packed, one.port, one.vip.packed, 80, flags)
    packet = IPv6(src=str(one.client), dst=str(one.vip)) / TCP(sport=one.port, dport=80, flags=flags)
    frame: bytes = bytes(from_client(packet))
    return frame


@pytest.mark.parametrize("steps", scenarios())
def test_the_data_plane_chooses_as_the_kernel(machine: Plane, steps: list[Step]) -> None:
    machine.reset()
    replay = Replay(machine)
    for step in steps:
        replay.take(step)
    asked = [one for step in steps for one in step.opened]
    expected = {(one.client, one.port, one.vip): one.chosen for one in asked if one.chosen}
    assert replay.chosen() == expected
    assert len(asked) == len({(one.client, one.port, one.vip) for one in asked})
