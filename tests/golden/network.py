"""The network that the recordings were made in, on real wires: a router and a director that the kernel runs, and around
them the bare ends of cables.

    c ------ r ------+------ d ------ n1 n2 n3
             |       |
         t1 t2 t3  g1 g2 g3

c is the clients' network (10.10.0.0/16), the segment between r and d is 10.20.0.0/24 with the VIP and the DR servers,
NAT servers are on 10.30.0.0/24 behind d, TUN servers on 10.40.0.0/24 behind r. IPv6 is fd00:10::/64 and so on. Nothing
answers at a bare end: what arrives there is what was sent.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pylvs.director.ebpf import attach
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.lab import offload
from tests.packets.plane import CAPACITY, Plane
from tests.packets.space import enter, here, inside, ip, unshare

VIP, VIP6 = "10.20.0.100", "fd00:20::100"
_SERVERS = (1, 2, 3)
"""Of each method: they share a cable and are told apart by their MAC addresses."""
_NETS = {"n": "30", "g": "20", "t": "40"}
_MACS = {
    "c": "02:00:00:00:00:0c",
    "r-c": "02:00:00:00:10:01",
    "r": "02:00:00:00:20:01",
    "r-far": "02:00:00:00:40:01",
    "d": "02:00:00:00:20:02",
    "d-back": "02:00:00:00:30:01",
    **{f"{wire}{i}": f"02:00:00:00:{net}:1{i}" for wire, net in _NETS.items() for i in _SERVERS},
}
_NODES = {mac: node for node, mac in _MACS.items()}
_WIRES = {"c": "r-c", "n": "d-back", "g": "r", "t": "r-far"}
"""Whose ends are bare, and to whom they send."""
_ROUTER = (
    "address add 10.10.0.1/16 dev ethc",
    "address add 10.20.0.1/24 dev front",
    "address add 10.40.0.1/24 dev far",
    "address add fd00:10::1/64 dev ethc nodad",
    "address add fd00:20::1/64 dev front nodad",
    "address add fd00:40::1/64 dev far nodad",
)
_DIRECTOR = (
    "address add 10.20.0.2/24 dev front",
    f"address add {VIP}/32 dev front",
    "address add 10.30.0.1/24 dev back",
    "address add fd00:20::2/64 dev front nodad",
    f"address add {VIP6}/128 dev front nodad preferred_lft 0",  # so that no tunnel comes from it
    "address add fd00:30::1/64 dev back nodad",
    "route add default via 10.20.0.1",
    "route add default via fd00:20::1",
)
_CLIENTS = ("10.10.0.2", "10.10.0.77", "fd00:10::2", "fd00:10::77", *(f"10.10.1.{i}" for i in range(1, 10)))


def servers(wire: str) -> tuple[tuple[str, str], ...]:
    """The addresses on a cable, and whose each is."""
    net = _NETS[wire]
    return tuple((address, f"{wire}{i}") for i in _SERVERS for address in (f"10.{net}.0.1{i}", f"fd00:{net}::1{i}"))


_NEIGHBOURS = {
    "r": (
        *((address, "c", "ethc") for address in _CLIENTS),
        *((address, "d", "front") for address in ("10.20.0.2", VIP, "fd00:20::2", VIP6)),
        *((*one, "far") for one in servers("t")),
        *((*one, "front") for one in servers("g")),
    ),
    "d": (
        *((address, "r", "front") for address in ("10.20.0.1", "fd00:20::1")),
        *((*one, "front") for one in servers("g")),
        *((*one, "back") for one in servers("n")),
    ),
}
_SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
    "net.ipv6.conf.default.addr_gen_mode": 1,
    "net.ipv6.conf.default.accept_ra": 0,
    "net.ipv6.conf.default.router_solicitations": 0,
}
_ETHERNET_HEADER = 14
_NEIGHBOUR_DISCOVERY = range(130, 144)
SETTLE_SECONDS, PATIENCE_SECONDS = 0.01, 0.1
"""How long to wait for one packet more after the last, and for the ones that are expected."""

Arrival = tuple[str, bytes]
"""An IP packet at a bare end."""


class Network(Plane):
    """Made in a thread that is in the director's namespace from then on. Its clock is the test's."""

    def __init__(self, hook: str, router: int) -> None:
        self.router = router
        self.capacity = CAPACITY
        interfaces = [attach.interface_named(name) for name in ("front", "back")]
        self.director = EbpfDirector(hook=hook, capacity=CAPACITY, interfaces=interfaces)
        self.table = self.director.loaded()
        self.sockets: dict[str, socket.socket] = {}
        self.take_over()

    def reset(self) -> None:
        """An empty director, as loaded just now, and a network that has learned nothing."""
        super().reset()
        for namespace in (self.router, here()):
            with inside(namespace):
                subprocess.run(["ip", "route", "flush", "cache"], check=True, stderr=subprocess.DEVNULL)
                subprocess.run(["ip", "-6", "route", "flush", "cache"], check=True, stderr=subprocess.DEVNULL)

    def set_router_mtu(self, mtu: int) -> None:
        """Of its way to the clients."""
        with inside(self.router):
            ip(f"link set ethc mtu {mtu}")

    def send(self, node: str, packet: bytes) -> None:
        """From a bare end to its gateway, or from the router itself ("r") to the director."""
        wire = node[0]
        kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        self.sockets[wire].send(_mac(_WIRES.get(wire, "d")) + _mac(node) + kind + packet)

    def arrivals(self, expected: int) -> list[Arrival]:
        """Every packet that arrives at a bare end, until nothing comes any more."""
        found: list[Arrival] = []
        until = time.monotonic() + (PATIENCE_SECONDS if expected else SETTLE_SECONDS)
        while time.monotonic() < until:
            fresh = [arrival for wire in _WIRES for arrival in self._received(wire)]
            found += fresh
            if fresh and len(found) >= expected:
                until = time.monotonic() + SETTLE_SECONDS
            time.sleep(0.001)
        return sorted(found, key=lambda arrival: arrival[0])

    def _received(self, wire: str) -> Iterator[Arrival]:
        with suppress(BlockingIOError):
            while True:
                frame, (_, _, kind, *_) = self.sockets[wire].recvfrom(65535)
                node, packet = _NODES.get(frame[:6].hex(":"), ""), frame[_ETHERNET_HEADER:]
                if kind != socket.PACKET_OUTGOING and node[:1] == wire and not _is_neighbour_discovery(packet):
                    yield node, packet


def _mac(node: str) -> bytes:
    return bytes.fromhex(_MACS[node].replace(":", ""))


def _is_neighbour_discovery(packet: bytes) -> bool:
    return packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_ICMPV6 and packet[40] in _NEIGHBOUR_DISCOVERY


@contextmanager
def network(hook: str) -> Iterator[Network]:
    """The whole of it; this thread is the director meanwhile."""
    with _cabled(hook) as (ends, router):
        made = Network(hook, router)
        try:
            with inside(ends):
                made.sockets = {wire: _open(wire) for wire in _WIRES}
            with inside(router):
                made.sockets["r"] = _open("front")
            yield made
        finally:
            for one in made.sockets.values():
                one.close()
            made.close()


def _open(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setblocking(False)
    opened.bind((interface, 0x0003))
    return opened


@contextmanager
def _cabled(hook: str) -> Iterator[tuple[int, int]]:
    home, namespaces = here(), []
    try:
        for _ in range(3):
            unshare()
            namespaces.append(here())
        ends, router, director = namespaces
        with inside(ends):
            _furnish_ends(router, director, hook)
        with inside(router):
            _furnish("r", _ROUTER, ("ethc", "front", "far"))
        _furnish("d", _DIRECTOR, ("front", "back"))
        yield ends, router
    finally:
        enter(home)
        for one in (*namespaces, home):
            os.close(one)


def _furnish_ends(router: int, director: int, hook: str) -> None:
    """The cables, and the switch between r, d and g1."""
    _set({"net.ipv6.conf.all.disable_ipv6": 1, "net.ipv6.conf.default.disable_ipv6": 1})
    ip(
        _cable("c", "c", router, "ethc", "r-c"),
        _cable("t", "t1", router, "far", "r-far"),
        _cable("n", "n1", director, "back", "d-back"),
        f"link add port-r type veth peer name front address {_MACS['r']} netns {_path(router)}",
        f"link add port-d type veth peer name front address {_MACS['d']} netns {_path(director)}",
        f"link add name g address {_MACS['g1']} type veth peer name port-g",
        "link add switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        *(f"link set {port} master switch" for port in ("port-r", "port-d", "port-g")),
        *(f"link set dev {name} up" for name in ("switch", "port-r", "port-d", "port-g", *_WIRES)),
    )
    if hook == "xdp":
        for name in ("port-d", "n"):  # XDP may send to a veth only whose far end has GRO
            offload.switch(name, "gro", on=True)


def _cable(wire: str, node: str, namespace: int, interface: str, gateway: str) -> str:
    peer = f"peer name {interface} address {_MACS[gateway]} netns {_path(namespace)}"
    return f"link add name {wire} address {_MACS[node]} type veth {peer}"


def _path(namespace: int) -> str:
    return f"/proc/{os.getpid()}/fd/{namespace}"


def _furnish(node: str, commands: Iterable[str], interfaces: Iterable[str]) -> None:
    _set(_SYSCTLS)
    ip("link set lo up", *(f"link set {name} up" for name in interfaces), *commands)
    ip(*(f"neighbour replace {a} lladdr {_MACS[mac]} dev {dev} nud permanent" for a, mac, dev in _NEIGHBOURS[node]))
    for name in interfaces:
        for one in ("tx-checksum", "tso", "gso"):
            offload.switch(name, one, on=False)


def _set(sysctls: dict[str, int]) -> None:
    for name, value in sysctls.items():
        path = Path("/proc/sys", name.replace(".", "/"))
        if path.exists():  # IPv6 may be missing from the kernel
            path.write_text(str(value))
