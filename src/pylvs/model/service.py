"""A virtual service: what clients connect to, and who chooses their real server."""

from __future__ import annotations

from enum import IntEnum

from pylvs.model.address import Endpoint, IPAddress
from pylvs.model.value import Value


class Protocol(IntEnum):
    """The IP protocol numbers that can be balanced."""

    TCP = 6
    UDP = 17
    SCTP = 132


class VirtualAddress(Value):
    """A service known by protocol, VIP and port (port 0: every port)."""

    protocol: Protocol
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.protocol.name} {self.endpoint}"

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.endpoint.address.version


class FirewallMark(Value):
    """A service known by the firewall mark of its packets (1..2**32-1) and their family (4 or 6)."""

    mark: int
    family: int = 4

    def __str__(self) -> str:
        return f"FWM {self.mark}" + (" IPv6" if self.family == 6 else "")


ServiceId = VirtualAddress | FirewallMark


class VirtualService(Value):
    """A service and its scheduling. `flags` are the bits of --sched-flags: flag-1 0x08, flag-2 0x10, flag-3 0x20.

    `persistence` is in seconds, None when the service is not persistent. `netmask` groups the clients of a persistent
    service: an IPv4 mask, or an IPv6 prefix length; None for the full mask. `local_addresses` are what FULLNAT may put
    in the place of clients; none for the director's own address towards each server.
    """

    id: ServiceId
    scheduler: str = "wlc"
    flags: int = 0
    persistence: int | None = None
    netmask: IPAddress | int | None = None
    persistence_engine: str = ""
    one_packet: bool = False
    local_addresses: tuple[IPAddress, ...] = ()
