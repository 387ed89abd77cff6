"""The director itself: what becomes of a packet, and of the table with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import NamedTuple

from pylvs.model import Connection, Endpoint, ForwardingMethod, IPAddress, RealServer, VirtualAddress, VirtualService
from tests.packets.model import build, state
from tests.packets.model.parse import ETHERNET, ICMP, RST, SYN, UDP, Packet, parse
from tests.packets.model.table import FTP, Flow, Server, Service, Template, Tuple

PASS, SENT, HELD = "pass", "sent", "held"
MTU, LEAST_MTU = 1500, {4: 68, 6: 1280}
LOCAL_PORTS = range(1024, 32768)
FRAGMENT_SECONDS, TEMPLATE_SECONDS = 30, 60
LATE = 2
"""So many seconds after its end a connection may still be there."""


class Fate(NamedTuple):
    """`frame` is what leaves, by way of `via` (None: the router): of a drop an ICMP error about it, if there is one."""

    verdict: str
    frame: bytes | None = None
    via: IPAddress | None = None


class Choice(NamedTuple):
    """Who gets a packet. Without a flow: by one-packet scheduling."""

    server: Server
    flow: Flow | None
    reply: bool = False


class Datagram(NamedTuple):
    """What its first fragment has said for the others; `server` is that of one-packet scheduling."""

    ports: tuple[int, int]
    ours: bool
    server: Server | None
    since: int


class Director:
    """All frames come in by the interface with this MAC; `sources` are its own addresses towards the real servers."""

    def __init__(self, mac: bytes, sources: Mapping[IPAddress, IPAddress]) -> None:
        self.mac, self.sources = mac, sources
        self.now = 0
        self.expire_nodest = self.expire_quiescent = False
        self.services: list[Service] = []
        self.flows: dict[Tuple, Flow] = {}
        self.templates: list[Template] = []
        self.datagrams: dict[tuple[IPAddress, IPAddress, int, bytes], Datagram] = {}
        self.drops: Counter[str] = Counter()
        self.tunnel_ports: dict[Tuple, int] = {}

    # -- the control plane

    def add_service(self, virtual: VirtualService) -> Service:
        assert isinstance(virtual.id, VirtualAddress)
        service = Service(virtual, virtual.id.endpoint.address, virtual.id.endpoint.port, virtual.id.protocol)
        self.services.append(service)
        return service

    def add_server(self, service: Service, real: RealServer) -> None:
        """One that was deleted comes back with its connections and counters."""
        for former in service.deleted:
            if former.real.endpoint == real.endpoint:
                service.deleted.remove(former)
                former.available = True
                self.edit_server(former, real)
                service.add(former)
                return
        service.add(Server(service, real, self.sources[real.endpoint.address]))

    def edit_server(self, server: Server, real: RealServer) -> None:
        if not real.upper_threshold or real.upper_threshold > server.real.upper_threshold:
            server.overloaded = False
        server.real = real

    # -- the clock

    def wait(self, seconds: int, shown: Iterable[Connection]) -> None:
        """Time has gone by. What ended just now may still be listed."""
        self.now += seconds
        listed = {_identity(one): one for one in shown}
        for flow in list(self.flows.values()):
            if self._is_over(flow.end, _identity(flow.listed(0)) in listed):
                self._end(flow)
        for template in list(self.templates):
            found = listed.get(_identity(template.listed(0)))
            self._look_again(template, found)
            if self._is_over(template.end, found is not None):
                template.server.templates -= 1
                self.templates.remove(template)

    def _is_over(self, end: int, there: bool) -> bool:
        assert there or end <= self.now, f"ended {end - self.now} s early"
        assert not there or self.now - end < LATE, f"{self.now - end} s late"
        return not there

    def _look_again(self, template: Template, shown: Connection | None) -> None:
        """A template that still has connections when its time is over is looked at again after a minute."""
        ends = range(template.end, self.now + TEMPLATE_SECONDS + 1)
        if shown and template.end <= self.now and self.now + shown.expires in ends:
            template.end = self.now + shown.expires

    def _end(self, flow: Flow) -> None:
        del self.flows[flow.request]
        flow.server.unbind(flow.state)
        if flow.template:
            flow.template.flows -= 1

    def listing(self) -> list[Connection]:
        """As it is shown now."""
        flows = [one.listed(self.now) for one in self.flows.values()]
        return flows + [one.listed(self.now) for one in self.templates]

    # -- packets

    def receive(self, frame: bytes, seen: bytes) -> Fate:
        """`seen` is the frame that left, for what was free to be chosen."""
        fate = self._receive(frame, seen)
        if fate.verdict not in {PASS, SENT, HELD}:
            self.drops[fate.verdict] += 1
        return fate

    def _receive(self, frame: bytes, seen: bytes) -> Fate:
        packet = parse(frame)
        if packet is None or frame[:6] != self.mac:
            return Fate(PASS)
        datagram = self._datagram(packet)
        if packet.later:
            if datagram is None:
                return Fate(self._fate_of_early(packet))
            if not datagram.ours:
                return Fate(PASS)
            packet = packet._replace(ports=datagram.ports)
        again = datagram.server if datagram and packet.network.fragment and datagram.ports == packet.ports else None
        choice = Choice(again, None) if again and again.available else self._decide(packet)
        self._remember(packet, datagram, choice)
        if isinstance(choice, str):
            return self._refused(packet, choice, seen)
        return self._forward(packet, choice, seen)

    def _refused(self, packet: Packet, verdict: str, seen: bytes) -> Fate:
        return self._refuse(packet, verdict, seen) if verdict == "no_server" else Fate(verdict)

    # -- fragments

    def _datagram(self, packet: Packet) -> Datagram | None:
        if packet.network.fragment is None:
            return None
        found = self.datagrams.get(_datagram_key(packet))
        return found if found and self.now < found.since + FRAGMENT_SECONDS else None

    def _fate_of_early(self, packet: Packet) -> str:
        """A later fragment whose first one was not seen waits for it, if it may be one for us."""
        return HELD if self._may_be_balanced(packet) and not _is_hostile(packet) else PASS

    def _may_be_balanced(self, packet: Packet) -> bool:
        servers = list(self._servers())
        vips = {service.vip for service in self.services}
        locals_ = {one.source for one in servers if one.real.method is ForwardingMethod.FULLNAT}
        rips = {one.real.endpoint.address for one in servers}
        return packet.network.destination in vips | locals_ or packet.network.source in rips

    def _servers(self) -> Iterable[Server]:
        """Deleted ones, too, as long as they have connections."""
        for service in self.services:
            yield from service.servers
            yield from (server for server in service.deleted if server.active + server.inactive)

    def _remember(self, packet: Packet, known: Datagram | None, choice: Choice | str) -> None:
        """The first fragment speaks for the others. One with other ports that follows at once is not believed."""
        fragment = packet.network.fragment
        if fragment is None or fragment.later:
            return
        ours = isinstance(choice, Choice)
        if not ours and (choice != PASS or not self._may_be_balanced(packet)):
            return
        came_back = known and ours and not known.ours and known.ports == packet.ports
        if known is None or came_back or known.since < self.now:
            server = choice.server if isinstance(choice, Choice) and choice.flow is None else None
            self.datagrams[_datagram_key(packet)] = Datagram(packet.ports, ours, server, self.now)

    # -- decisions

    def _decide(self, packet: Packet) -> Choice | str:
        wanted = _tuple(packet)
        reply = next((flow for flow in self.flows.values() if flow.answer == wanted), None)
        if reply:
            return Choice(reply.server, reply, reply=True)
        flow = self.flows.get(wanted)
        if flow is None:
            return self._open(packet, wanted)
        if self._gives_way(flow, packet.flags):
            self._end(flow)
            return self._open(packet, wanted)
        return Choice(flow.server, flow) if flow.server.available else "server_deleted"

    def _gives_way(self, flow: Flow, flags: int) -> bool:
        """A client that uses its port again, or whose server is gone and is not to be waited for."""
        if self.expire_nodest and not flow.server.available:
            return True
        if not _opens(flags):
            return False
        quiesced = self.expire_nodest and not flow.server.real.weight
        return quiesced or (flow.template is None and flow.state in {"TIME_WAIT", "CLOSE"})

    def _open(self, packet: Packet, wanted: Tuple) -> Choice | str:
        if packet.later:
            return "ended"
        if _is_hostile(packet) or not (wanted.protocol == UDP or _opens(packet.flags)):
            return PASS
        service = self._service_of(wanted)
        if service is None:
            return PASS
        template = self._template_of(service, wanted) if service.virtual.persistence else None
        server = template.server if template else service.schedule() if not service.virtual.persistence else None
        if server is None:
            return "no_server"
        if service.virtual.one_packet:
            _count(server, "connections")
            return Choice(server, None)
        return self._connect(wanted, server, template)

    def _service_of(self, wanted: Tuple) -> Service | None:
        """By its port, or else one of every port."""
        vip, port = wanted.destination.address, wanted.destination.port
        found = [one for one in self.services if (one.protocol, one.vip) == (wanted.protocol, vip)]
        return next((one for number in (port, 0) for one in found if one.port == number), None)

    def _connect(self, wanted: Tuple, server: Server, template: Template | None) -> Choice | str:
        first, seconds = state.UDP_STATE if wanted.protocol == UDP else state.FIRST
        flow = Flow(wanted, server, first, self.now + seconds, template)
        rival = self._rival(flow)
        if rival and rival.state in state.ACTIVE:
            return "tuple_in_use"
        server.bind(first)
        if rival:
            self._end(rival)
        if template:
            template.flows += 1
        self.flows[wanted] = flow
        _count(server, "connections")
        return Choice(server, flow)

    def _rival(self, flow: Flow) -> Flow | None:
        """A connection of another service whose answers would look the same."""
        answer = flow.answer
        return next((one for one in self.flows.values() if answer and one.answer == answer), None)

    # -- persistence

    def _template_of(self, service: Service, wanted: Tuple) -> Template | None:
        """What keeps the client at its server from now on, as long again as the service says."""
        assert service.virtual.persistence
        client = _network(service.virtual, wanted.source.address)
        port = wanted.destination.port
        port = port if port == service.port != FTP else 0
        end = self.now + service.virtual.persistence
        for template in self.templates:
            if (template.service, template.client, template.port) == (service, client, port):
                template.end = end
                return template if self._still_serves(template) or self._moves(template) else None
        server = service.schedule()
        if server is None:
            return None
        server.templates += 1
        self.templates.append(Template(service, client, port, server, end))
        return self.templates[-1]

    def _still_serves(self, template: Template) -> bool:
        server = template.server
        return server.available and bool(server.real.weight or not self.expire_quiescent)

    def _moves(self, template: Template) -> bool:
        """To another server, if there is one."""
        server = template.service.schedule()
        if server:
            template.server.templates -= 1
            server.templates += 1
            template.server = server
        return server is not None

    # -- forwarding

    def _forward(self, packet: Packet, choice: Choice, seen: bytes) -> Fate:
        server, network = choice.server, packet.network
        known_as = server.source if choice.reply else None
        if network.ttl <= 1:
            return self._refuse(packet, "ttl_exceeded", seen, known_as)
        to = self._ends(packet, choice, seen)
        crosses = to.source.version != packet.version
        if crosses and network.fragment:
            return Fate("fragment")
        if choice.flow and choice.reply and not packet.flags & SYN and not network.fragment:
            choice.flow.knows_client = True
        mtu = MTU - _added(server, choice, packet.version, to.source.version)
        if network.length > mtu:
            return self._refuse(packet, "too_big", seen, known_as, mtu)
        frame = self._sent(packet, choice, to, mtu, seen)
        self._account(packet, choice)
        return Fate(SENT, frame, None if choice.reply else server.real.endpoint.address)

    def _ends(self, packet: Packet, choice: Choice, seen: bytes) -> build.Ends:
        network, server, flow = packet.network, choice.server, choice.flow
        if server.real.method not in state.REWRITING:
            return build.Ends(network.source, network.destination, packet.ports)
        if choice.reply:
            assert flow
            virtual, client = flow.request.destination, flow.request.source
            return build.Ends(virtual.address, client.address, (virtual.port, client.port))
        real = server.real.endpoint.address
        port = server.real_port(packet.ports[1])
        if server.real.method is ForwardingMethod.NAT:
            return build.Ends(network.source, real, (packet.ports[0], port))
        assert flow
        local = flow.local or self._local(packet, server, seen)
        return build.Ends(local.address, real, (local.port, port))

    def _local(self, packet: Packet, server: Server, seen: bytes) -> Endpoint:
        """The one that the frame seen has come from. Only a frame of its connection is looked at."""
        version = server.real.endpoint.address.version
        header = packet.network.header if version == packet.version else build.HEADER[version]
        at = ETHERNET + header
        return Endpoint(server.source, int.from_bytes(seen[at : at + 2], "big"))

    def _sent(self, packet: Packet, choice: Choice, to: build.Ends, mtu: int, seen: bytes) -> bytes:
        server, flow, fullnat = choice.server, choice.flow, choice.server.real.method is ForwardingMethod.FULLNAT
        if server.real.method is ForwardingMethod.DR:
            return build.forwarded(packet)
        if server.real.method is ForwardingMethod.TUN:
            self._check_tunnel_port(packet, server, seen)
            return build.wrapped(packet, server.real.tunnel, server.source, server.real.endpoint.address, seen)
        if flow and fullnat and not choice.reply and flow.local is None:
            self._check_local(flow, Endpoint(to.source, to.ports[0]))
        plain = not (fullnat and packet.tcp_header) or packet.network.fragment is not None
        tells = flow and not choice.reply and not flow.knows_client and not packet.flags & (SYN | RST)
        return build.translated(
            packet,
            to,
            told=bool(not plain and tells and build.has_room(packet, mtu)),
            offered=bool(not plain and choice.reply and packet.flags & SYN),
        )

    def _check_local(self, flow: Flow, local: Endpoint) -> None:
        assert local.port in LOCAL_PORTS
        flow.local = local
        assert sum(one.answer == flow.answer for one in self.flows.values()) == 1, f"two have {local}"

    def _check_tunnel_port(self, packet: Packet, server: Server, seen: bytes) -> None:
        """The network is to take all packets of a connection the same way."""
        port = build.gue_source(seen, server.real.endpoint.address.version)
        if server.real.tunnel.port:
            assert self.tunnel_ports.setdefault(_tuple(packet), port) == port

    def _account(self, packet: Packet, choice: Choice) -> None:
        if choice.flow:
            self._follow(packet, choice.flow, reply=choice.reply)
        way = "out" if choice.reply else "in"
        if choice.server.available:
            _count(choice.server, f"{way}_packets")
            _count(choice.server, f"{way}_bytes", packet.network.length)

    def _follow(self, packet: Packet, flow: Flow, *, reply: bool) -> None:
        before = flow.state
        if flow.request.protocol == UDP:
            seconds = state.UDP_STATE[1]
        elif packet.later:
            seconds = state.SECONDS[before]
        else:
            flow.state, seconds = state.after(before, packet.flags, flow.method, reply=reply)
        flow.server.change_state(before, flow.state)
        if flow.template and (flow.state == "ESTABLISHED" != before or (reply and flow.state == "UDP")):
            flow.template.assured = True
        flow.end = self.now + seconds

    def _refuse(
        self, packet: Packet, reason: str, seen: bytes, known_as: IPAddress | None = None, mtu: int = 0
    ) -> Fate:
        """Dropped, and the sender is told, unless nothing should be said to it."""
        network = packet.network
        if packet.later or _is_hostile(packet) or network.protocol in ICMP.values() or network.length < 28:
            return Fate(reason)
        return Fate(reason, build.told(packet, reason, known_as or network.destination, mtu, seen))


def _identity(one: Connection) -> tuple[object, ...]:
    return one.protocol, one.client, one.virtual, one.state in {"NONE", "ASSURED"}


def _tuple(packet: Packet) -> Tuple:
    network, (source, destination) = packet.network, packet.ports
    return Tuple(network.protocol, Endpoint(network.source, source), Endpoint(network.destination, destination))


def _datagram_key(packet: Packet) -> tuple[IPAddress, IPAddress, int, bytes]:
    network = packet.network
    assert network.fragment
    return network.source, network.destination, network.protocol, network.fragment.id


def _count(server: Server, what: str, by: int = 1) -> None:
    server.counts[what] += by
    server.service.counts[what] += by


def _opens(flags: int) -> bool:
    return flags & (SYN | RST) == SYN


def _is_hostile(packet: Packet) -> bool:
    """No honest packet comes from there."""
    source = packet.network.source
    if source == packet.network.destination or source.is_multicast or source.is_loopback or source.is_unspecified:
        return True
    return isinstance(source, IPv4Address) and (source.packed[0] == 0 or source.packed[0] >= 240)


def _network(virtual: VirtualService, client: IPAddress) -> IPAddress:
    """Whose clients share a template."""
    mask = virtual.netmask
    if mask is None:
        return client
    if isinstance(client, IPv4Address):
        return IPv4Network(f"{client}/{mask}", strict=False).network_address
    return IPv6Network(f"{client}/{mask}", strict=False).network_address


def _added(server: Server, choice: Choice, came: int, leaves: int) -> int:
    """How much longer the packet gets on its way out."""
    if server.real.method is ForwardingMethod.TUN:
        return build.overhead(server.real.tunnel, server.real.endpoint.address.version)
    return build.HEADER[leaves] - build.HEADER[came] if leaves > came else 0
