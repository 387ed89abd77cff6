"""The packet tests' network by IPv6: the same cables, on which everybody has one address more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.packets.space import ip
from tests.packets.wire import MACS, RIP1, ROUTER_MAC

CIP6, VIP6, DIP6 = "2001:db8:1::1", "fd00::250", "fd00::208"
RIP6, ROUTER6, FAR6 = "fd00::111", "fd00::f", "2001:db8:77::7"
_EMPTY = "address flush dev eth0 scope global"
_SIX = (
    f"address add {DIP6}/64 dev eth0 nodad",
    f"address add {VIP6}/128 dev eth0 nodad preferred_lft 0",  # so that no tunnel comes from it
    f"neighbour replace {RIP6} lladdr {MACS[RIP1]} dev eth0 nud permanent",
    f"neighbour replace {ROUTER6} lladdr {ROUTER_MAC} dev eth0 nud permanent",
    f"route replace default via {ROUTER6} dev eth0",
)


@contextmanager
def ipv6() -> Iterator[None]:
    """The director has its addresses and routes for so long."""
    ip(_EMPTY, *_SIX, six=True)
    yield
    ip(_EMPTY, six=True)
