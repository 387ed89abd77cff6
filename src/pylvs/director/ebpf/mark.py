"""Packets with a firewall mark: iptables and nft set it behind tc ingress, so a policy rule leads them into a device.

The device is one end of a veth pair of ours. Its egress program balances what comes there and hands the rest back to
the host, as if it had come in by the device. docs/marks.md tells what all this changes on a host.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager

from pylvs.director.ebpf import attach, libbpf, policy
from pylvs.errors import DataPlaneError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any

    from pylvs.director.ebpf.policy import Rule, Step
    from pylvs.director.ebpf.table import Table
    from pylvs.model import FirewallMark

DEVICE, PEER = "pylvs0", "pylvs0-peer"
_MAC, _PEER_MAC = "02:70:79:6c:76:73", "02:70:79:6c:76:74"
_MTU = 65535
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_GATEWAYS = {4: "169.254.118.118", 6: "fe80::76"}
"""So that the kernel keeps one neighbour there, whatever the packets' destinations are. Nobody has these addresses."""

_SETTINGS = {
    "ipv6/conf/pylvs0-peer/disable_ipv6": "1",
    "ipv6/conf/pylvs0/disable_ipv6": "0",
    "ipv6/conf/pylvs0/addr_gen_mode": "1",  # no address
    "ipv6/conf/pylvs0/accept_ra": "0",
    "ipv6/conf/pylvs0/forwarding": "1",  # or the program can't ask for the way to a server
    "ipv4/conf/pylvs0/forwarding": "1",
    "ipv4/conf/pylvs0/src_valid_mark": "1",  # the way back of what comes out of it is into it, also for rp_filter
}
_KNOWN = {"FRA_TABLE", "FRA_PRIORITY", "FRA_FWMARK", "FRA_FWMASK", "FRA_IIFNAME", "FRA_GOTO", "FRA_PROTOCOL"}
_IRRELEVANT = {"FRA_SUPPRESS_PREFIXLEN": 0xFFFFFFFF}
_INVERT = 2
_UP, _NOARP = 0x1, 0x80
_ONLINK = 4


def check(table: Table, id: FirewallMark) -> None:
    """Refuse a mark that can't work here, or that is somebody else's; raises `DataPlaneError`."""
    interfaces = [one.interface.name for one in attach.attachments(table)]
    _check_forwarding(id.family, interfaces)
    if id.family == 4:
        _check_return_way(interfaces)
    rules = _rules(id.family)
    if other := policy.conflict(rules, id.mark):
        raise DataPlaneError(
            f"mark {id.mark} is routed by another rule already: {other}",
            hint="use another mark, or delete that rule: pylvs makes one of its own",
        )
    ours = {one.mark for one in rules if one.ours and one.mark}
    policy.plan(rules, ours | {id.mark}, DEVICE)


def _sysctl(path: str) -> int:
    """0 where there is no such setting."""
    try:
        with open(f"/proc/sys/net/{path}") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0


def _check_forwarding(family: int, interfaces: Iterable[str]) -> None:
    """The kernel routes packets from one interface into another only where it may forward."""
    names = [f"ipv4/conf/{name}/forwarding" for name in interfaces] if family == 4 else ["ipv6/conf/all/forwarding"]
    if not any(map(_sysctl, names)):
        name = "net.ipv4.ip_forward" if family == 4 else "net.ipv6.conf.all.forwarding"
        raise DataPlaneError(
            f"marked packets don't reach the director where the kernel doesn't forward: {name} is 0",
            hint=f"sysctl -w {name}=1",
        )


def _check_return_way(interfaces: Iterable[str]) -> None:
    """A strict rp_filter that looks at the mark finds that a marked packet should have come in by the device."""
    for name in interfaces:
        strict = max(_sysctl(f"ipv4/conf/{where}/rp_filter") for where in ("all", name)) == 1
        if strict and any(_sysctl(f"ipv4/conf/{where}/src_valid_mark") for where in ("all", name)):
            raise DataPlaneError(
                f"rp_filter=1 with src_valid_mark=1 drops every marked packet that comes in by {name}",
                hint=f"sysctl -w net.ipv4.conf.{name}.rp_filter=2 (and conf.all.rp_filter), or src_valid_mark=0",
            )


@contextmanager
def _netlink() -> Iterator[Any]:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise DataPlaneError(
            f"the way of marked packets to the director can't be changed: {os.strerror(error.code)}",
            hint="it takes a veth pair, a route and policy rules: see docs/marks.md",
        ) from error


