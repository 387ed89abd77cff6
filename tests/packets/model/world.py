"""The data plane and its model side by side: what is done to both is to have the same outcome."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pylvs.model import (
    IPAddress,
    RealServer,
    VirtualService,
    parse_address,
)
from tests.packets.model import traffic
from tests.packets.model.director import PASS, Director
from tests.packets.model.forward import SENT, Fate
from tests.packets.model.table import Flow, Service, Tuple, as_counters
from tests.packets.model.traffic import Damage, Shape
from tests.packets.plane import Outcome, Plane
from tests.packets.slots import Slots
from tests.packets.space import ip
from tests.packets.wire import DIP, DIRECTOR_MAC, INTERFACES, MACS, RIP1, RIP2, RIP3, ROUTER_MAC, VIP

VIP6, DIP6, ROUTER6 = "fd00::250", "fd00::208", "fd00::f"
RIPS6 = {"fd00::111": MACS[RIP1], "fd00::188": MACS[RIP2]}
CLIENTS = {
    4: [parse_address(one) for one in ("110.0.0.1", "110.0.0.2", "110.7.0.9")],
    6: [parse_address(one) for one in ("2001:db8::1", "2001:db8::2", "2001:db8:7::9")],
}
_TC_REDIRECT = 7
VIPS = {4: parse_address(VIP), 6: parse_address(VIP6)}


class Host(NamedTuple):
    """A real server's machine, as the director knows it."""

    mac: str
    interface: str
    source: IPAddress


HOSTS = {
    parse_address(RIP1): Host(MACS[RIP1], "eth0", parse_address(DIP)),
    parse_address(RIP2): Host(MACS[RIP2], "eth0", parse_address(DIP)),
    parse_address(RIP3): Host(MACS[RIP3], "eth1", parse_address("192.168.10.1")),
    **{parse_address(rip): Host(mac, "eth0", parse_address(DIP6)) for rip, mac in RIPS6.items()},
}


def furnish() -> None:
    """IPv6 around the director."""
    ip(
        f"address replace {DIP6}/64 dev eth0 nodad",
        *(f"neighbour replace {rip} lladdr {mac} dev eth0 nud permanent" for rip, mac in RIPS6.items()),
        f"neighbour replace {ROUTER6} lladdr {ROUTER_MAC} dev eth0 nud permanent",
        f"route replace default via {ROUTER6} dev eth0",
        six=True,
    )


def clear() -> None:
    """As it was."""
    ip("address flush dev eth0 scope global", six=True)


