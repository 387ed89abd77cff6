"""What a director reports of itself at one moment. Identity and counters are different types."""

from __future__ import annotations

from pylvs.model.server import RealServer
from pylvs.model.service import VirtualService
from pylvs.model.value import Value


class Counters(Value):
    """Totals since the last zero: connections, packets and bytes (of layer 3) towards the server and back."""

    connections: int = 0
    in_packets: int = 0
    out_packets: int = 0
    in_bytes: int = 0
    out_bytes: int = 0


class ServerSnapshot(Value):
    """A real server with the connections it has now: active, inactive, and persistence templates."""

    server: RealServer
    active: int = 0
    inactive: int = 0
    persistent: int = 0
    counters: Counters = Counters()


class ServiceSnapshot(Value):
    """A service with its servers in scheduling order: the kernel's, so the server added last comes first."""

    service: VirtualService
    servers: tuple[ServerSnapshot, ...] = ()
    counters: Counters = Counters()


class Timeouts(Value):
    """Seconds that an idle connection is kept: TCP established, TCP after a FIN, UDP. As a change, 0 leaves it be."""

    tcp: int = 900
    tcp_fin: int = 120
    udp: int = 300
