"""What a lab's network is made of, as values: nodes, their interfaces, the cables between them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from pylvs.lab.lab import Lab
from pylvs.model import IPAddress, Value

IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network


class Interface(Value):
    """A node's end of a cable; `lo` is one too."""

    name: str
    mac: str = ""
    addresses: tuple[IPInterface, ...] = ()


class Route(Value):
    """The way to a network that is neither on a cable nor behind the gateway."""

    network: IPNetwork
    gateway: IPAddress


class Node(Value):
    """A machine of the lab: one network namespace. It has a gateway for each family, or for none."""

    name: str
    interfaces: tuple[Interface, ...]
    gateways: tuple[IPAddress, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    routes: tuple[Route, ...] = ()

    @property
    def is_switch(self) -> bool:
        return self.name.startswith("switch")

    @property
    def is_server(self) -> bool:
        return self.name.startswith("rs")

    def interface(self, name: str) -> Interface:
        """Raises `KeyError`."""
        return {interface.name: interface for interface in self.interfaces}[name]

    @property
    def address(self) -> IPAddress:
        """The first address of its first interface: CIP, DIP, RIP."""
        return self.addresses[0]

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """Those of its first interface."""
        return tuple(address.ip for address in self.interfaces[0].addresses)

    def address_of(self, family: int) -> IPAddress:
        """The same of a family. Raises `StopIteration`."""
        return next(address for address in self.addresses if address.version == family)


class Port(Value):
    """One interface of one node, by name."""

    node: str
    interface: str


class Link(Value):
    """A cable (a veth pair) between two ports; the left one is nearer to the client."""

    left: Port
    right: Port


class Topology(Value):
    """A whole lab, ready to be built. It has a VIP for each family of its services."""

    lab: Lab
    vips: tuple[IPAddress, ...]
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    @property
    def vip(self) -> IPAddress:
        """The first one."""
        return self.vips[0]

    def node(self, name: str) -> Node:
        """Raises `KeyError`."""
        return {node.name: node for node in self.nodes}[name]

    @property
    def servers(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.is_server)

    def rips(self, vip: IPAddress) -> tuple[IPAddress, ...]:
        """What the real servers are to the service at a VIP."""
        return tuple(server.address_of(self.lab.rip_family(vip.version)) for server in self.servers)

    def namespace(self, node: str) -> str:
        return namespace_of(self.lab.name, node)

    @property
    def names_of_macs(self) -> Mapping[str, str]:
        """Who answers to a MAC address."""
        return {interface.mac: node.name for node in self.nodes for interface in node.interfaces if interface.mac}


def namespace_of(lab: str, node: str) -> str:
    """The network namespace of a node, as `ip netns` knows it."""
    return f"pylvs-{lab}-{node}"
