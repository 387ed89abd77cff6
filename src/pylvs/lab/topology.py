"""The networks of the forwarding methods as data: who stands where, under which addresses. Nothing here touches one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pylvs.lab.addresses import ADDRESSES, Addresses, alone, in_network
from pylvs.lab.lab import MOST_SERVERS, Hook, Lab
from pylvs.lab.network import Interface, Link, Node, Port, Route, Topology, namespace_of
from pylvs.model import ForwardingMethod, IPAddress, parse_address

__all__ = [
    "MOST_SERVERS",
    "Hook",
    "Interface",
    "Lab",
    "Link",
    "Node",
    "Port",
    "Topology",
    "namespace_of",
    "offloads",
    "topology",
]

Sysctls = tuple[tuple[str, str], ...]

# A new namespace inherits these from the host, so each is set.
_PLAIN: Sysctls = (
    *(
        (f"net.ipv4.conf.{which}.{name}", "0")
        for which in ("all", "default")
        for name in ("rp_filter", "accept_redirects", "send_redirects", "arp_ignore", "arp_announce", "arp_filter")
    ),
    *((f"net.ipv6.conf.default.{name}", "0") for name in ("accept_ra", "autoconf", "accept_redirects")),
    ("net.bridge.bridge-nf-call-iptables", "0"),
    ("net.bridge.bridge-nf-call-ip6tables", "0"),
)
# Without IPv6 nothing speaks before it is spoken to. With it a router needs its link-local address to ask who has
# another; no address has to wait until it is known that nobody else has it.
_LINK_LOCAL: Mapping[bool, Sysctls] = {
    False: (("net.ipv6.conf.default.addr_gen_mode", "1"),),
    True: tuple(
        (f"net.ipv6.conf.{name}", "0") for name in ("default.addr_gen_mode", "default.accept_dad", "all.accept_dad")
    ),
}
_NO_IPV6: Sysctls = tuple((f"net.ipv6.conf.{which}.disable_ipv6", "1") for which in ("all", "default"))
_QUIET_ABOUT_VIP: Sysctls = tuple(
    (f"net.ipv4.conf.{which}.{name}", value)
    for which in ("all", "lo")
    for name, value in (("arp_ignore", "1"), ("arp_announce", "2"))
)

# The fourth byte of a MAC address tells the role (client, edge, director, server, bridge), the fifth which of them it
# is, the sixth which interface. 02 makes it a locally administered one.
_CLIENT, _EDGE, _DIRECTOR, _SERVER_ROLE, _BRIDGE = 0x0C, 0x0E, 0x0D, 0x05, 0x0B

Plans = Sequence[Addresses]


def topology(lab: Lab) -> Topology:
    """The network that a lab stands for."""
    plans = [ADDRESSES[lab.method, family] for family in lab.every_family]
    vips = tuple(parse_address(plan.vip) for plan in plans if plan.family in lab.families)
    # Its RIP is a real server's name, so the family by which the director knows it comes first.
    known_first = sorted(plans, key=lambda plan: plan.family != lab.server_family)
    servers = [_SERVER[lab.method](known_first, number) for number in range(1, lab.servers + 1)]
    networks = _two_networks if plans[0].beyond else _one_network
    nodes, links = networks(plans, _director(plans, vips), servers)
    return Topology(lab, vips, tuple(nodes), tuple(links))


def offloads(lab: Lab, port: Port) -> Mapping[str, bool]:
    """What is switched on or off at a port.

    A veth sender leaves checksums and segmentation to offload. tc copes with that; XDP would lose it, so there every
    sender does its own, as frames come from a NIC. And XDP can only send into a veth whose other end polls: GRO does.
    """
    if lab.hook is not Hook.XDP:
        return {}
    polls = {"gro": True} if port.node.startswith("switch") else {}
    return {"tx-checksum": False, "tso": False, "gso": False} | polls


def _one_network(plans: Plans, director: Node, servers: Sequence[Node]) -> tuple[list[Node], list[Link]]:
    """The director and the real servers are neighbours."""
    inside = [director, *servers]
    switched = [Port("router", "eth1"), *(Port(node.name, "eth0") for node in inside)]
    nodes = [_client(plans), _router(plans), *inside, _switch("switch", switched)]
    return nodes, [Link(Port("client", "eth0"), Port("router", "eth0")), *_cables("switch", switched)]


def _two_networks(plans: Plans, director: Node, servers: Sequence[Node]) -> tuple[list[Node], list[Link]]:
    """The real servers are in another network than the director, behind a router of their own."""
    near = [Port("router", "eth1"), Port("director", "eth0")]
    far = [Port("router2", "eth1"), *(Port(node.name, "eth0") for node in servers)]
    routers = [_router(plans), _second_router(plans)]
    nodes = [_client(plans), *routers, director, *servers, _switch("switch", near), _switch("switch2", far, 2)]
    return nodes, [
        Link(Port("client", "eth0"), Port("router", "eth0")),
        *_cables("switch", near),
        Link(Port("router", "eth2"), Port("router2", "eth0")),
        *_cables("switch2", far),
    ]


def _cables(switch: str, ports: Iterable[Port]) -> list[Link]:
    """The first one leads towards the client."""
    uplink, *others = ports
    return [Link(uplink, Port(switch, uplink.node)), *(Link(Port(switch, port.node), port) for port in others)]


def _client(plans: Plans) -> Node:
    eth0 = _interface("eth0", _mac(_CLIENT), (plan.cip for plan in plans))
    return _node("client", plans, (eth0,), (plan.clients_gateway for plan in plans))


def _router(plans: Plans) -> Node:
    beyonds = [(plan, plan.beyond) for plan in plans if plan.beyond]
    interfaces = [
        _interface("eth0", _mac(_EDGE), (plan.clients_gateway for plan in plans)),
        _interface("eth1", _mac(_EDGE, interface=1), (plan.router for plan in plans)),
    ]
    if beyonds:
        interfaces.append(_interface("eth2", _mac(_EDGE, interface=2), (beyond.near for _, beyond in beyonds)))
    routes = tuple(Route(in_network(plan.rip(1)).network, parse_address(beyond.far)) for plan, beyond in beyonds)
    return _node("router", plans, interfaces, forwards=True).replace(routes=routes)


def _second_router(plans: Plans) -> Node:
    beyonds = [plan.beyond for plan in plans if plan.beyond]
    eth0 = _interface("eth0", _mac(_EDGE, 2), (beyond.far for beyond in beyonds))
    eth1 = _interface("eth1", _mac(_EDGE, 2, 1), (beyond.gateway for beyond in beyonds))
    return _node("router2", plans, (eth0, eth1), (beyond.near for beyond in beyonds), forwards=True)


def _director(plans: Plans, vips: Sequence[IPAddress]) -> Node:
    # DIP first: the kernel then takes it, and not the VIP, as the source of the director's own ARP requests.
    eth0 = _interface("eth0", _mac(_DIRECTOR), (*(plan.dip for plan in plans), *map(str, vips)))
    return _node("director", plans, (eth0,), (plan.router for plan in plans), forwards=True)


def _nat_server(plans: Plans, number: int) -> Node:
    """Its gateway is the DIP, so that answers come back through the director."""
    return _node(f"rs{number}", plans, (_server_eth0(plans, number),), (plan.dip for plan in plans))


def _dr_server(plans: Plans, number: int) -> Node:
    """It has the VIP too, says nothing of it to ARP, and answers straight through the router."""
    lo = Interface("lo", addresses=tuple(alone(plan.vip) for plan in plans))
    node = _node(f"rs{number}", plans, (_server_eth0(plans, number), lo), (plan.router for plan in plans))
    return node.replace(sysctls=node.sysctls + _QUIET_ABOUT_VIP)


def _far_server(plans: Plans, number: int) -> Node:
    """Its gateway is its own router. That it has the VIP too, for TUN, is `pylvs realserver up`'s work."""
    gateways = (plan.beyond.gateway for plan in plans if plan.beyond)
    return _node(f"rs{number}", plans, (_server_eth0(plans, number),), gateways)


