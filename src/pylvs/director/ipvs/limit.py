"""What pylvs has and the kernel's IPVS lacks: refused by name."""

from __future__ import annotations

from pylvs.errors import FullnatRefused, InvalidOperation
from pylvs.model import FirewallMark, ForwardingMethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.model import RealServer, VirtualService


def check_service(service: VirtualService) -> None:
    """Raises `FullnatRefused`, `InvalidOperation`."""
    if service.local_addresses:
        raise FullnatRefused("the kernel's IPVS has no FULLNAT, and so no local addresses: leave out --local-address")
    if isinstance(service.id, FirewallMark) and not 1 <= service.id.mark < 2**32:
        raise InvalidOperation


def check_server(server: RealServer) -> None:
    """Raises `FullnatRefused`."""
    if server.method is ForwardingMethod.FULLNAT:
        raise FullnatRefused("the kernel's IPVS has no FULLNAT: use -m, -g or -i")
