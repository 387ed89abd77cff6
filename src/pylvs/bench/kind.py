"""The kinds of service that are measured."""

from __future__ import annotations

from pylvs.bench import place
from pylvs.bench.driver import PORT
from pylvs.bench.result import DIRECTOR
from pylvs.model import (
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    Protocol,
    RealServer,
    Tunnel,
    TunnelType,
    VirtualAddress,
    VirtualService,
)
from pylvs.model.value import Value

_GUE = Tunnel(TunnelType.GUE, 6080)
_OUTER = {TunnelType.IPIP: 0, TunnelType.GUE: 12, TunnelType.GRE: 4}
_HOUR = 3600
_HIGH = 1 << 30
_MARKS = 100


class Kind(Value):
    """A virtual service and its real servers. `usual`: it is measured without being asked for."""

    method: ForwardingMethod = ForwardingMethod.DR
    family: int = 4
    tunnel: Tunnel = Tunnel()
    scheduler: str = "rr"
    servers: int = 2
    port: int = PORT
    persistent: bool = False
    thresholds: bool = False
    marks: bool = False
    note: str = ""
    usual: bool = False

    @property
    def program(self) -> str:
        """What a row calls it."""
        return f"{DIRECTOR}, {self.note}" if self.note else DIRECTOR

    @property
    def way(self) -> str:
        """The method, with the kind of tunnel."""
        tun = self.method is ForwardingMethod.TUN
        return f"{self.method.value} {self.tunnel.type.value}" if tun else self.method.value

    @property
    def slots(self) -> int:
        """How many of the table a connection takes."""
        return 2 if self.method in (ForwardingMethod.NAT, ForwardingMethod.FULLNAT) else 1

    @property
    def wrapped(self) -> int:
        """The bytes that a tunnel adds."""
        outer = (20 if self.family == 4 else 40) + _OUTER[self.tunnel.type]
        return outer if self.method is ForwardingMethod.TUN else 0

    @property
    def service(self) -> VirtualService:
        """The one that gets the packets."""
        vip = Endpoint(place.address(place.VIP, self.family), self.port)
        id = VirtualAddress(Protocol.TCP, vip)
        pool = place.LOCALS if self.method is ForwardingMethod.FULLNAT else ()
        local_addresses = tuple(place.address(local, self.family) for local in pool)
        persistence = _HOUR if self.persistent else None
        return VirtualService(id, self.scheduler, persistence=persistence, local_addresses=local_addresses)

    @property
    def others(self) -> list[VirtualService]:
        """Services that get none, and are only there."""
        marks = range(1, _MARKS + 1) if self.marks else ()
        return [VirtualService(FirewallMark(mark, self.family), self.scheduler) for mark in marks]

    def server(self, turn: int) -> RealServer:
        """One of its real servers."""
        endpoint = Endpoint(place.address(place.SERVERS[turn], self.family), PORT)
        upper = _HIGH if self.thresholds else 0
        return RealServer(endpoint, self.method, upper_threshold=upper, tunnel=self.tunnel)


_DR = Kind(usual=True)
_NAT = Kind(ForwardingMethod.NAT, usual=True)
_TUN, _GUE_TUN = Kind(ForwardingMethod.TUN), Kind(ForwardingMethod.TUN, tunnel=_GUE)
_FULLNAT = Kind(ForwardingMethod.FULLNAT)
_METHODS = (_DR, _NAT, _TUN, _GUE_TUN, _FULLNAT)

ESTABLISHED = (*_METHODS, *(kind.replace(family=6, usual=False) for kind in _METHODS))
"""Of which packets of established connections are measured."""

EXTRAS = (
    Kind(persistent=True, note="persistent"),
    Kind(persistent=True, port=0, note="every port"),
    Kind(thresholds=True, note="thresholds"),
    Kind(marks=True, note="beside marks"),
)
"""The same, where there are the fewest: what costs nothing where it isn't used."""

NEW = (
    _DR.replace(note="rr of 2"),
    _DR.replace(scheduler="wlc", servers=16, note="wlc of 16"),
    _NAT.replace(note="rr of 2"),
    _DR.replace(family=6, note="rr of 2", usual=False),
    *EXTRAS,
)
"""Of which new connections are measured."""

FILLED = (_DR, _TUN, _NAT, _FULLNAT)
"""Of which it is seen how much memory a connection takes."""
