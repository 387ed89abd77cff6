"""Packets by hand in the network of the recordings: what its clients and servers were seen to send, and time."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.sctp import SCTP

from pylvs.director.ebpf import abi
from tests.golden.network import VIP, VIP6, Network, servers
from tests.ipvsadm import Outcome, ipvsadm

CIP = "10.10.0.2"
_NODES = {address: node for wire in "ngt" for address, node in servers(wire)}
_CHUNKS = {
    "DATA": 0,
    "INIT": 1,
    "INITACK": 2,
    "HEARTBEAT": 4,
    "ABORT": 6,
    "SHUTDOWN": 7,
    "SHUTDOWNACK": 8,
    "COOKIEECHO": 10,
    "COOKIEACK": 11,
    "SHUTDOWNCOMPLETE": 14,
}


def _endpoint(text: str) -> tuple[str, int]:
    """`10.0.0.1:80`, `[fd00::1]:80`, or without a port."""
    found = re.fullmatch(r"\[?(?P<address>[\w.:]+?)\]?(:(?P<port>\d+))?", text)
    return (found["address"], int(found["port"] or 0)) if found else ("", 0)


def outer(source: str, destination: str) -> Any:
    """The network's header."""
    return IPv6(src=source, dst=destination) if ":" in source else IP(src=source, dst=destination, flags="DF")


class Acting:
    """Does what sentences say; `server` and `port` are those of the last service."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.server, self.server_port, self.port = "", 0, 0
        self.client_port = 0
        self.undo: list[Callable[[], object]] = []
        network.reset()

    def end(self) -> None:
        """The network is as before."""
        self.network.director.flush()
        while self.undo:
            self.undo.pop()()

    def ipvsadm(self, words: list[str]) -> Outcome:
        """On the director."""
        if words[0] in ("-a", "--add-server"):
            self.port = _endpoint(words[2])[1]
            self.server, self.server_port = _endpoint(words[words.index("-r") + 1])
        return ipvsadm(words, self.network.director)

    def do(self, sentence: str) -> None:
        """Raises `KeyError` for a sentence that says nothing to it."""
        for pattern, act in _PHRASES.items():
            if match := re.fullmatch(pattern, sentence):
                act(self, **match.groupdict())
                self.network.advance(1)
                return
        raise KeyError(sentence)

    def symbols(self, symbols: str, client_port: str = "", server: str = "") -> None:
        """`iS` is the client's SYN, `oFPA+9` the server's FIN+PSH+ACK with 9 bytes of data."""
        self.client_port = int(client_port or self.client_port)
        self.server = server or self.server
        for symbol in symbols.split():
            flags, _, size = symbol[1:].partition("+")
            self.exchange(TCP, symbol[0], payload=bytes(int(size or 0)), flags=flags)

    def chunk(self, side: str, kind: str, client_port: str) -> None:
        """Of SCTP."""
        self.client_port = int(client_port)
        self.exchange(SCTP, side, payload=bytes([_CHUNKS[kind], 0, 0, 4]))

    def exchange(self, layer: Any, side: str, payload: bytes = b"", **fields: object) -> None:
        """A packet of the client (`i`) or of its server."""
        if side == "i":
            self.ask(layer, CIP, self.client_port, self.port, payload=payload, **fields)
        else:
            transport = layer(sport=self.server_port, dport=self.client_port, **fields)
            self._send(_NODES[self.server], outer(self.server, CIP) / transport / payload)

    def ask(self, layer: Any, client: str, sport: int, port: int, payload: bytes = b"", **fields: object) -> None:
        """A packet of any client to the VIP."""
        vip = VIP6 if ":" in client else VIP
        self._send("c", outer(client, vip) / layer(sport=sport, dport=port, **fields) / payload)

    def _send(self, node: str, packet: Any) -> None:
        self.network.send(node, bytes(packet))
        self.network.arrivals(0)

    def syn(self, client: str, sport: str, ports: str) -> None:
        """To one port after the other."""
        for port in ports.split(","):
            self.ask(TCP, client, int(sport), int(port), flags="S")

    def datagrams(self, times: str, client: str, sport: str, size: str) -> None:
        """To the last service."""
        for _ in range(int(times)):
            self.ask(UDP, client, int(sport), self.port, payload=bytes(int(size)))

    def answer(self, size: str, client_port: str) -> None:
        """A datagram of the last server."""
        self.client_port = int(client_port)
        self.exchange(UDP, "o", payload=bytes(int(size)))

    def passing(self, seconds: str) -> None:
        """Time, with the sweep that goes along with it."""
        ticks = round(float(seconds) * abi.TICKS_A_SECOND)
        for _ in range(ticks // abi.TICKS_A_SECOND):
            self.network.pass_seconds(1)
        self.network.advance(ticks % abi.TICKS_A_SECOND)

    def mark(self, mark: str) -> None:
        """What nft on the director does to packets for the web."""
        table = (
            "add table ip golden",
            "add chain ip golden marks { type filter hook prerouting priority -150; }",
            f"add rule ip golden marks tcp dport {{80, 443}} meta mark set {mark}",
        )
        subprocess.run(["nft", "-f", "-"], input="\n".join(table), text=True, check=True)
        self.undo.append(lambda: subprocess.run(["nft", "delete table ip golden"], check=True))

    def knob(self, name: str, value: str) -> None:
        """As `sysctl` on a kernel with IPVS."""
        self.network.settings.knob[abi.Knob[name.upper()]] = int(value)


_PHRASES: dict[str, Callable[..., object]] = {
    r"ipvsadm (?P<command>.+)": lambda self, command: self.ipvsadm(command.split()),
    r"((?P<server>\S+) to )?client port (?P<client_port>\d+): (?P<symbols>.+)": Acting.symbols,
    r"(?P<symbols>[io][SAFRP]+)": Acting.symbols,
    r"(?P<side>[io]):(?P<kind>[A-Z]+) \(client port (?P<client_port>\d+)\)": Acting.chunk,
    r"(?P<seconds>[\d.]+) s pass": Acting.passing,
    r"sysctl net\.ipv4\.vs\.(?P<name>\w+)=(?P<value>\d+)": Acting.knob,
    r"packets for ports 80 and 443 get mark (?P<mark>\d+)": Acting.mark,
    r"SYN from (?P<client>\S+):(?P<sport>\d+) to port (?P<ports>[\d,]+)": Acting.syn,
    r"(?P<times>\d+) datagrams? of (?P<size>\d+) bytes from (?P<client>\S+):(?P<sport>\d+)": Acting.datagrams,
    r"an answer of (?P<size>\d+) bytes to port (?P<client_port>\d+)": Acting.answer,
}
