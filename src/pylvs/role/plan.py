"""From what was asked for to the changes that this machine needs. What can be wrong is found here, before any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pylvs.director.ebpf import attach
from pylvs.director.ebpf.abi import AddressRole
from pylvs.errors import DataPlaneError, UsageError
from pylvs.host import route, sysctl
from pylvs.host.address import LoopbackAddress, LoopbackUp, addresses, interfaces_with
from pylvs.host.change import Change
from pylvs.model import ForwardingMethod, IPAddress
from pylvs.model.value import Value
from pylvs.role import abi, tunnel
from pylvs.role.asked import Asked
from pylvs.role.program import Attachment, Qdisc

_SILENT = ("2", "8")
"""Values of arp_ignore that keep a host as silent about what is on lo as 1 does; 3 does not."""


class Plan(Value):
    """`settings` are None of a method without programs."""

    changes: tuple[Change, ...]
    settings: abi.RealserverSettings | None
    roles: Mapping[IPAddress, int]

    def has(self, change: Change) -> bool:
        """Whether the same thing is to be changed, to whatever."""
        return any(one.what == change.what for one in self.changes)


def interface_names(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Those asked for, or all that packets come in by; raises `DataPlaneError` where there is none."""
    found = asked or tuple(one.name for one in attach.candidates())
    if not found:
        raise DataPlaneError(
            "there is no interface for the real server: none is Ethernet, up, and has an IPv4 address",
            hint="bring one up, or name one with --interface",
        )
    return found


def plan(asked: Asked) -> Plan:
    """Raises `UsageError` where it can't be done as asked."""
    _check_vips(asked)
    used = [attach.interface_named(name) for name in asked.interfaces]
    names = [one.name for one in used]
    changes: list[Change] = [*_arp(asked, names), *_reverse_path(names)]
    vips: list[Change] = [LoopbackUp(), *(LoopbackAddress(str(vip)) for vip in asked.vips)]
    if asked.method is not ForwardingMethod.TUN:
        return Plan((*changes, *vips), None, {})
    rips = [rip for one in used for _, rip in addresses(one.index) if not rip.is_link_local]
    if not rips:
        raise UsageError(
            f"there is no address on {', '.join(names)} that a director could send to",
            hint="a real server of LVS-TUN needs a RIP; name its interface with --interface",
        )
    added, mtu = tunnel.overhead(asked, rips), _mtu(asked, used)
    tunnel.check_mtu(asked, mtu, added)
    programs = [kind(one.name, one.index) for one in used for kind in (Qdisc, Attachment)]
    return Plan((*changes, *vips, *programs), tunnel.settings(asked, mtu, added), _roles(asked, rips))


def _check_vips(asked: Asked) -> None:
    for vip in asked.vips:
        elsewhere = [name for name in interfaces_with(vip) if name != "lo"]
        if elsewhere:
            raise UsageError(
                f"VIP {vip} is on {elsewhere[0]}: there this host would answer ARP for it",
                hint=f"take it off (ip address delete {vip} dev {elsewhere[0]}); a real server has it on lo",
            )


def _arp(asked: Asked, names: list[str]) -> Iterator[sysctl.Setting]:
    """Of a setting for all and one for an interface the kernel takes the larger."""
    if asked.arp == "none":
        return
    yield sysctl.setting("net/ipv4/conf/all/arp_ignore", "1", *_SILENT)
    yield from (sysctl.setting(f"net/ipv4/conf/{name}/arp_ignore", "1", "0", *_SILENT) for name in names)
    yield sysctl.setting("net/ipv4/conf/all/arp_announce", "2")


def _reverse_path(names: list[str]) -> Iterator[sysctl.Setting]:
    """Clients' packets come in by where the director is. Where the way back is another one, strict (1) refuses them."""
    for_all = sysctl.read("net/ipv4/conf/all/rp_filter")
    fine = {"0": ("0",), "1": (), "2": ("0", "1")}.get(for_all, ())
    for name in names:
        yield sysctl.setting(f"net/ipv4/conf/{name}/rp_filter", "2", *fine)


def _mtu(asked: Asked, used: list[attach.Interface]) -> int:
    """The smallest of the ways by which a director's packets come."""
    return min(*(route.mtu_of(one.index) for one in used), *(route.mtu_towards(one) for one in asked.directors), 65535)


def _roles(asked: Asked, rips: list[IPAddress]) -> dict[IPAddress, int]:
    roles = dict.fromkeys(rips, int(AddressRole.RIP))
    roles |= dict.fromkeys(asked.vips, int(AddressRole.VIP))
    for director in asked.directors:
        roles[director] = roles.get(director, 0) | abi.ADDRESS_DIRECTOR
    return roles
