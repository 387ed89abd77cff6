"""Who is who on the wire of the packet tests, and the frames that they send.

The router and the real servers RIP1 and RIP2 are on eth0's switch, RIP3 is behind eth1, and RIP4 behind eth2, which has
tc only.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from scapy.layers.l2 import Ether

CIP, CIP2 = "110.0.0.1", "110.0.0.2"
VIP, VIP2 = "192.168.0.250", "192.168.0.251"
DIP = "192.168.0.208"
RIP1, RIP2, RIP3, RIP4 = "192.168.0.111", "192.168.0.188", "192.168.10.3", "192.168.20.4"
NARROW = "192.168.10.5"  # behind eth1, by a route with a small MTU
NOWHERE = "198.51.100.7"  # there is no way to it

ROUTER_MAC = "02:00:00:00:00:0f"
DIRECTOR_MAC, DIRECTOR_MAC1, DIRECTOR_MAC2 = "02:00:00:00:00:d0", "02:00:00:00:00:d1", "02:00:00:00:00:d2"
OTHER_MAC = "02:00:00:00:00:77"
MACS = {
    RIP1: "02:00:00:00:00:a1",
    RIP2: "02:00:00:00:00:a2",
    RIP3: "02:00:00:00:00:a3",
    RIP4: "02:00:00:00:00:a4",
    NARROW: "02:00:00:00:00:a5",
}


class Interface(NamedTuple):
    """One of the director's."""

    address: str
    mac: str
    hook: str


INTERFACES = {
    "eth0": Interface(f"{DIP}/24", DIRECTOR_MAC, "xdp"),
    "eth1": Interface("192.168.10.1/24", DIRECTOR_MAC1, "xdp"),
    "eth2": Interface("192.168.20.1/24", DIRECTOR_MAC2, "tc"),
}
NEIGHBOURS = {
    "192.168.0.15": (ROUTER_MAC, "eth0"),
    RIP1: (MACS[RIP1], "eth0"),
    RIP2: (MACS[RIP2], "eth0"),
    RIP3: (MACS[RIP3], "eth1"),
    NARROW: (MACS[NARROW], "eth1"),
    RIP4: (MACS[RIP4], "eth2"),
}
NARROW_MTU = 576
ROUTES = (
    "default via 192.168.0.15",
    f"unreachable {NOWHERE}/32",
    f"{NARROW}/32 dev eth1 mtu lock {NARROW_MTU}",
)


def from_client(packet: Any) -> Any:
    """The frame in which the router brings it to the director."""
    return Ether(src=ROUTER_MAC, dst=DIRECTOR_MAC) / packet


def from_server(packet: Any, rip: str = RIP1) -> Any:
    """The frame in which a real server on eth0 sends it to its gateway, the director."""
    return Ether(src=MACS[rip], dst=DIRECTOR_MAC) / packet


def to_server(packet: Any, rip: str = RIP1, source: str = DIRECTOR_MAC) -> Any:
    """The frame that a real server gets."""
    return Ether(src=source, dst=MACS[rip]) / packet


def to_client(packet: Any) -> Any:
    """The frame that the router gets for a client."""
    return Ether(src=DIRECTOR_MAC, dst=ROUTER_MAC) / packet


def word(address: str | int) -> bytes:
    """An IPv4 address as it stands in a header."""
    return IPv4Address(address).packed


_ETHERNET = bytes.fromhex(DIRECTOR_MAC.replace(":", "") + ROUTER_MAC.replace(":", "") + "0800")
FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10, "N": 0x00}


def tcp(source: bytes, source_port: int, destination: bytes, port: int, flags: str = "S") -> bytes:
    """A bare TCP frame, quickly: nothing is right about its checksums."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, destination)
    bits = sum(FLAGS[flag] for flag in flags)
    return _ETHERNET + ip + struct.pack("!HHIIBBHHH", source_port, port, 0, 0, 0x50, bits, 0, 0, 0)


def udp(source: bytes, source_port: int, destination: bytes, port: int) -> bytes:
    """A bare UDP frame, quickly."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, source, destination)
    return _ETHERNET + ip + struct.pack("!HHHH", source_port, port, 8, 0)
