"""The networks of LVS-NAT and LVS-DR as data: who stands where, under which addresses. Nothing here touches one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface

from pylvs.model import ForwardingMethod, Value

MOST_SERVERS = 64
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class Hook(StrEnum):
    """Where the director's program is attached; `auto` is the director's own choice."""

    AUTO = "auto"
    TC = "tc"
    XDP = "xdp"


class Lab(Value):
    """What was asked for. Everything else about a lab follows from it."""

    name: str
    method: ForwardingMethod
    hook: Hook = Hook.AUTO
    servers: int = 2
    scheduler: str = "rr"
    service: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a lab: up to 40 of a-z, 0-9 and inner hyphens")
        if self.method not in _SERVER:
            raise ValueError(f"there is no lab for {self.method}")
        if not 1 <= self.servers <= MOST_SERVERS:
            raise ValueError(f"{self.servers} real servers: a lab has 1 to {MOST_SERVERS}")


class Interface(Value):
    """A node's end of a cable; `lo` is one too."""

    name: str
    mac: str = ""
    addresses: tuple[IPv4Interface, ...] = ()


class Node(Value):
    """A machine of the lab: one network namespace."""

    name: str
    interfaces: tuple[Interface, ...]
    gateway: IPv4Address | None = None
    sysctls: tuple[tuple[str, str], ...] = ()

    @property
    def is_switch(self) -> bool:
        return self.name == "switch"

    @property
    def is_server(self) -> bool:
        return self.name.startswith("rs")

    def interface(self, name: str) -> Interface:
        """Raises `KeyError`."""
        return {interface.name: interface for interface in self.interfaces}[name]

    @property
    def address(self) -> IPv4Address:
        """The first address of its first interface: CIP, DIP, RIP."""
        return self.interfaces[0].addresses[0].ip


class Port(Value):
    """One interface of one node, by name."""

    node: str
    interface: str


class Link(Value):
    """A cable (a veth pair) between two ports."""

    left: Port
    right: Port


class Topology(Value):
    """A whole lab, ready to be built."""

    lab: Lab
    vip: IPv4Address
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    def node(self, name: str) -> Node:
        """Raises `KeyError`."""
        return {node.name: node for node in self.nodes}[name]

    @property
    def servers(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.is_server)

    def namespace(self, node: str) -> str:
        return namespace_of(self.lab.name, node)

    @property
    def names_of_macs(self) -> Mapping[str, str]:
        """Who answers to a MAC address."""
        return {interface.mac: node.name for node in self.nodes for interface in node.interfaces if interface.mac}


class _Addresses(Value):
    """What the two networks differ in; `spare` is where the RIPs of a third server and later ones begin."""

    vip: str
    dip: str
    router: str
    servers: tuple[str, ...]
    spare: str


_ADDRESSES = {
    ForwardingMethod.NAT: _Addresses(
        vip="192.168.101.100",
        dip="192.168.101.200",
        router="192.168.101.2",
        servers=("192.168.101.110", "192.168.101.210"),
        spare="192.168.101.111",
    ),
    ForwardingMethod.DR: _Addresses(
        vip="192.168.0.250",
        dip="192.168.0.208",
        router="192.168.0.15",
        servers=("192.168.0.188", "192.168.0.111"),
        spare="192.168.0.112",
    ),
}
_CIP = "110.0.0.1"
_CLIENTS_GATEWAY = "110.0.0.254"

# A new namespace inherits these from the host, so each is set. ip_forward comes first: changing it resets others.
_PLAIN = (
    ("net.ipv4.ip_forward", "0"),
    *(
        (f"net.ipv4.conf.{which}.{name}", "0")
        for which in ("all", "default")
        for name in ("rp_filter", "accept_redirects", "send_redirects", "arp_ignore", "arp_announce", "arp_filter")
    ),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.autoconf", "0"),
    ("net.ipv6.conf.default.addr_gen_mode", "1"),  # no link-local address, so nothing speaks before it is spoken to
    ("net.bridge.bridge-nf-call-iptables", "0"),
)
_FORWARDING = (("net.ipv4.ip_forward", "1"), *_PLAIN[1:])
_QUIET_ABOUT_VIP = tuple(
    (f"net.ipv4.conf.{which}.{name}", value)
    for which in ("all", "lo")
    for name, value in (("arp_ignore", "1"), ("arp_announce", "2"))
)

