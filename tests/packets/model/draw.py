"""What may happen, as hypothesis draws it: services and their servers, and then whatever comes in whatever order."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any, NamedTuple

from hypothesis import strategies as st

from pylvs.model import (
    Endpoint,
    ForwardingMethod,
    Protocol,
    RealServer,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualAddress,
    VirtualService,
)
from tests.packets.model.table import Service, Tuple
from tests.packets.model.traffic import IP_OPTIONS, OPTIONS, Damage, Shape
from tests.packets.model.world import CLIENTS, HOSTS, VIPS, World

NAT, DR, TUN, FULLNAT = (ForwardingMethod(one) for one in ("nat", "dr", "tun", "fullnat"))
TUNNELS = (
    Tunnel(),
    Tunnel(TunnelType.GRE),
    Tunnel(TunnelType.GRE, checksum=TunnelChecksum.CSUM),
    Tunnel(TunnelType.GUE, 6080),
    Tunnel(TunnelType.GUE, 6080, TunnelChecksum.CSUM),
)
WAYS = [(method, Tunnel()) for method in (NAT, NAT, DR, FULLNAT, FULLNAT)] + [(TUN, tunnel) for tunnel in TUNNELS]
FIRST_PORT, REAL_PORT = 80, 8080
_SYN, _ACK = 0x02, 0x10


class Plan(NamedTuple):
    """A service that is to be; `hosts` and `weights` are its servers'."""

    way: tuple[ForwardingMethod, Tunnel]
    protocol: Protocol
    family: int
    other_family: bool
    every_port: bool
    scheduler: str
    persistence: int | None
    netmask: bool
    one_packet: bool
    threshold: int
    weights: tuple[int, ...]

    @property
    def method(self) -> ForwardingMethod:
        return self.way[0]

    def service_by_number(self, number: int, taken: set[VirtualAddress]) -> tuple[VirtualService, list[RealServer]]:
        """The service by its number in the whole, and its servers."""
        id = self._id(0 if self.every_port else FIRST_PORT + number)
        if id in taken:
            id = self._id(FIRST_PORT + number)
        taken.add(id)
        netmask: Any = (IPv4Address("255.255.255.0") if self.family == 4 else 64) if self.netmask else None
        virtual = VirtualService(
            id,
            self.scheduler,
            persistence=self.persistence,
            netmask=netmask if self.persistence else None,
            one_packet=self.one_packet and self.protocol is Protocol.UDP and self.method is not FULLNAT,
        )
        return virtual, [self._server(host, weight, id.endpoint.port) for host, weight in enumerate(self.weights)]

    def _id(self, port: int) -> VirtualAddress:
        return VirtualAddress(self.protocol, Endpoint(VIPS[self.family], port))

    def _server(self, host: int, weight: int, port: int) -> RealServer:
        crosses = self.other_family and self.method in {TUN, FULLNAT}
        version = 10 - self.family if crosses else self.family
        hosts = [address for address in HOSTS if address.version == version]
        real_port = REAL_PORT if self.method in {NAT, FULLNAT} else port
        where = Endpoint(hosts[host % len(hosts)], real_port + host // len(hosts))
        return RealServer(where, self.method, weight, self.threshold, tunnel=self.way[1])


plans = st.builds(
    Plan,
    st.sampled_from(WAYS),
    st.sampled_from((Protocol.TCP, Protocol.TCP, Protocol.UDP)),
    st.sampled_from((4, 6)),
    st.booleans(),
    st.sampled_from((False, False, True)),
    st.sampled_from(("rr", "wlc")),
    st.sampled_from((None, None, 20, 200)),
    st.booleans(),
    st.sampled_from((False, False, False, True)),
    st.sampled_from((0, 0, 1, 2, 4)),
    st.lists(st.sampled_from((1, 1, 1, 3, 0)), min_size=1, max_size=3).map(tuple),
)


class Request(NamedTuple):
    """A client's packet."""

    service: int
    client: int
    client_port: int
    port: int
    shape: Shape
    damage: Damage

    def play(self, world: World) -> None:
        service = _nth(world.model.services, self.service)
        world.request(_ends(service, self.client, self.client_port, self.port), self.shape, self.damage)


class Reply(NamedTuple):
    """A server's packet of a connection that there is, first of those whose answers come through; perhaps in two."""

    flow: int
    shape: Shape
    damage: Damage
    cut: int

    def play(self, world: World) -> None:
        flows = sorted(world.model.flows.values(), key=lambda flow: flow.answer is None)
        if flows:
            world.reply(_nth(flows, self.flow), self.shape, self.damage, self.cut)


class Again(NamedTuple):
    """A client's packet of a connection that there is."""

    flow: int
    shape: Shape
    damage: Damage

    def play(self, world: World) -> None:
        flows = list(world.model.flows.values())
        if flows:
            world.request(_nth(flows, self.flow).request, self.shape, self.damage)


class Fragments(NamedTuple):
    """A client's datagram in two, of which perhaps only one comes."""

    service: int
    client: int
    port: int
    shape: Shape
    order: tuple[int, ...]
    cut: int

    def play(self, world: World) -> None:
        service = _nth(world.model.services, self.service)
        world.fragments(_ends(service, self.client, 0, self.port), self.shape, self.order, self.cut)


class Edit(NamedTuple):
    """A server gets another weight, is deleted, or comes back."""

    service: int
    server: int
    weight: int
    what: str

    def play(self, world: World) -> None:
        service = _nth(world.model.services, self.service)
        if self.what == "delete" and service.servers:
            world.delete(service, self.server)
        elif self.what == "add" and service.deleted:
            world.add_again(service, self.server, self.weight)
        elif self.what == "edit" and service.servers:
            world.edit(service, self.server, self.weight)


class Wait(NamedTuple):
    """Time goes by."""

    seconds: int

    def play(self, world: World) -> None:
        world.wait(self.seconds)


def _nth(among: list[Any], number: int) -> Any:
    return among[number % len(among)]


def _ends(service: Service, client: int, client_port: int, port: int) -> Tuple:
    """A client, and the port that it wants: of a service of every port it may choose."""
    source = Endpoint(_nth(CLIENTS[service.vip.version], client), 40000 + client_port)
    return Tuple(service.protocol, source, Endpoint(service.vip, service.port or REAL_PORT + port))


def _mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Three times of four the usual."""
    return st.one_of(*[st.just(usual)] * 3, st.sampled_from(others))


small, services = st.integers(0, 1), st.integers(0, 3)
flags = st.one_of(st.sampled_from((_SYN, _ACK, _ACK, 0x11, 0x12, 0x14, 0x18)), st.integers(0, 255))
shapes = st.builds(
    Shape,
    flags,
    st.one_of(st.integers(0, 60), st.sampled_from((511, 512, 513, 1400, 1420, 1432, 1440, 1448, 1452, 1460))),
    _mostly(64, 255, 2, 1, 0),
    _mostly(0, 0xB8, 0x01, 0x03),
    st.booleans(),
    _mostly("none", *OPTIONS),
    _mostly("none", *{**IP_OPTIONS[4], **IP_OPTIONS[6]}),
    _mostly(True, False),
)
firsts = st.builds(
    lambda size, options: Shape(size=size, options=options),
    st.integers(0, 60),
    st.sampled_from(("none", "MSS", "timestamps")),
)
flips = st.tuples(st.integers(0, 100), st.one_of(st.sampled_from([1 << bit for bit in range(8)]), st.integers(1, 255)))
none = st.just(Damage())
damages = st.builds(
    Damage,
    st.lists(flips, max_size=3).map(tuple),
    _mostly(0, *range(1, 60)),
    st.binary(max_size=8),
)
orders = st.sampled_from(((0, 1), (0, 1), (0,), (1,), (0, 0, 1)))
numbers = st.integers(0, 9)
edits = st.sampled_from(("edit", "edit", "delete", "add"))
actions = st.one_of(
    st.builds(Request, services, small, small, small, firsts, none),
    st.builds(Request, services, small, small, small, firsts, none),
    st.builds(Request, services, small, small, small, shapes, st.one_of(none, damages)),
    st.builds(Again, numbers, st.one_of(shapes, firsts), st.one_of(none, none, damages)),
    st.builds(Again, numbers, shapes, none),
    st.builds(Reply, numbers, st.one_of(shapes, firsts), st.one_of(none, none, damages), _mostly(0, 32)),
    st.builds(Reply, numbers, shapes, none, st.just(0)),
    st.builds(Fragments, services, small, small, st.one_of(shapes, firsts), orders, st.sampled_from((8, 24, 64))),
    st.builds(Edit, services, small, st.sampled_from((0, 1, 2, 5)), edits),
    st.builds(Wait, st.sampled_from((1, 1, 2, 5, 9, 11, 21, 61, 125))),
)


class Story(NamedTuple):
    """Services, knobs, and what happens then. With a twin the first service has a second one of the same servers."""

    plans: list[Plan]
    twin: bool
    expire_nodest: bool
    expire_quiescent: bool
    actions: list[Any]

    def services(self) -> list[tuple[VirtualService, list[RealServer]]]:
        """Those that are to be."""
        taken: set[VirtualAddress] = set()
        plans = [*self.plans[: 1 if self.twin else 0], *self.plans]
        return [plan.service_by_number(number, taken) for number, plan in enumerate(plans)]

    def all_actions(self) -> list[Any]:
        """Good clients of all services come first, and are answered."""
        count = len(self.plans) + self.twin
        return [
            *(Request(number, 0, 0, 0, Shape(), Damage()) for number in range(count)),
            *(Reply(number, Shape(flags=_SYN | _ACK, options="MSS"), Damage(), 0) for number in range(count)),
            *(Again(number, Shape(flags=_ACK, size=5), Damage()) for number in range(count)),
            *(Reply(number, Shape(flags=_ACK, size=9), Damage(), 0) for number in range(count)),
            *(Again(number, Shape(flags=_ACK, size=7), Damage()) for number in range(count)),
            *self.actions,
        ]


stories = st.builds(
    Story,
    st.lists(plans, min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.lists(actions, min_size=10, max_size=30),
)