_SERVER = {
    ForwardingMethod.NAT: _nat_server,
    ForwardingMethod.DR: _dr_server,
    ForwardingMethod.TUN: _far_server,
    ForwardingMethod.FULLNAT: _far_server,
}


def _server_eth0(plans: Plans, number: int) -> Interface:
    return _interface("eth0", _mac(_SERVER_ROLE, number), (str(plan.rip(number)) for plan in plans))


def _switch(name: str, ports: Sequence[Port], which: int = 0) -> Node:
    """Its ports are called as the nodes at their other ends."""
    made = (Interface(port.node, _mac(_BRIDGE, number, which)) for number, port in enumerate(ports, start=1))
    return Node(name, tuple(made), sysctls=_sysctls(forwards=False, has_ipv6=False) + _NO_IPV6)


def _node(
    name: str, plans: Plans, interfaces: Iterable[Interface], gateways: Iterable[str] = (), *, forwards: bool = False
) -> Node:
    sysctls = _sysctls(forwards=forwards, has_ipv6=any(plan.family == 6 for plan in plans))
    return Node(name, tuple(interfaces), tuple(map(parse_address, gateways)), sysctls)


def _sysctls(*, forwards: bool, has_ipv6: bool) -> Sysctls:
    """What forwards comes first: changing it resets others."""
    return (
        ("net.ipv4.ip_forward", f"{forwards:d}"),
        ("net.ipv6.conf.all.forwarding", f"{forwards and has_ipv6:d}"),
        *_PLAIN,
        *_LINK_LOCAL[has_ipv6],
    )


def _interface(name: str, mac: str, addresses: Iterable[str]) -> Interface:
    return Interface(name, mac, tuple(map(in_network, addresses)))


def _mac(role: int, number: int = 0, interface: int = 0) -> str:
    return f"02:00:00:{role:02x}:{number:02x}:{interface:02x}"
