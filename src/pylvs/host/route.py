"""What the kernel says of its ways out."""

from __future__ import annotations

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pylvs.errors import UsageError
from pylvs.model import IPAddress


def mtu_of(index: int) -> int:
    """The MTU of an interface."""
    with IPRoute() as route:
        return int(route.get_links(index)[0].get("IFLA_MTU"))


def mtu_towards(address: IPAddress) -> int:
    """The MTU of the way to an address; raises `UsageError` where there is none."""
    with IPRoute() as route:
        try:
            found = next(iter(route.route("get", dst=str(address))))
        except NetlinkError:
            raise UsageError(f"there is no route to {address}", hint=f"see `ip route get {address}`") from None
    metrics = found.get("RTA_METRICS")
    return min(mtu_of(found.get("RTA_OIF")), (metrics and metrics.get("RTAX_MTU")) or 65535)
