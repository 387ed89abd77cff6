"""An endpoint is an address and a port, not a machine."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from pylvs.model.value import Value

IPAddress = IPv4Address | IPv6Address


def parse_address(text: str) -> IPAddress:
    """An address from its usual text; raises `ValueError`."""
    return ip_address(text)


class Endpoint(Value):
    """`address:port`, or `[address]:port` for IPv6. Port 0 stands for every port."""

    address: IPAddress
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not in 0..65535")

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"

    def __lt__(self, other: Endpoint) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, int, int]:
        return (self.address.version, int(self.address), self.port)
