"""The data plane under test: frames go in at a hook, a verdict and a frame come out; the clock is the test's."""

from __future__ import annotations

import os
import pathlib
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from pylvs.director import knob
from pylvs.director.ebpf import abi, attach, bpffs, daemon, knobs, libbpf
from pylvs.director.ebpf.capacity import Capacity
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.director.ebpf.table import Table
from pylvs.errors import NotPermitted, NotSupportedHere
from pylvs.model import (
    Connection,
    Endpoint,
    ForwardingMethod,
    Protocol,
    RealServer,
    ServerSnapshot,
    ServiceSnapshot,
    VirtualAddress,
    VirtualService,
    parse_address,
)
from tests.packets.space import fresh_namespace
from tests.packets.wire import INTERFACES, MACS, NARROW, NARROW_MTU, NEIGHBOURS

PASS, SENT, HELD, ICMP_LIMIT = "pass", "sent", "held", "icmp_limit"
START, PAUSE = 1 << 20, 3600 * abi.TICKS_A_SECOND
"""The tick at which the first test begins; and from one test to the next, which so knows none of its fragments."""
CAPACITY = Capacity(connections=4096, services=32, servers=64)

_XDP = {1: "drop", 2: PASS, 3: SENT, 4: SENT}
_TC = {0: PASS, 2: "drop", 4: HELD, 7: SENT}
_XDP_TX = 3
GSO_SEGMENTS, GSO_SIZE = 164, 176
"""Where `struct __sk_buff` has them."""


class Outcome(NamedTuple):
    """`verdict` is PASS, SENT, HELD (used up, to come in again later) or a drop's name.

    `hook` is where that was decided, `code` what the hook returned. What was dropped and sent all the same is an ICMP
    error about it.
    """

    verdict: str
    frame: bytes
    hook: str
    code: int


def service(text: str) -> VirtualAddress:
    """`tcp 192.168.0.250:80`."""
    protocol, _, rest = text.partition(" ")
    return VirtualAddress(Protocol[protocol.upper()], endpoint(rest))


