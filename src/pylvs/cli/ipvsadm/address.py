"""`host[:port]` as ipvsadm reads it: shorthands and hexadecimal of IPv4 too, IPv6 bare or as `[address]:port`."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from pylvs.cli.ipvsadm.number import number_within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.cli.ipvsadm.names import Names
    from pylvs.model import IPAddress, Protocol


def ipv4(text: str) -> IPv4Address | None:
    """An IPv4 address in any spelling that inet_aton(3) takes."""
    from socket import inet_aton

    try:
        return IPv4Address(inet_aton(text))
    except (OSError, ValueError):
        return None


def ipv6(text: str) -> IPv6Address | None:
    """An IPv6 address without a scope."""
    if text.count(":") < 2:
        return None
    from socket import AF_INET6, inet_pton

    try:
        return IPv6Address(inet_pton(AF_INET6, text))
    except (OSError, ValueError):
        return None


def ipv4_or_host(text: str, names: Names) -> IPv4Address | None:
    """An IPv4 address, or that of a host."""
    return ipv4(text) or names.address(text)


def address(text: str, names: Names) -> IPAddress | None:
    """An address of either family, or that of a host."""
    return ipv6(text) or ipv4_or_host(text, names)


def endpoint(text: str, protocol: Protocol | None, names: Names) -> tuple[IPAddress, int | None] | None:
    """The address and the port, None for a port not given; None for what is neither.

    Service names are those of `protocol`; without one there are none.
    """
    host, port = _parts(text)
    found = names.address(host) if isinstance(host, str) else host
    if found is None:
        return None
    if isinstance(port, str):
        number = names.port(port, protocol) if protocol is not None else None
        return None if number is None else (found, number)
    return found, port


@lru_cache(maxsize=4096)  # --restore meets the same few over and over
def _parts(text: str) -> tuple[IPAddress | str | None, int | str | None]:
    """What stands for the address (None: nothing can) and for the port (None: nothing does); names are left to do."""
    if text.isascii() and text.isdigit():
        return None, None
    host, port = text, None
    if text[:1] == "[":
        host, closing, rest = text[1:].partition("]")
        if not closing or rest[:1] != ":":
            return None, None
        port = rest[1:]
    found: IPAddress | None = ipv6(host)
    if found is None:
        # brackets around anything but IPv6 are taken off, with all that follows them
        host, port = _split(host)
        found = ipv4(host)
    return found or host, None if port is None else _number_or_name(port)


def _split(text: str) -> tuple[str, str | None]:
    host, colon, port = text.rpartition(":")
    return (host, port) if colon else (text, None)


def _number_or_name(port: str) -> int | str:
    number = number_within(port, 0, 65535)
    return port if number is None else number
