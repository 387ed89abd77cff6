"""The addresses of the labs: for each forwarding method and family, who has which. IPv4 networks are /24, IPv6 /64."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from pylvs.lab.network import IPInterface
from pylvs.model import ForwardingMethod, IPAddress, Value

_LENGTH = {4: 24, 6: 64}


class Beyond(Value):
    """Where the real servers are in a network of their own: the cable between the routers, and the servers' gateway."""

    near: str
    far: str
    gateway: str


class Addresses(Value):
    """One family's addresses. `spare` is where the RIPs of a third server and later ones begin."""

    cip: str
    clients_gateway: str
    vip: str
    dip: str
    router: str
    servers: tuple[str, str]
    spare: str
    beyond: Beyond | None = None

    @property
    def family(self) -> int:
        return ip_address(self.vip).version

    def rip(self, number: int) -> IPAddress:
        """Of a real server; they are counted from 1."""
        named = len(self.servers)
        return ip_address(self.servers[number - 1]) if number <= named else ip_address(self.spare) + number - named - 1


def in_network(address: str | IPAddress) -> IPInterface:
    """An address with the length of its network."""
    return ip_interface(f"{address}/{_LENGTH[ip_address(address).version]}")


def alone(address: str | IPAddress) -> IPInterface:
    """An address without a network around it."""
    return ip_interface(address)


ADDRESSES = {
    (ForwardingMethod.NAT, 4): Addresses(
        cip="110.0.0.1",
        clients_gateway="110.0.0.254",
        vip="192.168.101.100",
        dip="192.168.101.200",
        router="192.168.101.2",
        servers=("192.168.101.110", "192.168.101.210"),
        spare="192.168.101.111",
    ),
    (ForwardingMethod.NAT, 6): Addresses(
        cip="2001:db8:110::1",
        clients_gateway="2001:db8:110::254",
        vip="fd00:101::100",
        dip="fd00:101::200",
        router="fd00:101::2",
        servers=("fd00:101::110", "fd00:101::210"),
        spare="fd00:101::111",
    ),
    (ForwardingMethod.DR, 4): Addresses(
        cip="110.0.0.1",
        clients_gateway="110.0.0.254",
        vip="192.168.0.250",
        dip="192.168.0.208",
        router="192.168.0.15",
        servers=("192.168.0.188", "192.168.0.111"),
        spare="192.168.0.112",
    ),
    (ForwardingMethod.DR, 6): Addresses(
        cip="2001:db8:110::1",
        clients_gateway="2001:db8:110::254",
        vip="fd00::250",
        dip="fd00::208",
        router="fd00::15",
        servers=("fd00::188", "fd00::111"),
        spare="fd00::112",
    ),
    (ForwardingMethod.TUN, 4): Addresses(
        cip="110.0.0.1",
        clients_gateway="110.0.0.254",
        vip="198.51.100.100",
        dip="198.51.100.200",
        router="198.51.100.2",
        servers=("203.0.113.110", "203.0.113.210"),
        spare="203.0.113.111",
        beyond=Beyond(near="192.0.2.1", far="192.0.2.2", gateway="203.0.113.2"),
    ),
    (ForwardingMethod.TUN, 6): Addresses(
        cip="2001:db8:110::1",
        clients_gateway="2001:db8:110::254",
        vip="2001:db8:51::100",
        dip="2001:db8:51::200",
        router="2001:db8:51::2",
        servers=("2001:db8:113::110", "2001:db8:113::210"),
        spare="2001:db8:113::111",
        beyond=Beyond(near="2001:db8:2::1", far="2001:db8:2::2", gateway="2001:db8:113::2"),
    ),
    (ForwardingMethod.FULLNAT, 4): Addresses(
        cip="110.0.0.1",
        clients_gateway="110.0.0.254",
        vip="192.168.101.100",
        dip="192.168.101.200",
        router="192.168.101.2",
        servers=("192.168.10.11", "192.168.10.12"),
        spare="192.168.10.13",
        beyond=Beyond(near="192.168.1.1", far="192.168.1.2", gateway="192.168.10.254"),
    ),
    (ForwardingMethod.FULLNAT, 6): Addresses(
        cip="2001:db8:110::1",
        clients_gateway="2001:db8:110::254",
        vip="fd00:101::100",
        dip="fd00:101::200",
        router="fd00:101::2",
        servers=("fd00:10::11", "fd00:10::12"),
        spare="fd00:10::13",
        beyond=Beyond(near="fd00:1::1", far="fd00:1::2", gateway="fd00:10::254"),
    ),
}
