"""The network that the recordings were made in, on real wires: a router and a director that the kernel runs, and around
them the bare ends of cables.

    c ------ r ------+------ d ------ n1
             |       |
             t1      g1

c is the clients' network (10.10.0.0/16), the segment between r and d is 10.20.0.0/24 with the VIP and the DR servers,
NAT servers are on 10.30.0.0/24 behind d, TUN servers on 10.40.0.0/24 behind r. IPv6 is fd00:10::/64 and so on. Nothing
answers at a bare end: what arrives there is what was sent.
"""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pylvs.director.ebpf import attach, bpffs
from pylvs.director.ebpf.capacity import Capacity
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.lab import offload
from tests.packets.space import enter, here, inside, ip, unshare

VIP, VIP6 = "10.20.0.100", "fd00:20::100"
_MACS = {
    "c": "02:00:00:00:00:0c",
    "r-c": "02:00:00:00:10:01",
    "r": "02:00:00:00:20:01",
    "r-far": "02:00:00:00:40:01",
    "d": "02:00:00:00:20:02",
    "d-back": "02:00:00:00:30:01",
    "n1": "02:00:00:00:30:11",
    "g1": "02:00:00:00:20:11",
    "t1": "02:00:00:00:40:11",
}
_ENDS = {"c": "r-c", "n1": "d-back", "g1": "d", "t1": "r-far"}
"""The bare ends, and to whom they send."""
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
_NEIGHBOURS = {
    "r": (
        *((f"{net}{host}", "c", "ethc") for net, host in (("10.10.0.", 2), ("10.10.0.", 77), ("fd00:10::", 2))),
        ("fd00:10::77", "c", "ethc"),
        *((address, "d", "front") for address in ("10.20.0.2", VIP, "fd00:20::2", VIP6)),
        *((address, "t1", "far") for address in ("10.40.0.11", "fd00:40::11")),
        *((address, "g1", "front") for address in ("10.20.0.11", "fd00:20::11")),
    ),
    "d": (
        *((address, "r", "front") for address in ("10.20.0.1", "fd00:20::1")),
        *((address, "g1", "front") for address in ("10.20.0.11", "fd00:20::11")),
        *((address, "n1", "back") for address in ("10.30.0.11", "fd00:30::11")),
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
"""An IP packet at an end."""


class Network:
    """Made in a thread that is in the director's namespace from then on."""

    def __init__(self, hook: str, router: int) -> None:
        self.router = router
        interfaces = [attach.interface_named(name) for name in ("front", "back")]
        self.director = EbpfDirector(
            hook=hook, capacity=Capacity(connections=4096, services=32, servers=64), interfaces=interfaces
        )
        self.table = self.director.loaded()
        self.sockets: dict[str, socket.socket] = {}

    def close(self) -> None:
        """Nothing is left of it."""
        for one in self.sockets.values():
            one.close()
        attach.detach(self.table, attach.attachments(self.table))
        self.director.close()
        bpffs.remove_pins(self.table.pins)
        pathlib.Path(bpffs.lock_path(bpffs.netns_cookie())).unlink(missing_ok=True)

    def send(self, end: str, packet: bytes) -> None:
        """From an end, or from the router itself ("r") towards the director."""
        to = _ENDS.get(end, "d")
        kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        self.sockets[end].send(_mac(to) + _mac(end) + kind + packet)

    def arrivals(self, expected: int) -> list[Arrival]:
        """Every packet that arrives at an end, until nothing comes any more."""
        found: list[Arrival] = []
        until = time.monotonic() + (PATIENCE_SECONDS if expected else SETTLE_SECONDS)
        while time.monotonic() < until:
            fresh = [(end, packet) for end in _ENDS for packet in self._received(end)]
            found += fresh
            if fresh and len(found) >= expected:
                until = time.monotonic() + SETTLE_SECONDS
            time.sleep(0.001)
        return sorted(found, key=lambda arrival: arrival[0])

    def _received(self, end: str) -> Iterator[bytes]:
        with suppress(BlockingIOError):
            while True:
                frame, (_, _, kind, *_) = self.sockets[end].recvfrom(65535)
                packet = frame[_ETHERNET_HEADER:]
                if kind != socket.PACKET_OUTGOING and frame[:6] == _mac(end) and not _is_neighbour_discovery(packet):
                    yield packet


def _mac(name: str) -> bytes:
    return bytes.fromhex(_MACS[name].replace(":", ""))


def _is_neighbour_discovery(packet: bytes) -> bool:
    return packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_ICMPV6 and packet[40] in _NEIGHBOUR_DISCOVERY


@contextmanager
def network(hook: str) -> Iterator[Network]:
    """The whole of it; this thread is the director meanwhile."""
    with _cabled(hook) as (ends, router):
        made = Network(hook, router)
        try:
            with inside(ends):
                made.sockets = {end: _open(end) for end in _ENDS}
            with inside(router):
                made.sockets["r"] = _open("front")
            yield made
        finally:
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
        _cable("c", router, "ethc", "r-c"),
        _cable("t1", router, "far", "r-far"),
        _cable("n1", director, "back", "d-back"),
        f"link add port-r type veth peer name front address {_MACS['r']} netns {_path(router)}",
        f"link add port-d type veth peer name front address {_MACS['d']} netns {_path(director)}",
        f"link add g1 address {_MACS['g1']} type veth peer name port-g1",
        "link add switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        *(f"link set {port} master switch" for port in ("port-r", "port-d", "port-g1")),
        *(f"link set {name} up" for name in ("switch", "port-r", "port-d", "port-g1", "c", "t1", "n1", "g1")),
    )
    if hook == "xdp":
        for name in ("port-d", "n1"):  # XDP may send to a veth only whose far end has GRO
            offload.switch(name, "gro", on=True)


def _cable(end: str, namespace: int, interface: str, mac: str) -> str:
    peer = f"peer name {interface} address {_MACS[mac]} netns {_path(namespace)}"
    return f"link add {end} address {_MACS[end]} type veth {peer}"


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


def forget_paths(made: Network) -> None:
    """What router and director have learned of path MTUs; and the router's way to the clients is 1500 bytes wide."""
    for namespace in (made.router, here()):
        with inside(namespace):
            subprocess.run(["ip", "route", "flush", "cache"], check=True, stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "-6", "route", "flush", "cache"], check=True, stderr=subprocess.DEVNULL)
    with inside(made.router):
        ip("link set ethc mtu 1500")