# The fourth byte of a MAC address tells the role (client, edge, director, server, bridge), the fifth which server it
# is, the sixth which interface. 02 makes it a locally administered one.
_CLIENT, _EDGE, _DIRECTOR, _SERVER_ROLE, _BRIDGE = 0x0C, 0x0E, 0x0D, 0x05, 0x0B


def topology(lab: Lab) -> Topology:
    """The network that a lab stands for."""
    addresses = _ADDRESSES[lab.method]
    server = _SERVER[lab.method]
    inside = (_director(addresses), *(server(addresses, number) for number in range(1, lab.servers + 1)))
    switched = ("router", *(node.name for node in inside))
    return Topology(
        lab=lab,
        vip=IPv4Address(addresses.vip),
        nodes=(_client(), _router(addresses), *inside, _switch(switched)),
        links=(
            Link(Port("client", "eth0"), Port("router", "eth0")),
            *(Link(Port("switch", name), Port(name, "eth1" if name == "router" else "eth0")) for name in switched),
        ),
    )


def namespace_of(lab: str, node: str) -> str:
    """The network namespace of a node, as `ip netns` knows it."""
    return f"pylvs-{lab}-{node}"


def offloads(lab: Lab, port: Port) -> Mapping[str, bool]:
    """What is switched on or off at a port.

    A veth sender leaves checksums and segmentation to offload. tc copes with that; XDP would lose it, so there every
    sender does its own, as frames come from a NIC. And XDP can only send into a veth whose other end polls: GRO does.
    """
    if lab.hook is not Hook.XDP:
        return {}
    return {"tx-checksum": False, "tso": False, "gso": False} | ({"gro": True} if port.node == "switch" else {})


def _client() -> Node:
    eth0 = Interface("eth0", _mac(_CLIENT), (_in_24(_CIP),))
    return Node("client", (eth0,), IPv4Address(_CLIENTS_GATEWAY), _PLAIN)


def _router(addresses: _Addresses) -> Node:
    eth0 = Interface("eth0", _mac(_EDGE), (_in_24(_CLIENTS_GATEWAY),))
    eth1 = Interface("eth1", _mac(_EDGE, interface=1), (_in_24(addresses.router),))
    return Node("router", (eth0, eth1), None, _FORWARDING)


def _director(addresses: _Addresses) -> Node:
    # DIP first: the kernel then takes it, and not the VIP, as the source of the director's own ARP requests.
    eth0 = Interface("eth0", _mac(_DIRECTOR), (_in_24(addresses.dip), _in_24(addresses.vip)))
    return Node("director", (eth0,), IPv4Address(addresses.router), _FORWARDING)


def _nat_server(addresses: _Addresses, number: int) -> Node:
    """Its gateway is the DIP, so that answers come back through the director."""
    return Node(f"rs{number}", (_server_eth0(addresses, number),), IPv4Address(addresses.dip), _PLAIN)


def _dr_server(addresses: _Addresses, number: int) -> Node:
    """It has the VIP too, says nothing of it to ARP, and answers straight through the router."""
    lo = Interface("lo", addresses=(IPv4Interface(f"{addresses.vip}/32"),))
    return Node(
        f"rs{number}",
        (_server_eth0(addresses, number), lo),
        IPv4Address(addresses.router),
        _PLAIN + _QUIET_ABOUT_VIP,
    )


_SERVER = {ForwardingMethod.NAT: _nat_server, ForwardingMethod.DR: _dr_server}


def _server_eth0(addresses: _Addresses, number: int) -> Interface:
    named = len(addresses.servers)
    rip = addresses.servers[number - 1] if number <= named else IPv4Address(addresses.spare) + number - named - 1
    return Interface("eth0", _mac(_SERVER_ROLE, number), (_in_24(rip),))


def _switch(switched: tuple[str, ...]) -> Node:
    ports = tuple(Interface(name, _mac(_BRIDGE, number)) for number, name in enumerate(switched, start=1))
    return Node("switch", ports, None, _PLAIN)


def _in_24(address: str | IPv4Address) -> IPv4Interface:
    return IPv4Interface(f"{address}/24")


def _mac(role: int, number: int = 0, interface: int = 0) -> str:
    return f"02:00:00:{role:02x}:{number:02x}:{interface:02x}"
