"""Two directors that share one VIP, and the network around them: which of them has the VIP is a route, moved by hand.

client -- router -- front: a, b, and the real servers of DR
                    back:  a, b, and the real servers of NAT
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path

from pylvs.lab import namespace, node

VIP, CIP = "10.77.9.9", "10.77.1.2"
PORT = {"nat": 80, "dr": 81}
_LETTER = {"nat": "-m", "dr": "-g"}
RIPS = {"nat": ("10.77.3.11", "10.77.3.12"), "dr": ("10.77.2.11", "10.77.2.12")}
FRONT = {"a": "10.77.2.2", "b": "10.77.2.3"}
_BACK = {"a": "10.77.3.2", "b": "10.77.3.3"}
_SERVERS = {"n1": "10.77.3.11", "n2": "10.77.3.12", "g1": "10.77.2.11", "g2": "10.77.2.12"}
_SECONDS = 60.0
_numbers = count()


class Failover:
    """It is up when made, and director a has the VIP."""

    def __init__(self) -> None:
        self._tag = f"synctest{os.getpid()}n{next(_numbers)}"
        self._names = {short: f"{self._tag}{short}" for short in ("c", "r", "sw", "a", "b", *_SERVERS)}
        namespace.add(self._names.values())
        self._listening: list[socket.socket] = []
        self._furnish()

    def _furnish(self) -> None:
        for name in self._names:
            self._ip(name, "link set lo up")
        self._ip(
            "sw", *(f"link add {lan} type bridge" for lan in ("front", "back")), "link set front up", "link set back up"
        )
        self._ip("c", f"link add eth0 type veth peer name ethc netns {self._names['r']}")
        self._ip("c", f"address add {CIP}/24 dev eth0", "link set eth0 up", "route add default via 10.77.1.1")
        self._ip("r", "address add 10.77.1.1/24 dev ethc", "link set ethc up")
        self._join("r", "front", "10.77.2.1")
        for director, address in FRONT.items():
            self._join(director, "front", address)
            self._join(director, "back", _BACK[director])
            self._ip(director, "route add default via 10.77.2.1", f"address add {VIP}/32 dev lo")
        for name, rip in _SERVERS.items():
            self._join(name, "back" if name[0] == "n" else "front", rip)
            if name[0] == "g":
                self._set(name, "ipv4/conf/all/arp_ignore", 1)
                self._ip(name, f"address add {VIP}/32 dev lo", "route add default via 10.77.2.1")
            self._serve(name)
        for name in ("r", "a", "b"):
            self._set(name, "ipv4/ip_forward", 1)
        self.give_vip_to("a")

    def _join(self, name: str, lan: str, address: str) -> None:
        port = f"{lan}-{name}"
        self._ip("sw", f"link add {port} type veth peer name {lan} netns {self._names[name]}")
        self._ip("sw", f"link set {port} master {lan} up")
        self._ip(name, f"address add {address}/24 dev {lan}", f"link set {lan} up")

    def _ip(self, name: str, *commands: str) -> None:
        with namespace.inside(self._names[name]):
            subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)

    def _set(self, name: str, knob: str, value: int) -> None:
        with namespace.inside(self._names[name]):
            Path("/proc/sys/net", knob).write_text(str(value))

    def give_vip_to(self, director: str) -> None:
        """The router sends what is for the VIP there, and the real servers of NAT what is for clients."""
        self._ip("r", f"route replace {VIP}/32 via {FRONT[director]}")
        for name in ("n1", "n2"):
            self._ip(name, f"route replace default via {_BACK[director]}")

    def _serve(self, name: str) -> None:
        """A service that answers each byte with the server's address."""
        with namespace.inside(self._names[name]):
            for port in PORT.values():
                listening = socket.create_server(("", port))
                self._listening.append(listening)
                threading.Thread(target=_accept, args=(listening, _SERVERS[name]), daemon=True).start()

    def pylvs(self, director: str, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return node.run(self._names[director], *node.PYLVS, *arguments, stdin=stdin, timeout=_SECONDS)

    def rules(self) -> str:
        """For `ipvsadm -R`: the same on both directors."""
        lines = []
        for method, port in PORT.items():
            lines.append(f"-A -t {VIP}:{port} -s rr")
            lines += [f"-a -t {VIP}:{port} -r {rip}:{port} {_LETTER[method]}" for rip in RIPS[method]]
        return "\n".join(lines) + "\n"

    def connections(self, director: str) -> list[list[str]]:
        """The words of each line: protocol, time left, state, client, virtual, server."""
        lines = self.pylvs(director, "ipvsadm", "-Lnc").stdout.splitlines()[2:]
        return [line.split() for line in lines]

    def connect(self, method: str) -> socket.socket:
        with namespace.inside(self._names["c"]):
            connection = socket.create_connection((VIP, PORT[method]), _SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        for director in FRONT:
            with suppress(Exception):
                self.pylvs(director, "detach")
        for listening in self._listening:
            listening.close()
        namespace.end_processes(namespace.identities(self._names.values()))
        namespace.delete(self._names.values())


def ask(connection: socket.socket) -> str:
    """The RIP that answers."""
    connection.sendall(b"?")
    return connection.recv(64).decode()


def _accept(listening: socket.socket, name: str) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, name), daemon=True).start()


def _answer(connection: socket.socket, name: str) -> None:
    with suppress(OSError), connection:
        while connection.recv(1):
            connection.sendall(name.encode())
