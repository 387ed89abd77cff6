"""Host and service names, as the C library knows them. `socket` is imported only when a name is asked for."""

from __future__ import annotations

from ipaddress import IPv4Address

from pylvs.views.endpoint import address_text, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol as Port

    from pylvs.model import Endpoint, IPAddress, Protocol
    from pylvs.views.endpoint import Name
else:
    Port = object


class Names(Port):
    """Who knows names. None stands for "no such name"."""

    def address(self, host: str) -> IPv4Address | None:
        """The first IPv4 address of a host."""

    def port(self, service: str, protocol: Protocol) -> int | None:
        """The port number of a service."""

    def host(self, address: IPAddress) -> str | None:
        """The host that has an address."""

    def service(self, port: int, protocol: Protocol) -> str | None:
        """The service that has a port."""


class SystemNames:
    """What /etc/hosts, the DNS and /etc/services say."""

    def address(self, host: str) -> IPv4Address | None:
        """The first IPv4 address of a host; IPv6 is not asked for, as ipvsadm does not."""
        from socket import gethostbyname_ex

        if host in ("", "<broadcast>"):  # to Python these two are addresses
            return None
        try:
            return IPv4Address(gethostbyname_ex(host)[2][0])
        except (OSError, ValueError):
            return None

    def port(self, service: str, protocol: Protocol) -> int | None:
        """The port number of a service."""
        from socket import getservbyname

        try:
            return getservbyname(service, protocol.name.lower())
        except (OSError, ValueError):
            return None

    def host(self, address: IPAddress) -> str | None:
        """The official name of the host that has an address."""
        from socket import gethostbyaddr

        try:
            return gethostbyaddr(str(address))[0]
        except (OSError, ValueError):
            return None

    def service(self, port: int, protocol: Protocol) -> str | None:
        """The service that has a port."""
        from socket import getservbyport

        try:
            return getservbyport(port, protocol.name.lower())
        except OSError:
            return None


def naming(names: Names) -> Name:
    """How to write endpoints by name; what has no name is written as a number. Each is looked up once."""
    hosts: dict[IPAddress, str] = {}
    services: dict[tuple[int, Protocol | None], str] = {}

    def name(endpoint: Endpoint, protocol: Protocol | None) -> str:
        address, port = endpoint.address, endpoint.port
        if address not in hosts:
            hosts[address] = names.host(address) or address_text(address)
        if (port, protocol) not in services:
            services[port, protocol] = (names.service(port, protocol) if protocol else None) or str(port)
        return joined(hosts[address], services[port, protocol], address.version)

    return name