def ensure(table: Table, marks: Collection[FirewallMark]) -> None:
    """What these services need is there, and nothing of ours besides. Mends what was left half done."""
    if not marks:
        remove()
        return
    _make_device()
    replace(table)
    for family in _families():
        _route(family)
        _settle_rules(family, {id.mark for id in marks if id.family == family})


def remove() -> None:
    """The host is as it was before the first mark."""
    for family in _families():
        _settle_rules(family, ())
    if _is_ours():
        with _netlink() as route:
            route.link("del", index=socket.if_nametoindex(DEVICE))


def replace(table: Table) -> None:
    """The table's program sits on the device, if there is one."""
    if _is_ours():
        index = socket.if_nametoindex(DEVICE)
        libbpf.create_ingress(index)
        for point in (libbpf.TC_INGRESS, libbpf.TC_EGRESS):
            program = table.fd("director_mark")
            libbpf.attach_tc(index, program, handle=attach.TC_HANDLE, priority=attach.BESIDE_PRIORITY, point=point)


def _families() -> list[int]:
    return [4, 6] if os.path.exists("/proc/sys/net/ipv6") else [4]


def _is_ours() -> bool:
    """Raises `DataPlaneError` when the name is somebody else's."""
    try:
        mac = attach.interface_named(DEVICE).mac
    except UsageError:
        return False
    if mac != bytes.fromhex(_MAC.replace(":", "")):
        raise DataPlaneError(f"interface {DEVICE} was not made by pylvs", hint="rename it: pylvs needs that name")
    return True


def _make_device() -> None:
    with _netlink() as route:
        if not _is_ours():
            peer = {"ifname": PEER, "address": _PEER_MAC, "mtu": _MTU}
            route.link("add", kind="veth", ifname=DEVICE, address=_MAC, mtu=_MTU, peer=peer)
        for path, value in _SETTINGS.items():
            if os.path.exists(f"/proc/sys/net/{path}"):
                with open(f"/proc/sys/net/{path}", "w") as file:
                    file.write(value)
        for name in (PEER, DEVICE):
            route.link("set", index=socket.if_nametoindex(name), flags=_NOARP | _UP, change=_NOARP | _UP)


def _route(family: int) -> None:
    """Everything that looks into our table goes to the device."""
    with _netlink() as route:
        route.route(
            "replace",
            family=_FAMILIES[family],
            dst="default",
            gateway=_GATEWAYS[family],
            flags=_ONLINK,
            oif=socket.if_nametoindex(DEVICE),
            table=policy.TABLE,
            proto=policy.PROTOCOL,
        )


def _rules(family: int) -> list[Rule]:
    with _netlink() as route:
        return [_read(message) for message in route.get_rules(family=_FAMILIES[family])]


def _read(message: Any) -> Rule:
    given = dict(message["attrs"])
    odd = [name for name, value in given.items() if name not in _KNOWN and _IRRELEVANT.get(name) != value]
    return policy.Rule(
        priority=given.get("FRA_PRIORITY", 0),
        action=message["action"],
        table=given.get("FRA_TABLE", message["table"]),
        mark=given.get("FRA_FWMARK"),
        mask=given.get("FRA_FWMASK", policy.ALL_BITS),
        interface=given.get("FRA_IIFNAME", ""),
        goto=given.get("FRA_GOTO", 0),
        protocol=given.get("FRA_PROTOCOL", 0),
        inverted=bool(message["flags"] & _INVERT),
        complex=bool(odd or message["src_len"] or message["dst_len"] or message["tos"]),
    )


def _settle_rules(family: int, marks: Collection[int]) -> None:
    steps = policy.plan(_rules(family), marks, DEVICE)
    with _netlink() as route:
        for step in steps:
            _carry_out(route, family, step)


def _carry_out(route: Any, family: int, step: Step) -> None:
    from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST
    from pyroute2.netlink.rtnl import RTM_NEWRULE

    one = step.rule
    said = {
        "family": _FAMILIES[family],
        "priority": one.priority,
        "action": one.action,
        "table": one.table,
        "fwmark": one.mark,
        "iifname": one.interface or None,
        "goto": one.goto or None,
        "protocol": one.protocol,
    }
    fields = {name: value for name, value in said.items() if value is not None}
    # a second local rule is just what is meant: without NLM_F_EXCL
    add = (RTM_NEWRULE, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE)
    route.rule(add if isinstance(step, policy.Add) else "del", **fields)
