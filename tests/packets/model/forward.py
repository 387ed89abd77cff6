"""What leaves of a packet whose server is known, or why nothing does."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import NamedTuple

from pylvs.model import Endpoint, ForwardingMethod, IPAddress
from tests.packets.model import build, state
from tests.packets.model.parse import ETHERNET, ICMP, RST, SYN, Packet
from tests.packets.model.table import Flow, Server, Tuple

SENT = "sent"
MTU = 1500
LOCAL_PORTS = range(1024, 32768)


class Fate(NamedTuple):
    """`frame` is what leaves, by way of `via` (None: the router): of a drop an ICMP error about it, if there is one.

    What is `cut` leaves in IP fragments.
    """

    verdict: str
    frame: bytes | None = None
    via: IPAddress | None = None
    cut: bool = False


class Choice(NamedTuple):
    """Who gets a packet. Without a flow: by one-packet scheduling."""

    server: Server
    flow: Flow | None
    reply: bool = False


class Forwarder:
    """It remembers which source port a tunnel has for which connection."""

    def __init__(self) -> None:
        self.tunnel_ports: dict[Tuple, int] = {}

    def forward(self, packet: Packet, choice: Choice, seen: bytes) -> Fate:
        """`seen` is the frame that left, for what was free to be chosen."""
        server, network = choice.server, packet.network
        known_as = server.source if choice.reply else None
        to = self._ends(packet, choice, seen)
        crosses = to.source.version != packet.version
        if crosses and network.fragment:
            return Fate("fragment")
        if choice.flow and choice.reply and not packet.flags & SYN and not network.fragment:
            choice.flow.knows_client = True
        if network.ttl <= 1:
            return refuse(packet, "ttl_exceeded", seen, known_as)
        mtu = MTU - _added(server, choice, packet.version, to.source.version)
        too_big = network.length > mtu
        if too_big and (packet.version == 6 or network.dont_fragment):
            return refuse(packet, "too_big", seen, known_as, mtu)
        frame = self._sent(packet, choice, to, mtu, seen)
        return Fate(SENT, frame, None if choice.reply else server.real.endpoint.address, too_big)

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
            if packet.network.length <= mtu:  # of what is cut the last part is seen, which has no ports
                self._check_tunnel_port(packet, server, seen)
            return build.wrapped(packet, server.real.tunnel, server.source, server.real.endpoint.address, seen)
        if flow and fullnat and not choice.reply and flow.local is None:
            assert to.ports[0] in LOCAL_PORTS
            flow.local = Endpoint(to.source, to.ports[0])
        plain = not (fullnat and packet.tcp_header) or packet.network.fragment is not None
        tells = flow and not choice.reply and not flow.knows_client and not packet.flags & (SYN | RST)
        return build.translated(
            packet,
            to,
            told=bool(not plain and tells and build.has_room(packet, mtu)),
            offered=bool(not plain and choice.reply and packet.flags & SYN),
        )

    def _check_tunnel_port(self, packet: Packet, server: Server, seen: bytes) -> None:
        """The network is to take all packets of a connection the same way."""
        port = build.gue_source(seen, server.real.endpoint.address.version)
        if server.real.tunnel.port:
            assert self.tunnel_ports.setdefault(tuple_of(packet), port) == port


def refuse(packet: Packet, reason: str, seen: bytes, known_as: IPAddress | None = None, mtu: int = 0) -> Fate:
    """Dropped, and the sender is told, unless nothing should be said to it."""
    network = packet.network
    if packet.later or is_hostile(packet) or network.protocol in ICMP.values() or network.length < 28:
        return Fate(reason)
    return Fate(reason, build.told(packet, reason, known_as or network.destination, mtu, seen))


def _added(server: Server, choice: Choice, came: int, leaves: int) -> int:
    """How much longer the packet gets on its way out."""
    if server.real.method is ForwardingMethod.TUN:
        return build.overhead(server.real.tunnel, server.real.endpoint.address.version)
    return build.HEADER[leaves] - build.HEADER[came] if leaves > came else 0


def is_hostile(packet: Packet) -> bool:
    """No honest packet comes from there."""
    source = packet.network.source
    if source == packet.network.destination or source.is_multicast or source.is_loopback or source.is_unspecified:
        return True
    return isinstance(source, IPv4Address) and (source.packed[0] == 0 or source.packed[0] >= 240)


def tuple_of(packet: Packet) -> Tuple:
    network, (source, destination) = packet.network, packet.ports
    return Tuple(network.protocol, Endpoint(network.source, source), Endpoint(network.destination, destination))
