"""Clients and real servers by hand: who a client gets to, and what it sees when it gets to nobody."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from tests.golden.acting import Acting, outer
from tests.golden.network import VIP, Network
from tests.golden.told import told

REFUSED, RESET, TIMEOUT = "ERR Connection refused", "Connection reset by peer", "ERR timeout"
UNREACHABLE = "ERR No route to host"
_BY_CODE = {
    (4, 3, 3): REFUSED,
    (4, 3, 1): UNREACHABLE,
    (4, 11, 0): UNREACHABLE,
    (6, 1, 4): REFUSED,
    (6, 1, 0): UNREACHABLE,
}
"""What a client makes of an ICMP error: version, type, code."""


class Conversation:
    """A TCP connection, held by both ends; `server` is the node that a client got to, or what it got instead."""

    def __init__(self, talking: Conversing, client: str, sport: int, address: str, port: int) -> None:
        self.talking = talking
        self.outer = outer(client, address)
        self.ports = {"sport": sport, "dport": port}
        self.sent, self.received = 1, 0
        self.seen: Any = None
        self.dead = False
        self.server = self._open()

    def _open(self) -> str:
        self.sent = 0
        there, back = self.says("S")
        self.sent = 1
        if there is None:
            if back is None or TCP not in back or back[TCP].flags != "SA":
                return self.talking.error(back)
            return self._of_director(back)
        self.seen = there
        answer = self.answers("SA")
        if answer is None or answer[TCP].flags != "SA" or answer.src != self.outer.dst:
            return TIMEOUT
        self.says("A")
        name = self.node
        self.answers("PA", f"{name}\n".encode())
        self.says("A")
        return name

    def _of_director(self, back: Any) -> str:
        """Its own listener answers."""
        self.received = back[TCP].seq + 1
        self.says("A")
        name = self.talking.director_says()
        for packet in self.talking.at_client():
            if TCP in packet and Raw in packet:
                self.received = packet[TCP].seq + len(packet[Raw].load)
        self.says("A")
        return name

    def says(self, flags: str, data: bytes = b"") -> tuple[Any, Any]:
        """The client to its server; what arrived at a server, and what came back to the client."""
        part = TCP(**self.ports, flags=flags, seq=1000 + self.sent, ack=self.received)
        self.talking.network.send("c", bytes(self.outer / part / data))
        self.sent += len(data)
        there, back = self.talking.arrived()
        if there:
            self.node = there[0]
        return (there[1] if there else None), back

    def answers(self, flags: str, data: bytes = b"") -> Any:
        """The server to its client; what arrived there."""
        seen = self.seen
        part = TCP(
            sport=seen.dport, dport=seen.sport, flags=flags, seq=5000 + (self.received or 0), ack=1000 + self.sent
        )
        self.talking.network.send(self.node, bytes(outer(seen.dst, seen.src) / part / data))
        _, back = self.talking.arrived()
        if back is not None and TCP in back:
            self.received = back[TCP].seq + len(data) + ("S" in flags or "F" in flags)
        return back

    def echo(self, text: str) -> str:
        """What comes back to the client, which has sent something; nothing once it was reset."""
        if self.dead:
            return ""
        there, back = self.says("PA", text.encode())
        if there is None:
            self.dead = back is not None and TCP in back and "R" in back[TCP].flags
            return RESET if self.dead else ""
        back = self.answers("PA", bytes(there[Raw].load))
        return bytes(back[Raw].load).decode() if back is not None and Raw in back else ""

    def close(self) -> None:
        """The client first, then the server."""
        if self.seen is not None:
            self.says("FA")
            self.answers("FA")
            self.sent += 1
            self.says("A")
        elif self.server.startswith("director"):
            self.says("FA")
            self.talking.director_closes()
            self.sent += 1
            for packet in self.talking.at_client():
                self.received = packet[TCP].seq + 1
            self.says("A")

    def reset(self) -> None:
        self.says("R")


class Conversing(Acting):
    """With a log of what arrived at the client, for the recordings tell of that too."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.log: dict[str, set[str]] = {"c": set(), "n1": set()}
        self.next_port = 30000
        self.listeners: dict[str, socket.socket] = {}
        self.accepted: list[socket.socket] = []

    def connect(self, client: str = "10.10.0.2", port: int = 80, sport: int = 0, address: str = VIP) -> Conversation:
        """From a port of its own, unless it is given."""
        self.next_port += 1
        return Conversation(self, client, sport or self.next_port, address, port)

    def visit(self, client: str = "10.10.0.2", port: int = 80, sport: int = 0, address: str = VIP) -> str:
        """Connect and close; who it was."""
        conversation = self.connect(client, port, sport, address)
        conversation.close()
        return conversation.server

    def datagram(self, text: str, sport: int, client: str = "10.10.0.2", port: int = 53, address: str = VIP) -> str:
        """What a client that asks is answered."""
        self.network.send("c", bytes(outer(client, address) / UDP(sport=sport, dport=port) / text.encode()))
        there, back = self.arrived()
        if there is None:
            return self.error(back)
        node, seen = there
        text = f"{node} {bytes(seen[Raw].load).decode()}"
        self.network.send(
            node, bytes(outer(seen.dst, seen.src) / UDP(sport=seen.dport, dport=seen.sport) / text.encode())
        )
        _, back = self.arrived()
        if back is None or back.src != address or Raw not in back:
            return TIMEOUT
        return bytes(back[Raw].load).decode()

    def _send(self, node: str, packet: Any) -> None:
        self.network.send(node, bytes(packet))
        self.arrived()

    def arrived(self) -> tuple[tuple[str, Any] | None, Any]:
        """The packet at a server, taken out of its tunnel, and the one at the client."""
        there = back = None
        for node, packet in self.network.arrivals(1):
            if node in self.log:
                self.log[node].add(told(packet))
            parsed = (IPv6 if packet[0] >> 4 == 6 else IP)(packet)
            if node == "c":
                back = parsed
            else:
                there = (node, parsed.payload if isinstance(parsed.payload, (IP, IPv6)) else parsed)
        return there, back

    def at_client(self) -> list[Any]:
        return [IP(packet) for node, packet in self.network.arrivals(1) if node == "c"]

    def error(self, back: Any) -> str:
        """What the client's program is told."""
        if back is None:
            return TIMEOUT
        if TCP in back and ICMP not in back:
            return REFUSED if "R" in back[TCP].flags else TIMEOUT
        data = bytes(back.payload)
        return _BY_CODE.get((back.version, data[0], data[1]), TIMEOUT)

    # -- programs of the director itself

    def from_director(self, sport: int) -> str:
        """A real client there; who it gets to."""
        with socket.socket() as client:
            client.setblocking(False)
            client.bind(("10.20.0.2", sport))
            with suppress(BlockingIOError):
                client.connect((VIP, 80))
            there, _ = self.arrived()
            if there is None:
                return REFUSED if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else TIMEOUT
            node, seen = there
            self._reply(node, seen, 0, "SA")
            self._reply(node, seen, 1, "PA", f"{node}\n".encode())
            with suppress(BlockingIOError):
                said = client.recv(16).decode().strip()
                client.close()
                self.arrived()
                self._reply(node, seen, 2 + len(node), "FA", acknowledged=2)
                return said
            return TIMEOUT

    def _reply(self, node: str, seen: Any, sent: int, flags: str, data: bytes = b"", *, acknowledged: int = 1) -> None:
        ends = {"sport": seen.dport, "dport": seen.sport}
        part = TCP(**ends, flags=flags, seq=5000 + sent, ack=seen[TCP].seq + acknowledged, window=8192)
        self._send(node, outer(seen.dst, seen.src) / part / data)

    def listen(self, name: str, address: str, port: int = 80) -> None:
        """A server on the director."""
        listener = socket.create_server((address, port))
        listener.setblocking(False)
        self.listeners[name] = listener

    def director_says(self) -> str:
        """Whichever was connected to says its name."""
        for name, listener in self.listeners.items():
            with suppress(BlockingIOError):
                connection, _ = listener.accept()
                connection.sendall(f"{name}\n".encode())
                self.accepted.append(connection)
                return name
        return TIMEOUT

    def director_closes(self) -> None:
        for connection in self.accepted:
            connection.close()
        self.accepted.clear()

    def end(self) -> None:
        """Nobody listens on the director any more, either."""
        super().end()
        self.director_closes()
        for listener in self.listeners.values():
            listener.close()
        self.listeners.clear()
