"""What can be asked of a lab. Everything else about it follows from this."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from pylvs.model import ForwardingMethod, Tunnel, TunnelChecksum, TunnelType, Value

MOST_SERVERS = 64
FAMILIES = (4, 6)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_ANY_FAMILY = (ForwardingMethod.TUN, ForwardingMethod.FULLNAT)


class Hook(StrEnum):
    """Where the director's program is attached; `auto` is the director's own choice."""

    AUTO = "auto"
    TC = "tc"
    XDP = "xdp"


class Lab(Value):
    """A lab as it is asked for.

    `families` are those of its services (4, 6), `server_family` that of the real servers where it is another. A `mark`
    makes one firewall-mark service of ports 80 and 443. `persistence` is in seconds.
    """

    name: str
    method: ForwardingMethod
    hook: Hook = Hook.AUTO
    servers: int = 2
    scheduler: str = "rr"
    service: bool = True
    families: tuple[int, ...] = (4,)
    server_family: int | None = None
    tunnel: Tunnel = Tunnel()
    persistence: int | None = None
    mark: int | None = None

    def __post_init__(self) -> None:
        for wrong in (*_wrong_network(self), *_wrong_service(self)):
            raise ValueError(wrong)

    @property
    def every_family(self) -> tuple[int, ...]:
        """Those of the addresses that its nodes have: first the services', then that of the servers."""
        return tuple(dict.fromkeys((*self.families, self.server_family or self.families[0])))

    def rip_family(self, family: int) -> int:
        """The family of the real servers of a family's services."""
        return self.server_family or family


def _wrong_network(lab: Lab) -> Iterator[str]:
    if not _NAME.fullmatch(lab.name):
        yield f"{lab.name!r} is no name for a lab: up to 40 of a-z, 0-9 and inner hyphens"
    if not 1 <= lab.servers <= MOST_SERVERS:
        yield f"{lab.servers} real servers: a lab has 1 to {MOST_SERVERS}"
    if not lab.families or not {*lab.families} <= {*FAMILIES} or lab.server_family not in (None, *FAMILIES):
        yield f"a lab's families are 4 and 6, not {lab.families} and {lab.server_family}"
    elif lab.every_family != lab.families and lab.method not in _ANY_FAMILY:
        yield f"in a {lab.method} lab the real servers are of the service's family: only tun and fullnat can mix them"


def _wrong_service(lab: Lab) -> Iterator[str]:
    tunnel = lab.tunnel
    if tunnel != Tunnel() and lab.method is not ForwardingMethod.TUN:
        yield f"a {lab.method} lab has no tunnel: its options go with tun"
    if (tunnel.type is TunnelType.GUE) != (1 <= tunnel.port <= 65535):
        yield f"a lab with a {tunnel.type} tunnel to port {tunnel.port}: gue has one, 1 to 65535, the others none"
    if tunnel.checksum not in _CHECKSUMS[tunnel.type]:
        yield f"a lab with {tunnel.checksum} in a {tunnel.type} tunnel: there is no such checksum"
    if lab.persistence is not None and lab.persistence < 1:
        yield f"a lab's service is persistent for 1 second or more, not {lab.persistence}"
    if lab.mark is not None and not 1 <= lab.mark < 1 << 32:
        yield f"a lab's firewall mark is 1 to {(1 << 32) - 1}, not {lab.mark}"


_CHECKSUMS = {
    TunnelType.IPIP: (TunnelChecksum.NONE,),
    TunnelType.GUE: tuple(TunnelChecksum),
    TunnelType.GRE: (TunnelChecksum.NONE, TunnelChecksum.CSUM),
}
