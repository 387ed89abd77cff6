"""The addresses of this machine's interfaces."""

from __future__ import annotations

import os
import socket

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD

from pylvs.errors import NotSupportedHere
from pylvs.model import IPAddress
from pylvs.model.address import parse_address
from pylvs.model.value import Value

_LOOPBACK = 1
"""The index of `lo` in every network namespace."""
_UP = 1


def addresses(index: int | None = None) -> list[tuple[int, IPAddress]]:
    """Interface and address of all there are, or of one interface's."""
    with IPRoute() as route:
        messages = list(route.get_addr() if index is None else route.get_addr(index=index))
    local = ((message["index"], message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")) for message in messages)
    return [(number, parse_address(text)) for number, text in local]


def interfaces_with(address: IPAddress) -> list[str]:
    """Where a machine has an address."""
    return [socket.if_indextoname(index) for index, one in addresses() if one == address]


class LoopbackUp(Value):
    """`lo` is up: in a fresh network namespace it is not, and then an IPv6 address on it is none."""

    @property
    def what(self) -> tuple[object, ...]:
        return (LoopbackUp,)

    @property
    def holds(self) -> bool:
        with IPRoute() as route:
            return bool(route.get_links(_LOOPBACK)[0]["flags"] & _UP)

    @property
    def problem(self) -> str:
        return "interface lo is down"

    def apply(self) -> None:
        with IPRoute() as route:
            route.link("set", index=_LOOPBACK, state="up")

    def undo(self) -> None:
        with IPRoute() as route:
            route.link("set", index=_LOOPBACK, state="down")


class LoopbackAddress(Value):
    """A VIP on `lo`, for this host alone (/32 or /128)."""

    address: str

    @property
    def what(self) -> tuple[object, ...]:
        return (LoopbackAddress, self.address)

    @property
    def holds(self) -> bool:
        return any(str(one) == self.address for _, one in addresses(_LOOPBACK))

    @property
    def problem(self) -> str:
        return f"{self.address} is not on lo"

    def apply(self) -> None:
        """An IPv6 one is deprecated from the start, so that the kernel never chooses it as a source by itself."""
        address = parse_address(self.address)
        extra = {"preferred_lft": 0, "valid_lft": 0xFFFFFFFF, "flags": IFA_F_NODAD} if address.version == 6 else {}
        try:
            with IPRoute() as route:
                route.addr("replace", index=_LOOPBACK, address=self.address, prefixlen=address.max_prefixlen, **extra)
        except NetlinkError as error:
            raise NotSupportedHere(
                f"lo can't have the address {self.address}: {os.strerror(error.code)}",
                hint="see `sysctl net.ipv6.conf.lo.disable_ipv6`" if address.version == 6 else "",
            ) from error

    def undo(self) -> None:
        if self.holds:
            with IPRoute() as route:
                route.addr(
                    "delete",
                    index=_LOOPBACK,
                    address=self.address,
                    prefixlen=parse_address(self.address).max_prefixlen,
                )
