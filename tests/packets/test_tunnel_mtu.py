"""A tunnel whose way carries less than any host must take in one piece: refused, and dropped where that came later."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6

from pylvs.errors import TunnelRefused
from pylvs.model import ForwardingMethod, RealServer, Tunnel, TunnelChecksum, TunnelType
from tests.packets.frames import CPORT
from tests.packets.plane import SENT, Plane, endpoint, service
from tests.packets.six import CIP6, RIP6, VIP6, ipv6
from tests.packets.wire import RIP1, VIP, from_client

pytestmark = pytest.mark.root

TUN = ForwardingMethod.TUN
GRE, GUE = Tunnel(TunnelType.GRE), Tunnel(TunnelType.GUE, 6080)
GRE_CSUM, GUE_REMCSUM = (
    Tunnel(TunnelType.GRE, 0, TunnelChecksum.CSUM),
    Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE),
)
WEB, WEB6 = f"tcp {VIP}:80", f"tcp {VIP6}:80"
ADDED = [
    (WEB, f"{RIP1}:80", Tunnel(), 68 + 20),
    (WEB, f"{RIP1}:80", GRE, 68 + 24),
    (WEB, f"{RIP1}:80", GUE_REMCSUM, 68 + 40),
    (WEB6, f"{RIP1}:80", Tunnel(), 1280 + 20),
    (WEB6, f"{RIP1}:80", GRE_CSUM, 1280 + 28),
    (WEB6, f"{RIP6}:80", Tunnel(), 1280 + 40),
    (WEB6, f"{RIP6}:80", GUE, 1280 + 52),
    (WEB, f"{RIP6}:80", Tunnel(), 68 + 40),
]


@pytest.fixture
def director(plane: Plane) -> Iterator[Plane]:
    """With a service of each family."""
    with ipv6():
        plane.serve(WEB)
        plane.serve(WEB6)
        yield plane
        plane.director.flush()


@contextmanager
def path(server: str, mtu: int) -> Iterator[None]:
    """A route to a server that carries so much."""
    address = str(endpoint(server).address)
    family = "-6" if ":" in address else "-4"
    route = [address, "dev", "eth0"]
    subprocess.run(["ip", family, "route", "replace", *route, "mtu", "lock", str(mtu)], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", family, "route", "delete", *route], check=True)


@pytest.mark.parametrize(("id", "server", "tunnel", "least"), ADDED)
def test_refused(id: str, server: str, tunnel: Tunnel, least: int, director: Plane) -> None:
    """Nothing is half set up; and a byte more is enough."""
    added = RealServer(endpoint(server), TUN, tunnel=tunnel)
    with path(server, least - 1), pytest.raises(TunnelRefused) as refused:
        director.director.add_server(service(id), added)
    assert str(refused.value) == (
        f"the MTU {least - 1} towards {added.endpoint.address} is too small for the tunnel: it leaves"
        f" {(1280 if VIP6 in id else 68) - 1} bytes and IPv{6 if VIP6 in id else 4} needs"
        f" {1280 if VIP6 in id else 68}: raise it to {least} or more (ip link set mtu)"
    )
    assert director.snapshot(id).servers == ()
    with path(server, least):
        director.director.add_server(service(id), added)
    assert len(director.snapshot(id).servers) == 1


def test_an_edit_is_refused_too(director: Plane) -> None:
    server = f"{RIP1}:80"
    director.add(WEB, server)
    with path(server, 80), pytest.raises(TunnelRefused):
        director.edit(WEB, server, TUN)
    assert director.server(WEB, server).server.method is ForwardingMethod.NAT


def test_the_other_methods_add_nothing(director: Plane) -> None:
    with path(f"{RIP1}:80", 68):
        director.add(WEB, f"{RIP1}:80")


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_dropped_where_the_way_became_narrow_later(hook: str, director: Plane) -> None:
    """Nothing that its sender could make smaller would help, so it is not told."""
    director.add(WEB6, f"{RIP6}:80", TUN)
    packet: Any = IPv6(src=CIP6, dst=VIP6, hlim=64) / TCP(sport=CPORT, dport=80, flags="S")
    assert director.run(hook, bytes(from_client(packet))).verdict == SENT
    director.forgets_the_way()
    director.advance(80)
    with path(f"{RIP6}:80", 1300):
        outcome = director.run(hook, bytes(from_client(packet)))
    assert (outcome.verdict, outcome.code) == ("tunnel_mtu", 2)