class World:
    """Both, with the clock at nought."""

    def __init__(self, plane: Plane, hook: str) -> None:
        plane.reset()
        self.plane, self.hook = plane, hook
        self.model = Director(_mac(DIRECTOR_MAC), {rip: host.source for rip, host in HOSTS.items()})
        self.drops = plane.table.drops()
        self.frames = 0
        self.seen: Counter[str] = Counter()
        """How often which verdict came from which hook."""

    # -- the control plane

    def serve(self, services: list[tuple[VirtualService, list[RealServer]]]) -> None:
        """All at once."""
        self.plane.director.begin()
        for virtual, servers in services:
            self.plane.director.add_service(virtual)
            service = self.model.add_service(virtual)
            for real in servers:
                self.plane.director.add_server(virtual.id, real)
                self.model.add_server(service, real)
        self.plane.director.commit()

    def set_knobs(self, *, expire_nodest: bool, expire_quiescent: bool) -> None:
        self.model.expire_nodest, self.model.expire_quiescent = expire_nodest, expire_quiescent
        self.plane.director.set_knobs(
            {"expire_nodest_conn": int(expire_nodest), "expire_quiescent_template": int(expire_quiescent)}
        )

    def edit(self, service: Service, number: int, weight: int) -> None:
        server = service.servers[number % len(service.servers)]
        real = server.real.replace(weight=weight)
        self.plane.director.edit_server(service.virtual.id, real)
        self.model.edit_server(server, real)

    def delete(self, service: Service, number: int) -> None:
        server = service.servers[number % len(service.servers)]
        self.plane.director.delete_server(service.virtual.id, server.real.endpoint)
        service.remove(server)

    def add_again(self, service: Service, number: int, weight: int) -> None:
        server = service.deleted[number % len(service.deleted)]
        real = server.real.replace(weight=weight)
        self.plane.director.add_server(service.virtual.id, real)
        self.model.add_server(service, real)

    def wait(self, seconds: int) -> None:
        self.plane.pass_seconds(seconds)
        self.model.wait(seconds, self.plane.connections())

    # -- packets

    def request(self, ends: Tuple, shape: Shape, damage: Damage) -> None:
        """From a client, by the router."""
        self.send(damage.apply(_from_router(traffic.packet(ends, shape, self.frames))))

    def fragments(self, ends: Tuple, shape: Shape, order: tuple[int, ...], cut: int) -> None:
        """Some of the two fragments of a request."""
        both = traffic.fragments(ends, shape, self.frames, cut)
        for number in order:
            self.send(_from_router(both[number]))

    def reply(self, flow: Flow, shape: Shape, damage: Damage, cut: int) -> None:
        """From the server to where the request came from, or past the director; with `cut` in two fragments."""
        ends = flow.answer or Tuple(flow.request.protocol, flow.request.destination, flow.request.source)
        mac = _mac(HOSTS[flow.server.real.endpoint.address].mac)
        packets = (
            traffic.fragments(ends, shape, self.frames, cut) if cut else [traffic.packet(ends, shape, self.frames)]
        )
        for one in packets:
            self.send(damage.apply(traffic.frame(_mac(DIRECTOR_MAC), mac, one)))

    def send(self, frame: bytes) -> None:
        """To both; the outcome is to be the same."""
        self.frames += 1
        self.verdicts = getattr(self, "verdicts", {})
        outcome = self.plane.run(self.hook, frame)
        self.seen[f"{outcome.verdict} by {outcome.hook}"] += 1
        fate = self.model.receive(frame, outcome.frame)
        self.verdicts[fate.verdict] = self.verdicts.get(fate.verdict, 0) + 1
        assert outcome.verdict == fate.verdict, f"of {frame.hex()}: {outcome}"
        leaves = outcome.frame if outcome.verdict == PASS or _has_sent(outcome) else None
        if fate.cut:
            assert _is_last_of(outcome.frame, fate), f"of {frame.hex()} by {outcome.hook}: {outcome.frame.hex()}"
            return
        wanted = [frame] if fate.verdict == PASS else _as_sent_by(outcome.hook, fate)
        assert leaves in wanted, f"of {frame.hex()} by {outcome.hook}: {leaves and leaves.hex()}"

    # -- what is to be the same

    def check(self) -> None:
        """The table and the counters."""
        shown = sorted(self.plane.connections(), key=repr)
        assert shown == sorted(self.model.listing(), key=repr)
        for service in self.model.services:
            self._check_service(service)

    def _check_service(self, service: Service) -> None:
        shown = self.plane.director.service(service.virtual.id)
        assert shown.counters == as_counters(service.counts)
        assert [one.server for one in shown.servers] == [one.real for one in service.servers]
        for one, server in zip(shown.servers, service.servers, strict=True):
            assert (one.active, one.inactive, one.persistent) == (server.active, server.inactive, server.templates)
            assert one.counters == as_counters(server.counts)

    def check_end(self) -> None:
        """What is looked at once for all: the drops by name, and the table's own invariants."""
        now = self.plane.table.drops()
        assert {name: now[name] - count for name, count in self.drops.items() if now[name] != count} == self.model.drops
        slots = Slots(self.plane)
        slots.check_tuples()
        slots.check_overflow()


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _from_router(raw: bytes) -> bytes:
    return traffic.frame(_mac(DIRECTOR_MAC), _mac(ROUTER_MAC), raw)


def _has_sent(outcome: Outcome) -> bool:
    """A frame leaves, be it an error about the one that came."""
    return outcome.verdict == SENT or (outcome.hook == "tc" and outcome.code == _TC_REDIRECT)


def _as_sent_by(hook: str, fate: Fate) -> list[bytes | None]:
    """XDP writes the MAC addresses, and tc those of a known way; else the kernel does, behind tc."""
    if fate.frame is None:
        return [None]
    host = HOSTS[fate.via] if fate.via else Host(ROUTER_MAC, "eth0", parse_address(DIP))
    written = _mac(host.mac) + _mac(INTERFACES[host.interface].mac) + fate.frame[12:]
    return [written] if hook == "xdp" else [written, fate.frame]


def _is_last_of(fragment: bytes, fate: Fate) -> bool:
    """The one that is seen: it has the packet's addresses, and ends as the packet does."""
    assert fate.frame is not None
    ipv6 = fate.frame[12:14] == b"\x86\xdd"
    addresses = slice(22, 54) if ipv6 else slice(26, 34)
    header = 48 if ipv6 else (fragment[14] & 15) * 4
    rest = fragment[14 + header :]
    return bool(rest) and fragment[addresses] == fate.frame[addresses] and fate.frame.endswith(rest)
