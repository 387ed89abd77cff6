"""An address and a port as text: at most 59 bytes of it, and never by the rules of `ipaddress`."""

from __future__ import annotations

from ipaddress import IPv4Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pylvs.model import Endpoint, IPAddress, Protocol

    Name = Callable[[Endpoint, Protocol | None], str]
    """How a listing writes an endpoint; the protocol is None where it is not known, at a firewall mark."""

_LONGEST = 59


def address_text(address: IPAddress) -> str:
    """As inet_ntop(3): an IPv4 address at the end of an IPv6 one is dotted."""
    if isinstance(address, IPv4Address):
        return str(address)
    from socket import AF_INET6, inet_ntop  # as late as this: it costs more than a listing without IPv6

    return inet_ntop(AF_INET6, address.packed)


def joined(host: str, service: object, version: int) -> str:
    """`host:service`, or `[host]:service` for IPv6, cut where ipvsadm cuts."""
    return (f"[{host}]:{service}" if version == 6 else f"{host}:{service}")[:_LONGEST]


def numeric(endpoint: Endpoint, _: Protocol | None) -> str:
    """Numbers only."""
    return joined(address_text(endpoint.address), endpoint.port, endpoint.address.version)
