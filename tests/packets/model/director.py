"""The director itself: whose a packet is, and what becomes of the table with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import NamedTuple

from pylvs.model import Connection, ForwardingMethod, IPAddress, RealServer, VirtualAddress, VirtualService
from tests.packets.model import state
from tests.packets.model.forward import SENT, Choice, Fate, Forwarder, is_hostile, refuse, tuple_of
from tests.packets.model.parse import RST, SYN, UDP, Packet, parse
from tests.packets.model.table import FTP, Flow, Server, Service, Template, Tuple

PASS, HELD = "pass", "held"
FRAGMENT_SECONDS, TEMPLATE_SECONDS = 30, 60
FTP_DATA = 20
LATE = 2
"""So many seconds after its end a connection may still be there."""


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
        self.forwarder = Forwarder()

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
        server.real = real
        server.compare_with_thresholds()

    # -- the clock

    def wait(self, seconds: int, shown: Iterable[Connection]) -> None:
        """Time has gone by. What ended just now may still be listed."""
        self.now += seconds
        listed = {_identity(one): one for one in shown}
        busy = [template for template in self.templates if template.flows]
        for flow in list(self.flows.values()):
            if self._is_over(flow.end, _identity(flow.listed(0)) in listed):
                self._end(flow)
        for template in list(self.templates):
            found = listed.get(_identity(template.listed(0)))
            if template in busy:
                self._look_again(template, found)
            if self._is_over(template.end, found is not None):
                assert not template.flows, "a template has ended before its connections"
                template.server.templates -= 1
                self.templates.remove(template)

    def _is_over(self, end: int, there: bool) -> bool:
        assert there or end <= self.now, f"ended {end - self.now} s early"
        assert not there or self.now - end < LATE, f"{self.now - end} s late"
        return not there

    def _look_again(self, template: Template, shown: Connection | None) -> None:
        """A template that still has connections when its time is over is looked at again after a minute."""
        if shown and template.end <= self.now < self.now + shown.expires <= self.now + TEMPLATE_SECONDS:
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
        return refuse(packet, verdict, seen) if verdict == "no_server" else Fate(verdict)

    # -- fragments

    def _datagram(self, packet: Packet) -> Datagram | None:
        if packet.network.fragment is None:
            return None
        found = self.datagrams.get(_datagram_key(packet))
        return found if found and self.now < found.since + FRAGMENT_SECONDS else None

    def _fate_of_early(self, packet: Packet) -> str:
        """A later fragment whose first one was not seen waits for it, if it may be one for us."""
        return HELD if self._may_be_balanced(packet) and not is_hostile(packet) else PASS

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
        wanted = tuple_of(packet)
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
        if is_hostile(packet) or not (wanted.protocol == UDP or _opens(packet.flags)):
            return PASS
        service = self._service_of(wanted)
        if service is None or self._is_strange(wanted):
            return PASS
        template = self._template_of(service, wanted) if service.virtual.persistence else None
        server = template.server if template else service.schedule() if not service.virtual.persistence else None
        if server is None:
            return "no_server"
        if service.virtual.one_packet:
            _count(server, "connections")
            return Choice(server, None)
        return self._connect(wanted, server, template)

    def _is_strange(self, wanted: Tuple) -> bool:
        """No client has such a port, or an address of the director's."""
        own = {service.vip for service in self.services} | {server.source for server in self._servers()}
        ports = wanted.source.port, wanted.destination.port
        return 0 in ports or ports[0] == FTP_DATA or wanted.source.address in own

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
        """As in IPVS, a request that can't go on is its connection's all the same; a reply is refused before."""
        fate = self.forwarder.forward(packet, choice, seen)
        if fate.verdict == SENT or (fate.verdict in ("ttl_exceeded", "too_big") and not choice.reply):
            self._account(packet, choice)
        if fate.verdict == SENT:
            self._check_answer(choice.flow)
        return fate

    def _check_answer(self, flow: Flow | None) -> None:
        """No two connections have answers that look the same, whatever local ports FULLNAT has chosen."""
        if flow and flow.answer:
            assert sum(one.answer == flow.answer for one in self.flows.values()) == 1, f"two have {flow.answer}"

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


def _identity(one: Connection) -> tuple[object, ...]:
    return one.protocol, one.client, one.virtual, one.state in {"NONE", "ASSURED"}


def _datagram_key(packet: Packet) -> tuple[IPAddress, IPAddress, int, bytes]:
    network = packet.network
    assert network.fragment
    return network.source, network.destination, network.protocol, network.fragment.id


def _count(server: Server, what: str, by: int = 1) -> None:
    server.counts[what] += by
    server.service.counts[what] += by


def _opens(flags: int) -> bool:
    return flags & (SYN | RST) == SYN


def _network(virtual: VirtualService, client: IPAddress) -> IPAddress:
    """Whose clients share a template."""
    mask = virtual.netmask
    if mask is None:
        return client
    if isinstance(client, IPv4Address):
        return IPv4Network(f"{client}/{mask}", strict=False).network_address
    return IPv6Network(f"{client}/{mask}", strict=False).network_address
