"""Making a topology real: namespaces, cables, addresses, routes, settings."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from socket import AF_INET, AF_INET6

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pylvs.lab import namespace, offload
from pylvs.lab.errors import LabError
from pylvs.lab.topology import Interface, Link, Node, Port, Topology, offloads
from pylvs.model import IPAddress

_SYSCTL = Path("/proc/sys")
# IPv6 and bridge filtering can be missing from a kernel; what is not there needs no quieting.
_MAY_BE_MISSING = ("net.ipv6.", "net.bridge.")
_BRIDGE = "br0"
_FAMILY = {4: AF_INET, 6: AF_INET6}
# IPv6 knows no secondary addresses: a VIP is deprecated instead, so that nothing of the node's own comes from it.
_NEVER_A_SOURCE = {"preferred_lft": 0, "valid_lft": 0xFFFFFFFF}


def build(topology: Topology) -> None:
    """The network of a lab. What a failure leaves half done is the caller's to undo. Raises `LabError`."""
    namespace.add(topology.namespace(node.name) for node in topology.nodes)
    try:
        for node in topology.nodes:
            with namespace.inside(topology.namespace(node.name)):
                _set_sysctls(node)
        for link in topology.links:
            _connect(topology, link)
        for node in topology.nodes:
            with namespace.inside(topology.namespace(node.name)):
                _configure(topology, node)
    except (NetlinkError, OSError) as error:
        raise LabError(f"the network could not be built: {error}") from error


def _set_sysctls(node: Node) -> None:
    for name, value in node.sysctls:
        path = _SYSCTL / name.replace(".", "/")
        if path.exists() or not name.startswith(_MAY_BE_MISSING):
            path.write_text(value)


def _connect(topology: Topology, link: Link) -> None:
    """Both ends are born where they belong, so that a lab never has an interface in the host's namespace."""
    left = topology.node(link.left.node).interface(link.left.interface)
    right = topology.node(link.right.node).interface(link.right.interface)
    other = os.open(f"/run/netns/{topology.namespace(link.right.node)}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with namespace.inside(topology.namespace(link.left.node)), IPRoute() as netlink:
            peer = {"ifname": right.name, "address": right.mac, "net_ns_fd": other}
            netlink.link("add", kind="veth", ifname=left.name, address=left.mac, peer=peer)
    finally:
        os.close(other)


def _configure(topology: Topology, node: Node) -> None:
    with IPRoute() as netlink:
        index = {message.get_attr("IFLA_IFNAME"): message["index"] for message in netlink.get_links()}
        for interface in node.interfaces:
            _address(netlink, index[interface.name], interface, topology.vips)
        if node.is_switch:
            _bridge(netlink, [index[port.name] for port in node.interfaces])
        for up in index.values() if node.is_switch else (index[name] for name in _names(node)):
            netlink.link("set", index=up, state="up")
        _switch_offloads(topology, node)  # only on a link that is up does GRO tell its peer that XDP may send to it
        for gateway in node.gateways:
            netlink.route("add", family=_FAMILY[gateway.version], dst="default", gateway=str(gateway))
        for route in node.routes:
            netlink.route("add", dst=str(route.network), gateway=str(route.gateway))


def _names(node: Node) -> tuple[str, ...]:
    return ("lo", *(interface.name for interface in node.interfaces if interface.name != "lo"))


def _address(netlink: IPRoute, index: int, interface: Interface, vips: Collection[IPAddress]) -> None:
    for address in interface.addresses:
        is_vip6 = address.version == 6 and address.ip in vips
        netlink.addr(
            "add",
            index=index,
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
            **(_NEVER_A_SOURCE if is_vip6 else {}),
        )


def _bridge(netlink: IPRoute, ports: list[int]) -> None:
    netlink.link("add", kind="bridge", ifname=_BRIDGE, br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0)
    bridge = netlink.link_lookup(ifname=_BRIDGE)[0]
    for port in ports:
        netlink.link("set", index=port, master=bridge)
    netlink.link("set", index=bridge, state="up")


def _switch_offloads(topology: Topology, node: Node) -> None:
    cabled = (interface.name for interface in node.interfaces if interface.mac)
    for name in cabled:
        for feature, on in offloads(topology.lab, Port(node.name, name)).items():
            offload.switch(name, feature, on)
