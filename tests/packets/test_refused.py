"""What `pylvs ipvsadm` says to what can't be: what it is, where, and how to mend it; and nothing is half set up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from tests.ipvsadm import ipvsadm
from tests.packets.plane import Plane
from tests.packets.six import DIP6, RIP6, VIP6, ipv6
from tests.packets.wire import DIP, RIP1, VIP

pytestmark = pytest.mark.root

TUNNEL = f"-a -t {VIP}:80 -r {RIP1} -i --tun-type"
FAMILIES = "Different address family is allowed only for tunneling servers"
STRANGER = "192.168.0.9"


class Row(NamedTuple):
    """A command line, its one line of complaint, and the `ip` command after which it is one."""

    line: str
    said: str
    status: int = 255
    given: str = ""
    undone: str = ""


def not_owned(address: str) -> str:
    return f"local address {address} is not the director's own: assign it to an interface first (ip address add)"


def overlaps(address: str, port: int) -> str:
    return f"local address {address} is the VIP of TCP service {address}:{port}: take another"


def narrow(mtu: int, rip: str, left: int, family: int) -> str:
    least = {4: 68, 6: 1280}[family]
    return (
        f"the MTU {mtu} towards {rip} is too small for the tunnel: it leaves {left} bytes and IPv{family} needs"
        f" {least}: raise it to {least + mtu - left} or more (ip link set mtu)"
    )


ROWS = {
    "a tunnel type without its port": Row(
        f"{TUNNEL} gue", "You need to supply the 'tun-port' option for the 'gue' tunnel type", 2
    ),
    "a tunnel port of 0": Row(f"{TUNNEL} gue --tun-port 0", "illegal tunnel port specified", 2),
    "a port for a tunnel that has none": Row(
        f"{TUNNEL} gre --tun-port 6080", "Illegal 'tun-port' option with the 'gre' tunnel type", 2
    ),
    "an unknown tunnel type": Row(f"{TUNNEL} vxlan --tun-port 4789", "illegal tunnel type specified", 2),
    "an edit to a tunnel without its port": Row(
        f"-e -t {VIP}:85 -r {RIP1}:85 -i --tun-type gue",
        "You need to supply the 'tun-port' option for the 'gue' tunnel type",
        2,
    ),
    "a local address that isn't the director's": Row(f"-A -t {VIP}:81 --local-address {STRANGER}", not_owned(STRANGER)),
    "the second of two isn't": Row(f"-A -t {VIP}:81 --local-address {DIP},{STRANGER}", not_owned(STRANGER)),
    "a loopback address": Row(f"-A -t {VIP}:81 --local-address 127.0.0.1", not_owned("127.0.0.1")),
    "an edit to one": Row(f"-E -t {VIP}:80 --local-address {STRANGER}", not_owned(STRANGER)),
    "an IPv6 one": Row(f"-A -t {VIP}:81 --local-address {RIP6}", not_owned(RIP6)),
    "a local address that is a VIP": Row(f"-A -t {VIP}:81 --local-address {DIP}", overlaps(DIP, 8080)),
    "a VIP that is a local address": Row(
        f"-A -t [{DIP6}]:2000", f"local address {DIP6} is the VIP of TCP service [{DIP6}]:2000: take another"
    ),
    "a pool of the service's own VIP": Row(f"-A -t {DIP}:8081 --local-address {DIP}", overlaps(DIP, 8081)),
    "a mark that another rule routes": Row(
        "-A -f 7",
        "mark 7 is routed by another rule already: 32765: from all fwmark 0x7 lookup 100\n"
        "use another mark, or delete that rule: pylvs makes one of its own",
        given="rule add fwmark 7 lookup 100",
        undone="rule del fwmark 7 lookup 100",
    ),
    "an IPv6 server of NAT": Row(f"-a -t {VIP}:80 -r [{RIP6}]:80 -m", FAMILIES, 2),
    "an IPv6 server of DR": Row(f"-a -t {VIP}:80 -r [{RIP6}]:80 -g", FAMILIES, 2),
    "an IPv4 server of NAT": Row(f"-a -t [{VIP6}]:80 -r {RIP1}:80 -m", FAMILIES, 2),
    "an MTU too small for IPv6 in IPv6": Row(
        f"-a -t [{VIP6}]:80 -r [{RIP6}]:80 -i",
        narrow(1300, RIP6, 1260, 6),
        given=f"-6 route replace {RIP6} dev eth0 mtu 1300",
        undone=f"-6 route delete {RIP6} dev eth0",
    ),
    "an MTU too small for GUE": Row(
        f"-a -t {VIP}:80 -r {RIP1}:80 -i --tun-type gue --tun-port 6080",
        narrow(90, RIP1, 58, 4),
        given=f"route replace {RIP1} dev eth0 mtu 90",
        undone=f"route delete {RIP1} dev eth0",
    ),
    "an edit to such a tunnel": Row(
        f"-e -t {VIP}:85 -r {RIP1}:85 -i",
        narrow(80, RIP1, 60, 4),
        given=f"route replace {RIP1} dev eth0 mtu 80",
        undone=f"route delete {RIP1} dev eth0",
    ),
}


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """A service of each family, one on the director's own address, and one that has a server."""
    loaded.reset()
    with ipv6():
        for line in (
            f"-A -t {VIP}:80",
            f"-A -t [{VIP6}]:80",
            f"-A -t {DIP}:8080",
            f"-A -t {VIP}:85",
            f"-a -t {VIP}:85 -r {RIP1}:85 -m",
            f"-A -t {VIP}:86 --local-address {DIP6}",
        ):
            assert ipvsadm(line.split(), loaded.director) == ("", "", 0)
        yield loaded
        loaded.reset()


@contextmanager
def after(command: str, undone: str) -> Iterator[None]:
    if command:
        subprocess.run(["ip", *command.split()], check=True)
    try:
        yield
    finally:
        if undone:
            subprocess.run(["ip", *undone.split()], check=True)


def whole(plane: Plane) -> tuple[object, ...]:
    """All that a command can change: the rules, the maps behind them, and the host."""
    raw = bytes(plane.table.services.memory[:]), bytes(plane.table.servers.memory[:])
    used = plane.settings.services_used, plane.settings.servers_used
    host = [subprocess.run(["ip", *what], capture_output=True, check=True).stdout for what in (["rule"], ["link"])]
    return ipvsadm(["-Sn"], plane.director), raw, used, host, plane.state()


@pytest.mark.parametrize("name", ROWS)
def test_refused(name: str, standing: Plane) -> None:
    row = ROWS[name]
    with after(row.given, row.undone):
        before = whole(standing)
        assert ipvsadm(row.line.split(), standing.director) == ("", f"{row.said}\n", row.status)
        assert whole(standing) == before
