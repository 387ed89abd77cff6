"""The networks of the lab, checked as data."""

from __future__ import annotations

import pytest

from pylvs.lab.topology import MOST_SERVERS, Hook, Lab, Port, Topology, namespace_of, offloads, topology
from pylvs.model import ForwardingMethod, Tunnel, TunnelChecksum, TunnelType

NAT = topology(Lab("n", ForwardingMethod.NAT))
DR = topology(Lab("d", ForwardingMethod.DR))
TUN = topology(Lab("t", ForwardingMethod.TUN))
FULLNAT = topology(Lab("f", ForwardingMethod.FULLNAT, families=(6,)))
EVERY_NETWORK = {
    f"{method}, IPv{' and IPv'.join(map(str, families))}": topology(Lab("x", method, families=families))
    for method in ForwardingMethod
    for families in ((4,), (6,), (4, 6))
}
every_network = pytest.mark.parametrize("network", EVERY_NETWORK.values(), ids=EVERY_NETWORK)

ADDRESSES = {
    "NAT: client": (NAT, "client", "eth0", ["110.0.0.1/24"], "110.0.0.254"),
    "NAT: router outside": (NAT, "router", "eth0", ["110.0.0.254/24"], None),
    "NAT: router inside": (NAT, "router", "eth1", ["192.168.101.2/24"], None),
    "NAT: director": (NAT, "director", "eth0", ["192.168.101.200/24", "192.168.101.100/24"], "192.168.101.2"),
    "NAT: rs1's gateway is the DIP": (NAT, "rs1", "eth0", ["192.168.101.110/24"], "192.168.101.200"),
    "NAT: rs2's gateway is the DIP": (NAT, "rs2", "eth0", ["192.168.101.210/24"], "192.168.101.200"),
    "DR: client": (DR, "client", "eth0", ["110.0.0.1/24"], "110.0.0.254"),
    "DR: router inside": (DR, "router", "eth1", ["192.168.0.15/24"], None),
    "DR: director, the VIP second": (DR, "director", "eth0", ["192.168.0.208/24", "192.168.0.250/24"], "192.168.0.15"),
    "DR: rs1's gateway is the router": (DR, "rs1", "eth0", ["192.168.0.188/24"], "192.168.0.15"),
    "DR: rs2's gateway is the router": (DR, "rs2", "eth0", ["192.168.0.111/24"], "192.168.0.15"),
    "DR: the VIP on lo": (DR, "rs2", "lo", ["192.168.0.250/32"], "192.168.0.15"),
    "TUN: director": (TUN, "director", "eth0", ["198.51.100.200/24", "198.51.100.100/24"], "198.51.100.2"),
    "TUN: between the routers": (TUN, "router", "eth2", ["192.0.2.1/24"], None),
    "TUN: the second router": (TUN, "router2", "eth0", ["192.0.2.2/24"], "192.0.2.1"),
    "TUN: rs1's gateway is its own router": (TUN, "rs1", "eth0", ["203.0.113.110/24"], "203.0.113.2"),
    "FULLNAT: client": (FULLNAT, "client", "eth0", ["2001:db8:110::1/64"], "2001:db8:110::254"),
    "FULLNAT: director": (FULLNAT, "director", "eth0", ["fd00:101::200/64", "fd00:101::100/64"], "fd00:101::2"),
    "FULLNAT: rs2's gateway is its own router": (FULLNAT, "rs2", "eth0", ["fd00:10::12/64"], "fd00:10::254"),
}


@pytest.mark.parametrize(("network", "node", "interface", "addresses", "gateway"), ADDRESSES.values(), ids=ADDRESSES)
def test_addresses(network: Topology, node: str, interface: str, addresses: list[str], gateway: str | None) -> None:
    there = network.node(node)
    assert [str(address) for address in there.interface(interface).addresses] == addresses
    assert [str(each) for each in there.gateways] == ([gateway] if gateway else [])


def test_nat_server_does_not_have_the_vip() -> None:
    assert [interface.name for interface in NAT.node("rs1").interfaces] == ["eth0"]


def test_dr_server_says_nothing_of_the_vip_to_arp() -> None:
    settings = dict(DR.node("rs1").sysctls)
    assert settings["net.ipv4.conf.all.arp_ignore"] == settings["net.ipv4.conf.lo.arp_ignore"] == "1"
    assert settings["net.ipv4.conf.all.arp_announce"] == settings["net.ipv4.conf.lo.arp_announce"] == "2"


@every_network
def test_routers_and_director_forward_and_nobody_else(network: Topology) -> None:
    names = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
    for name in (names[family] for family in network.lab.families):
        forwarding = {node.name for node in network.nodes if dict(node.sysctls)[name] == "1"}
        assert forwarding == {"router", "director"} | {node.name for node in network.nodes if node.name == "router2"}


def test_without_ipv6_nobody_forwards_it() -> None:
    """A router would join the group of all routers, and say so."""
    assert {dict(node.sysctls)["net.ipv6.conf.all.forwarding"] for node in NAT.nodes} == {"0"}


@every_network
def test_forwarding_is_set_before_what_it_resets(network: Topology) -> None:
    assert all(node.sysctls[0][0] == "net.ipv4.ip_forward" for node in network.nodes)