def endpoint(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    return Endpoint(parse_address(address), int(port))


class Plane:
    """A small director on eth0 and eth1 (both hooks) and eth2 (tc only)."""

    def __init__(self, capacity: Capacity = CAPACITY) -> None:
        self.capacity = capacity
        named = {name: attach.interface_named(name) for name in INTERFACES}
        with_xdp, without = (
            [one for name, one in named.items() if INTERFACES[name].hook == hook] for hook in ("xdp", "tc")
        )
        self.director = EbpfDirector(hook="xdp", capacity=capacity, interfaces=with_xdp)
        self.table: Table = self.director.loaded()
        attach.attach(self.table, without, "tc")
        self.indexes = {name: one.index for name, one in named.items()}
        self.take_over()

    def take_over(self) -> None:
        """The loaded director is the tests' from now on: its clock, its settings."""
        self.settings = self.table.settings
        self._timeouts = list(self.settings.timeout)
        self._icmp_rooms = one_map(self.table.fd("director_tc"), "icmp_rooms")
        self._start = START
        self.reset()

    def close(self) -> None:
        """Nothing is left of it."""
        os.close(self._icmp_rooms)
        daemon.stop_all(bpffs.netns_cookie())
        attach.detach(self.table, attach.attachments(self.table))
        self.director.close()
        bpffs.remove_pins(self.table.pins)
        pathlib.Path(bpffs.lock_path(bpffs.netns_cookie())).unlink(missing_ok=True)

    def reset(self) -> None:
        """An empty director, as loaded just now, with its clock stopped."""
        settings = self.settings
        settings.clock_stopped = 1
        daemon.stop_all(bpffs.netns_cookie())
        self.director.flush()
        for array in (self.table.connections, self.table.servers, self.table.services):
            array.memory[:] = bytes(len(array.memory))
        settings.services_used = settings.servers_used = settings.locals_used = settings.next_serial = 0
        settings.timeout[:] = self._timeouts
        settings.watched_until = settings.defences = 0
        knobs.write(settings, knob.defaults())
        settings.now = self._later()
        self.may_send_errors()
        self.director._slots = None
        self._drops = self.table.drops()

    @contextmanager
    def switched_on(self, knob_name: str) -> Iterator[Plane]:
        """Without connections, and with a knob at 1 for so long."""
        self.forget()
        self.director.set_knobs({knob_name: 1})
        yield self
        self.director.set_knobs({knob_name: 0})

    def forget(self) -> None:
        """As after `reset`, but with the services and servers that there are."""
        settings, servers = self.settings, self.table.servers
        self.table.connections.memory[:] = bytes(len(self.table.connections.memory))
        for number in range(settings.servers_used):
            servers[number].load = servers[number].templates = 0
        self.forgets_the_way()
        settings.now = self._later()
        self.may_send_errors()
        self.director.zero()

    def _later(self) -> int:
        self._start += PAUSE
        return self._start

    # -- the control plane

    def serve(
        self, id: str, *servers: str, method: ForwardingMethod = ForwardingMethod.NAT, scheduler: str = "rr"
    ) -> None:
        """Add a service and its servers, each `RIP:port` or `RIP:port weight`."""
        self.director.add_service(VirtualService(service(id), scheduler))
        for one in servers:
            self.add(id, one, method)

    def add(self, id: str, server: str, method: ForwardingMethod = ForwardingMethod.NAT) -> None:
        where, _, weight = server.partition(" ")
        self.director.add_server(service(id), RealServer(endpoint(where), method, int(weight or 1)))

    def edit(self, id: str, server: str, method: ForwardingMethod = ForwardingMethod.NAT) -> None:
        where, _, weight = server.partition(" ")
        self.director.edit_server(service(id), RealServer(endpoint(where), method, int(weight or 1)))

    def delete(self, id: str, server: str) -> None:
        self.director.delete_server(service(id), endpoint(server))

    def snapshot(self, id: str) -> ServiceSnapshot:
        return self.director.service(service(id))

    def server(self, id: str, server: str) -> ServerSnapshot:
        where = endpoint(server)
        return next(one for one in self.snapshot(id).servers if one.server.endpoint == where)

    def connections(self) -> list[Connection]:
        return list(self.director.connections())

    def state(self) -> tuple[object, ...]:
        """All that a packet could change: connections, loads and counters."""
        loads = tuple(self.table.servers[number].load for number in range(self.settings.servers_used))
        return self.table.connections.memory[:], loads, tuple(self.director.services()), self.table.drops()

    # -- the clock

    def advance(self, ticks: int) -> None:
        """Move the clock; nothing is swept, but what rests has rested for as many ticks."""
        self.settings.now = (self.settings.now + ticks) % 2**32
        self.settings.sweeps = (self.settings.sweeps + ticks) % 2**32

    def sweep(self) -> None:
        """One whole round."""
        libbpf.test_run(self.table.fd("sweep_now"))

    def pass_seconds(self, seconds: int) -> None:
        """Time goes by as it does: a round of the sweep every second."""
        for _ in range(seconds):
            self.advance(abi.TICKS_A_SECOND)
            self.sweep()

    def may_send_errors(self) -> None:
        """No CPU has sent an ICMP error in this second."""
        size = libbpf.map_info(self._icmp_rooms).value_size
        libbpf.update(self._icmp_rooms, bytes(4), bytes(-(-size // 8) * 8 * libbpf.possible_cpus()))

    # -- the hooks

    def xdp(self, frame: bytes, interface: str = "eth0") -> Outcome:
        """What the XDP program does with a frame that comes in by an interface."""
        context = struct.pack("6I", 0, len(frame), 0, self.indexes[interface], 0, 0)
        run = libbpf.test_run(self.table.fd("director_xdp"), frame, context=context)
        return self._outcome("xdp", _XDP.get(run.retval, f"XDP action {run.retval}"), run)

    def tc(self, frame: bytes, interface: str = "eth0", *, segment: int = 0) -> Outcome:
        """What the tc program does with it; perhaps it is to be cut into segments with so much payload."""
        context = bytearray(192)
        struct.pack_into("2I", context, 36, self.indexes[interface], self.indexes[interface])
        if segment:
            struct.pack_into("I", context, GSO_SEGMENTS, -(-len(frame) // segment))
            struct.pack_into("I", context, GSO_SIZE, segment)
        run = libbpf.test_run(self.table.fd("director_tc"), frame, context=bytes(context))
        return self._outcome("tc", _TC.get(run.retval, f"tc action {run.retval}"), run)

    def run(self, hook: str, frame: bytes, interface: str = "eth0") -> Outcome:
        """As an interface with this hook does: what XDP passes goes on to tc."""
        if hook == "xdp" and INTERFACES[interface].hook == "xdp":
            outcome = self.xdp(frame, interface)
            assert outcome.verdict != PASS or outcome.frame == frame, "XDP changed a frame that it passed"
            if outcome.verdict != PASS:
                return outcome
        return self.tc(frame, interface)

    def _outcome(self, hook: str, verdict: str, run: libbpf.TestRun) -> Outcome:
        drops = self.table.drops()
        fresh = [name for name in drops for _ in range(drops[name] - self._drops[name])]
        self._drops = drops
        if verdict == PASS:
            assert not fresh, f"{hook} counted {fresh} for a packet that it did not drop"
        elif fresh:
            assert len(fresh) == 1 or fresh[1:] == [ICMP_LIMIT], f"{hook} counted {fresh} for one drop"
            verdict = "+".join(fresh)
        else:
            assert verdict != "drop", f"{hook} counted nothing for a drop"
        return Outcome(verdict, run.data, hook, run.retval)

    def forgets_the_way(self) -> None:
        """No server's next hop is known, and no client's."""
        for number in range(self.settings.servers_used):
            self.table.servers[number].next_hop = abi.NextHop()
        fd = one_map(self.table.fd("director_tc"), "client_ways")
        info = libbpf.map_info(fd)
        each = info.value_size * self.table.cpus // 4
        libbpf.update_words(fd, [0] * each * info.max_entries, each)
        os.close(fd)

    def knows_the_way(self) -> None:
        """Every server's next hop is known to XDP for a second from now, as after a packet of it went through tc."""
        for number in range(self.settings.servers_used):
            raw = self.table.servers[number]
            address = socket.inet_ntoa(bytes(raw.address)[12:])
            if address in MACS:
                raw.next_hop = next_hop(self, address, NARROW_MTU if address == NARROW else 1500)


def one_map(program: int, name: str) -> int:
    """A descriptor of a map that is not pinned."""
    found = libbpf.program_maps(program)
    wanted = found.pop(name)
    for fd in found.values():
        os.close(fd)
    return wanted


def next_hop(plane: Plane, rip: str, mtu: int = 1500, *, answered: bool = True) -> abi.NextHop:
    """What tc remembers of the way to a server."""
    mac, device = NEIGHBOURS[rip]
    index = plane.indexes[device]
    return abi.NextHop(
        destination_mac=number(mac) | (index & 0xFFFF) << 48,
        source_mac=number(INTERFACES[device].mac) | index >> 16 << 48,
        good_until=plane.settings.now + abi.TICKS_A_SECOND,
        mtu=mtu,
        answers_until=plane.settings.now + abi.TICKS_A_SECOND if answered else 0,
    )


def number(mac: str) -> int:
    return int.from_bytes(bytes.fromhex(mac.replace(":", "")), "little")


@contextmanager
def director_apart() -> Iterator[tuple[Plane, int]]:
    """A director in a namespace of its own, which this thread is in, and the far one; skips where it can't be."""
    with fresh_namespace() as far:
        try:
            plane = Plane()
        except (NotPermitted, NotSupportedHere) as error:
            pytest.skip(f"the data plane can't be loaded here: {error} ({error.hint})")
        try:
            yield plane, far
        finally:
            plane.close()
