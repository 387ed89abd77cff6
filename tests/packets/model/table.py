"""What the model keeps: services, their servers, connections and templates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from pylvs.model import (
    Connection,
    Counters,
    Endpoint,
    ForwardingMethod,
    IPAddress,
    Protocol,
    RealServer,
    VirtualService,
)
from tests.packets.model.state import ACTIVE, REWRITING

FTP = 21


class Tuple(NamedTuple):
    """A packet's five values."""

    protocol: int
    source: Endpoint
    destination: Endpoint


@dataclass(eq=False)
class Server:
    """A real server of one service; it is kept when it is deleted."""

    service: Service
    real: RealServer
    source: IPAddress
    """The director's own address towards it."""
    available: bool = True
    overloaded: bool = False
    active: int = 0
    inactive: int = 0
    templates: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def takes_new(self) -> bool:
        return self.real.weight > 0 and not self.overloaded

    @property
    def overhead(self) -> int:
        return 256 * self.active + self.inactive

    def bind(self, state: str) -> None:
        self._move(state, 1)
        self.compare_with_thresholds()

    def unbind(self, state: str) -> None:
        self._move(state, -1)
        self.compare_with_thresholds()

    def compare_with_thresholds(self) -> None:
        """Between the two it stays what it was."""
        has, upper, lower = self.active + self.inactive, self.real.upper_threshold, self.real.lower_threshold
        if upper and has >= upper:
            self.overloaded = True
        elif not upper or (has < lower if lower else 4 * has < 3 * upper):
            self.overloaded = False

    def _move(self, state: str, by: int) -> None:
        if state in ACTIVE:
            self.active += by
        else:
            self.inactive += by

    def change_state(self, before: str, after: str) -> None:
        self._move(before, -1)
        self._move(after, 1)

    def real_port(self, port: int) -> int:
        """What a port of the service becomes."""
        mapped = self.real.endpoint.port if self.service.maps_ports else 0
        return mapped if mapped and self.service.port in {0, port} else port


@dataclass(eq=False)
class Service:
    """`servers` are in the order of a listing: the one added last comes first."""

    virtual: VirtualService
    vip: IPAddress
    port: int
    protocol: Protocol
    servers: list[Server] = field(default_factory=list)
    deleted: list[Server] = field(default_factory=list)
    cursor: Server | None = None
    """The server that `rr` used last."""
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def maps_ports(self) -> bool:
        """A persistent service of every port keeps them apart at the server, too."""
        return bool(self.port) or not self.virtual.persistence

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.vip, self.port)

    def add(self, server: Server) -> None:
        self.servers.insert(0, server)

    def remove(self, server: Server) -> None:
        """`rr` steps back to the one before."""
        at = self.servers.index(server)
        if self.cursor is server:
            self.cursor = self.servers[at - 1] if at else None
        self.servers.remove(server)
        self.deleted.append(server)
        server.available = False

    def schedule(self) -> Server | None:
        return self._next() if self.virtual.scheduler == "rr" else self._least()

    def _next(self) -> Server | None:
        """Each in turn."""
        start = self.servers.index(self.cursor) + 1 if self.cursor else 0
        turns = self.servers[start:] + self.servers[:start]
        found = next((server for server in turns if server.takes_new), None)
        self.cursor = found or self.cursor
        return found

    def _least(self) -> Server | None:
        """`wlc`: of equals the first."""
        found: Server | None = None
        for server in self.servers:
            weight = server.real.weight
            if server.takes_new and (not found or server.overhead * found.real.weight < found.overhead * weight):
                found = server
        return found


@dataclass(eq=False)
class Template:
    """Whose clients are kept at one server; `end` is in seconds."""

    service: Service
    client: IPAddress
    port: int
    server: Server
    end: int
    flows: int = 0
    assured: bool = False

    def listed(self, now: int) -> Connection:
        """As a listing shows it."""
        real = self.server.real.endpoint
        return Connection(
            self.service.protocol,
            Endpoint(self.client, 0),
            Endpoint(self.service.vip, self.port),
            Endpoint(real.address, real.port if self.port else 0),
            "ASSURED" if self.assured else "NONE",
            max(0, self.end - now),
        )


@dataclass(eq=False)
class Flow:
    """A connection. `local` is FULLNAT's, once a packet of it was seen."""

    request: Tuple
    server: Server
    state: str
    end: int
    template: Template | None
    local: Endpoint | None = None
    knows_client: bool = False

    @property
    def method(self) -> ForwardingMethod:
        return self.server.real.method

    @property
    def answer(self) -> Tuple | None:
        """The tuple of what the server sends back, where that comes through the director."""
        real = Endpoint(self.server.real.endpoint.address, self.server.real_port(self.request.destination.port))
        to = self.request.source if self.method is ForwardingMethod.NAT else self.local
        return Tuple(self.request.protocol, real, to) if to and self.method in REWRITING else None

    def listed(self, now: int) -> Connection:
        """As a listing shows it."""
        return Connection(
            Protocol(self.request.protocol),
            self.request.source,
            self.request.destination,
            Endpoint(self.server.real.endpoint.address, self.server.real_port(self.request.destination.port)),
            self.state,
            max(0, self.end - now),
        )


def as_counters(counts: Counter[str]) -> Counters:
    return Counters(**counts)
