"""How much a director is made for."""

from __future__ import annotations

from pylvs.director.ebpf import abi
from pylvs.model.value import Value


class Capacity(Value):
    """How much a table holds; fixed when it is loaded. A NAT connection takes two slots, any other one."""

    connections: int = abi.DEFAULT_BUCKETS * abi.SLOTS
    services: int = abi.DEFAULT_SERVICES
    servers: int = abi.DEFAULT_SERVERS

    def __post_init__(self) -> None:
        for name in ("connections", "services", "servers"):
            if not 1 <= getattr(self, name) <= 1 << 28:
                raise ValueError(f"--{name} {getattr(self, name)} is not in 1..{1 << 28}")

    @property
    def buckets(self) -> int:
        """A power of two, and at least one bucket for each part of the sweep."""
        wanted = max(-(-self.connections // abi.SLOTS), 8 * abi.SWEEP_TICKS)
        return 1 << (wanted - 1).bit_length()
