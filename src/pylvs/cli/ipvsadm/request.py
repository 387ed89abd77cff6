"""One command line, understood: what is asked, and the values it speaks of."""

from __future__ import annotations

from ipaddress import IPv4Address

from pylvs.model import (
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    Protocol,
    RealServer,
    SyncDaemon,
    SyncRole,
    Timeouts,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualAddress,
    VirtualService,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.model import IPAddress, ServiceId

_UNSPECIFIED = IPv4Address(0)
_NO_TUNNEL = Tunnel()
_AS_THEY_ARE = Timeouts(0, 0, 0)
_DAEMON = SyncDaemon(SyncRole.MASTER)


class Request:
    """Filled while the options are read, left to right; some of them look at what came before.

    `given` has the words of grammar.WORDS that were used. Nothing here is checked against a table: directors do that.
    """

    __slots__ = (
        *("command", "given", "timeouts", "knob"),
        *("protocol", "address", "port", "mark", "mark_family"),
        *("scheduler", "flag_names", "flags", "persistence", "netmask", "persistence_engine"),
        "local_addresses",
        *("server_address", "server_port", "method", "weight", "upper_threshold", "lower_threshold"),
        *("tunnel_type", "tunnel_port", "tunnel_checksum"),
        "daemon",
    )

    def __init__(self, command: str) -> None:
        self.command = command
        self.given: set[str] = set()
        self.timeouts = _AS_THEY_ARE
        self.knob = ""
        self.protocol: Protocol | None = None
        self.address: IPAddress = _UNSPECIFIED
        self.port = 0
        self.mark = 0
        self.mark_family = 4
        self.scheduler = ""
        self.flag_names = ""
        self.flags = 0
        self.persistence: int | None = None
        self.netmask: IPAddress | int | None = None
        self.persistence_engine = ""
        self.local_addresses: tuple[IPAddress, ...] = ()
        self.server_address: IPAddress = _UNSPECIFIED
        self.server_port = 0
        self.method = ForwardingMethod.DR
        self.weight = 1
        self.upper_threshold = 0
        self.lower_threshold = 0
        self.tunnel_type = TunnelType.IPIP
        self.tunnel_port = 0
        self.tunnel_checksum = TunnelChecksum.NONE
        self.daemon = _DAEMON

    @property
    def family(self) -> int:
        """4 or 6: the service's, as far as it is known."""
        return self.mark_family if self.mark else self.address.version

    @property
    def id(self) -> ServiceId:
        """The service; mark 0, which is nobody's, if none was given."""
        if self.mark or self.protocol is None:
            return FirewallMark(self.mark, self.mark_family)
        return VirtualAddress(self.protocol, Endpoint(self.address, self.port))

    @property
    def service(self) -> VirtualService:
        """The service as it is to be; a mask without persistence is forgotten."""
        return VirtualService(
            self.id,
            self.scheduler or "wlc",
            self.flags,
            self.persistence,
            None if self.persistence is None else self.netmask,
            self.persistence_engine,
            "ops" in self.given,
            self.local_addresses,
        )

    @property
    def server(self) -> RealServer:
        """The real server as it is to be."""
        return RealServer(
            self.server_endpoint, self.method, self.weight, self.upper_threshold, self.lower_threshold, self._tunnel
        )

    @property
    def server_endpoint(self) -> Endpoint:
        """The real server's address and port."""
        return Endpoint(self.server_address, self.server_port)

    @property
    def _tunnel(self) -> Tunnel:
        if self.method is not ForwardingMethod.TUN:
            return _NO_TUNNEL
        return Tunnel(self.tunnel_type, self.tunnel_port, self.tunnel_checksum)
