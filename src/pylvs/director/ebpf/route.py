"""What the kernel says of addresses: its own ones, and the way to others."""

from __future__ import annotations

import struct
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, AF_UNSPEC, NETLINK_ROUTE

from pylvs.director.netlink import DUMP, Netlink, attribute, attributes
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pylvs.model import IPAddress

_ROUTE = struct.Struct("=8BI")
_ADDRESS = struct.Struct("=4BI")
_LINK = struct.Struct("=BBHiII")
_GETLINK, _GETADDR, _GETROUTE = 18, 22, 26
_IFLA_MTU, _RTAX_MTU = 4, 2
_RTA_DST, _RTA_OIF, _RTA_PREFSRC, _RTA_METRICS = 1, 4, 7, 8
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_UNICAST, _LOCAL, _BROADCAST, _ANYCAST = 1, 2, 3, 4
_FAMILIES = {4: AF_INET, 6: AF_INET6}


class Way(Value):
    """How the kernel would send to an address: by an interface (0: not at all, or unknown), from an own address.

    `mtu` is what may be sent there in one piece, 0 where that is unknown.
    """

    local: bool = False
    broadcast: bool = False
    interface: int = 0
    source: IPAddress | None = None
    mtu: int = 0


class Lookups:
    """The kernel's answers, each asked for once."""

    def __init__(self) -> None:
        self._ways: dict[IPAddress, Way] = {}
        self._forwards: dict[int, bool] = {}
        self._mtus: dict[int, int] = {}

    def way(self, address: IPAddress) -> Way:
        """The way to a server. Its interface is left to the data plane where that can ask, as the kernel forwards."""
        if address not in self._ways:
            way = way_to(address, self._mtu)
            self._ways[address] = way.replace(interface=0) if self.forwards(address.version) else way
        return self._ways[address]

    def _mtu(self, interface: int) -> int:
        if interface not in self._mtus:
            self._mtus[interface] = _mtu_of(interface)
        return self._mtus[interface]

    def forwards(self, version: int) -> bool:
        """Whether the kernel routes packets of a family that are not its own."""
        if version not in self._forwards:
            self._forwards[version] = _forwards(version)
        return self._forwards[version]

    @cached_property
    def own(self) -> frozenset[IPAddress]:
        """Every address of every interface."""
        return own_addresses()


def _forwards(version: int) -> bool:
    path = {4: "/proc/sys/net/ipv4/ip_forward", 6: "/proc/sys/net/ipv6/conf/all/forwarding"}[version]
    try:
        with open(path) as setting:
            return setting.read().strip() != "0"
    except FileNotFoundError:  # a kernel without IPv6
        return False


def way_to(address: IPAddress, mtu_of: Callable[[int], int]) -> Way:
    """Ask the routing table for one address; where it has no route, the way leads nowhere."""
    route = _ROUTE.pack(_FAMILIES[address.version], 8 * len(address.packed), 0, 0, 0, 0, 0, 0, 0)
    try:
        answer = _ask(_GETROUTE, route + attribute(_RTA_DST, address.packed))[0]
    except OSError:
        return Way()
    found = attributes(answer[_ROUTE.size :])
    kind = answer[7]
    source = found.get(_RTA_PREFSRC)
    if kind not in (_UNICAST, _LOCAL, _BROADCAST, _ANYCAST):  # a route that says: there is none
        return Way()
    interface = int.from_bytes(found.get(_RTA_OIF, b""), "little")
    mtu = attributes(found.get(_RTA_METRICS, b"")).get(_RTAX_MTU, b"")
    return Way(
        kind == _LOCAL,
        kind == _BROADCAST,
        interface,
        _address(source) if source else None,
        int.from_bytes(mtu, "little") or mtu_of(interface),
    )


def _mtu_of(interface: int) -> int:
    """0 where it is gone meanwhile, as a route by no interface has none."""
    try:
        answer = _ask(_GETLINK, _LINK.pack(AF_UNSPEC, 0, 0, interface, 0, 0))[0]
    except OSError:
        return 0
    return int.from_bytes(attributes(answer[_LINK.size :]).get(_IFLA_MTU, b""), "little")


def own_addresses() -> frozenset[IPAddress]:
    """Every address of every interface of this network namespace."""
    found = set()
    for message in _ask(_GETADDR, _ADDRESS.pack(AF_UNSPEC, 0, 0, 0, 0), DUMP):
        said = attributes(message[_ADDRESS.size :])
        found.add(_address(said.get(_IFA_LOCAL) or said[_IFA_ADDRESS]))
    return frozenset(found)


def _address(packed: bytes) -> IPAddress:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _ask(kind: int, request: bytes, flags: int = 0) -> list[bytes]:
    with Netlink(NETLINK_ROUTE) as kernel:
        return kernel.ask(kind, request, flags)