@pytest.mark.parametrize("method", list(ForwardingMethod))
def test_the_largest_lab_has_no_address_or_mac_twice(method: ForwardingMethod) -> None:
    network = topology(Lab("large", method, servers=MOST_SERVERS, families=(4, 6)))
    interfaces = [interface for node in network.nodes for interface in node.interfaces if interface.mac]
    addresses = [address for interface in interfaces for address in interface.addresses]
    assert len(network.servers) == MOST_SERVERS
    assert len({interface.mac for interface in interfaces}) == len(interfaces)
    assert len(set(addresses)) == len(addresses)


@every_network
def test_every_cabled_interface_has_one_cable(network: Topology) -> None:
    ends = [end for link in network.links for end in (link.left, link.right)]
    interfaces = [Port(node.name, each.name) for node in network.nodes for each in node.interfaces if each.mac]
    assert sorted(map(repr, ends)) == sorted(map(repr, interfaces))


@every_network
def test_every_gateway_is_a_neighbour(network: Topology) -> None:
    for node in network.nodes:
        networks = [address.network for each in node.interfaces for address in each.addresses]
        ways = [*node.gateways, *(route.gateway for route in node.routes)]
        assert all(any(way in network for network in networks) for way in ways), node.name


@pytest.mark.parametrize("method", [ForwardingMethod.TUN, ForwardingMethod.FULLNAT])
def test_real_servers_elsewhere(method: ForwardingMethod) -> None:
    """Their gateway is not the director, and they are not in its network."""
    network = topology(Lab("x", method, families=(4, 6)))
    director = network.node("director").interface("eth0").addresses
    for server in network.servers:
        assert not any(rip in address.network for rip in server.addresses for address in director)
        assert not {*server.gateways} & {*network.node("director").addresses}


def test_mixed_families() -> None:
    """The real servers' family comes first for them, and nobody but the services' family has a VIP."""
    network = topology(Lab("x", ForwardingMethod.TUN, families=(4,), server_family=6))
    assert [str(vip) for vip in network.vips] == ["198.51.100.100"]
    assert [str(rip) for rip in network.rips(network.vip)] == ["2001:db8:113::110", "2001:db8:113::210"]
    assert str(network.servers[0].address) == "2001:db8:113::110"
    assert [address.version for address in network.servers[0].addresses] == [6, 4]
    assert [str(each) for each in network.node("director").addresses] == [
        "198.51.100.200",
        "2001:db8:51::200",
        "198.51.100.100",
    ]


def test_macs_are_locally_administered_and_named() -> None:
    assert NAT.names_of_macs["02:00:00:0d:00:00"] == "director"
    assert NAT.names_of_macs["02:00:00:05:02:00"] == "rs2"


OFFLOADS = {
    "tc leaves all on": (Hook.TC, "client", {}),
    "auto is tc on a veth": (Hook.AUTO, "switch", {}),
    "XDP: a sender does its own": (Hook.XDP, "client", {"tx-checksum": False, "tso": False, "gso": False}),
    "XDP: the switch polls": (Hook.XDP, "switch", {"tx-checksum": False, "tso": False, "gso": False, "gro": True}),
}


@pytest.mark.parametrize(("hook", "node", "expected"), OFFLOADS.values(), ids=OFFLOADS)
def test_offloads(hook: Hook, node: str, expected: dict[str, bool]) -> None:
    assert offloads(Lab("x", ForwardingMethod.DR, hook), Port(node, "eth0")) == expected


REFUSED = {
    "no server": {"servers": 0},
    "too many servers": {"servers": MOST_SERVERS + 1},
    "empty name": {"name": ""},
    "a name that is a path": {"name": "../etc"},
    "a name that ends in a hyphen": {"name": "a-"},
    "a name too long": {"name": "a" * 41},
    "no family": {"families": ()},
    "a family that is none": {"families": (5,)},
    "a server family that is none": {"server_family": 5},
    "NAT with mixed families": {"server_family": 6},
    "DR with mixed families": {"method": ForwardingMethod.DR, "families": (6,), "server_family": 4},
    "a tunnel in another lab": {"tunnel": Tunnel(TunnelType.GRE)},
    "GUE without a port": {"method": ForwardingMethod.TUN, "tunnel": Tunnel(TunnelType.GUE)},
    "GRE with a port": {"method": ForwardingMethod.TUN, "tunnel": Tunnel(TunnelType.GRE, 6080)},
    "IPIP with a checksum": {
        "method": ForwardingMethod.TUN,
        "tunnel": Tunnel(TunnelType.IPIP, checksum=TunnelChecksum.CSUM),
    },
    "GRE with the remote checksum": {
        "method": ForwardingMethod.TUN,
        "tunnel": Tunnel(TunnelType.GRE, checksum=TunnelChecksum.REMOTE),
    },
    "persistent for no time": {"persistence": 0},
    "a mark that is none": {"mark": 0},
    "a mark too large": {"mark": 1 << 32},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_lab_that_cannot_be(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"lab"):
        Lab("good", ForwardingMethod.NAT).replace(**change)


def test_namespace() -> None:
    assert NAT.namespace("rs1") == namespace_of("n", "rs1") == "pylvs-n-rs1"
