"""A real server under one virtual service."""

from __future__ import annotations

from enum import StrEnum

from pylvs.model.address import Endpoint
from pylvs.model.value import Value


class ForwardingMethod(StrEnum):
    """How packets reach the real server."""

    NAT = "nat"  # the destination changes, answers come back through the director
    DR = "dr"  # only the MAC changes, answers go straight to the client
    TUN = "tun"  # the packet is wrapped in another
    FULLNAT = "fullnat"  # both addresses change

    @property
    def crosses_families(self) -> bool:
        """Whether its servers may be of the other family than their service."""
        return self in (ForwardingMethod.TUN, ForwardingMethod.FULLNAT)


class TunnelType(StrEnum):
    IPIP = "ipip"
    GUE = "gue"
    GRE = "gre"


class TunnelChecksum(StrEnum):
    NONE = "nocsum"
    CSUM = "csum"
    REMOTE = "remcsum"


class Tunnel(Value):
    """How a TUN server wants its packets wrapped; `port` is for GUE only."""

    type: TunnelType = TunnelType.IPIP
    port: int = 0
    checksum: TunnelChecksum = TunnelChecksum.NONE


class RealServer(Value):
    """One RIP:port with its weight. Weight 0 is quiesced: it keeps its connections and gets no new ones.

    It takes no new connections either from `upper_threshold` connections (0: no limit) until there are fewer than
    `lower_threshold` (0: three quarters of the upper).
    """

    endpoint: Endpoint
    method: ForwardingMethod = ForwardingMethod.DR
    weight: int = 1
    upper_threshold: int = 0
    lower_threshold: int = 0
    tunnel: Tunnel = Tunnel()

    @property
    def quiesced(self) -> bool:
        return self.weight == 0
