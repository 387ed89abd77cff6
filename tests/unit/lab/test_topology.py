"""The networks of the lab, checked as data."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from pylvs.lab.topology import MOST_SERVERS, Hook, Lab, Port, Topology, namespace_of, offloads, topology
from pylvs.model import ForwardingMethod

NAT = topology(Lab("n", ForwardingMethod.NAT))
DR = topology(Lab("d", ForwardingMethod.DR))

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
}


@pytest.mark.parametrize(("network", "node", "interface", "addresses", "gateway"), ADDRESSES.values(), ids=ADDRESSES)
def test_addresses(network: Topology, node: str, interface: str, addresses: list[str], gateway: str | None) -> None:
    there = network.node(node)
    assert [str(address) for address in there.interface(interface).addresses] == addresses
    assert there.gateway == (IPv4Address(gateway) if gateway else None)


def test_nat_server_does_not_have_the_vip() -> None:
    assert [interface.name for interface in NAT.node("rs1").interfaces] == ["eth0"]


def test_dr_server_says_nothing_of_the_vip_to_arp() -> None:
    settings = dict(DR.node("rs1").sysctls)
    assert settings["net.ipv4.conf.all.arp_ignore"] == settings["net.ipv4.conf.lo.arp_ignore"] == "1"
    assert settings["net.ipv4.conf.all.arp_announce"] == settings["net.ipv4.conf.lo.arp_announce"] == "2"


@pytest.mark.parametrize("network", [NAT, DR], ids=["NAT", "DR"])
def test_router_and_director_forward_and_nobody_else(network: Topology) -> None:
    forwarding = [node.name for node in network.nodes if dict(node.sysctls)["net.ipv4.ip_forward"] == "1"]
    assert forwarding == ["router", "director"]


@pytest.mark.parametrize("network", [NAT, DR], ids=["NAT", "DR"])
def test_forwarding_is_set_before_what_it_resets(network: Topology) -> None:
    assert all(node.sysctls[0][0] == "net.ipv4.ip_forward" for node in network.nodes)


@pytest.mark.parametrize("method", [ForwardingMethod.NAT, ForwardingMethod.DR])
def test_the_largest_lab_has_no_address_or_mac_twice(method: ForwardingMethod) -> None:
    network = topology(Lab("large", method, servers=MOST_SERVERS))
    interfaces = [interface for node in network.nodes for interface in node.interfaces if interface.mac]
    addresses = [address for interface in interfaces for address in interface.addresses]
    assert len(network.servers) == MOST_SERVERS
    assert len({interface.mac for interface in interfaces}) == len(interfaces)
    assert len(set(addresses)) == len(addresses)


def test_every_cabled_interface_has_one_cable() -> None:
    for network in (NAT, DR):
        ends = [end for link in network.links for end in (link.left, link.right)]
        interfaces = [Port(node.name, each.name) for node in network.nodes for each in node.interfaces if each.mac]
        assert sorted(map(repr, ends)) == sorted(map(repr, interfaces))


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
    "a method without a lab": {"method": ForwardingMethod.TUN},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_lab_that_cannot_be(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"lab"):
        Lab("good", ForwardingMethod.NAT).replace(**change)


def test_namespace() -> None:
    assert NAT.namespace("rs1") == namespace_of("n", "rs1") == "pylvs-n-rs1"
