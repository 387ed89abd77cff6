"""Which endpoints are meant: an address or a network, a port, or both."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from pylvs.model.address import Endpoint
from pylvs.model.value import Value


class Pattern(Value):
    """None stands for any."""

    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def matches(self, endpoint: Endpoint | None) -> bool:
        """What isn't known matches nothing."""
        if endpoint is None:
            return False
        here = self.network is None or endpoint.address in self.network
        return here and self.port in {None, endpoint.port}


def parse_pattern(text: str) -> Pattern:
    """From `ADDRESS[/LENGTH]`, with or without `:PORT` (IPv6 then in brackets), or `:PORT`; raises `ValueError`."""
    host, port = _split(text)
    if not host and port is None:
        raise ValueError("empty")
    if port is not None and not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{port!r} is not a port")
    return Pattern(ip_network(host, strict=False) if host else None, None if port is None else int(port))


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError("a bracket is missing, or a colon behind it")
        return host, rest[1:] if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None
