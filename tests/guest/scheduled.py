"""What this machine's IPVS chooses in scenarios drawn by chance: one a line, as in tests/golden/sched/random.json.

    python3 -m tests.guest.scheduled SEED COUNT SCHEDULER...

Real packets come in by a veth, SYN and ACK for a connection and FIN for its end; their real servers are nowhere. The
rules are given by the old socket options, because a process for each would take most of the time. It takes the network
namespace that it is in for itself.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tests.packets.wire import tcp

VIP, MARK = "10.20.0.100", 1
BY_DESTINATION = ("dh", "lblc", "lblcr")
WEIGHTS = (0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 10, 100)
_FLAGS = (0, 0x08, 0x10, 0x18)
_DIRECT_ROUTING = 3
_ADD, _EDIT, _FLUSH, _ADD_SERVER, _DELETE_SERVER, _EDIT_SERVER = (1152 + n for n in (2, 3, 5, 7, 8, 9))
_NETWORK = (
    "ip link set lo up",
    "ip link add v0 type veth peer name v1",
    "ip link set v0 up",
    "ip link set v1 up address 02:00:00:00:00:d0",
    "ip address add 10.20.0.2/24 dev v1",
    f"ip address add {VIP}/32 dev v1",
    "ip route replace default via 10.20.0.1 dev v1 onlink",
    "ip neighbour replace 10.20.0.1 lladdr 02:00:00:00:00:01 dev v1 nud permanent",
    "ip route add local 10.21.0.0/16 dev lo",
    f"iptables -t mangle -A PREROUTING -d 10.21.0.0/16 -j MARK --set-mark {MARK}",
)


class Scenario:
    """One service, its servers and its connections; what is done by chance is noted with what the kernel chose."""

    def __init__(self, schedulers: list[str], number: int, chance: random.Random, wire: socket.socket) -> None:
        self.schedulers, self.chance, self.wire = schedulers, chance, wire
        self.network, self.mark = f"10.30.{number}.", MARK if schedulers[0] in BY_DESTINATION else 0
        self.control = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        clients, vips = chance.choice((1, 3, 40)), chance.choice((1, 3, 8))
        self.clients = [str(IPv4Address(chance.randrange(0x0B000000, 0x7F000000))) for _ in range(clients)]
        self.vips = [f"10.21.{chance.randrange(256)}.{n + 1}" for n in range(vips)] if self.mark else [VIP]
        self.servers: set[int] = set()
        self.connections: list[tuple[int, int, int, int] | None] = []
        self.port = 1000 + 200 * number
        self.events: list[list[Any]] = []
        self.control.setsockopt(socket.IPPROTO_IP, _FLUSH, b"")
        self.schedule(_ADD, schedulers[0])

    def draw(self, steps: int) -> dict[str, Any]:
        for step in range(steps):
            moves = [self.open] * 8 + [self.close] * 4 + [self.add] * 4 + [self.edit] * 3 + [self.delete] * 2
            move = self.add if step < 2 else self.chance.choice([*moves, self.reschedule])
            move()
        return {
            "scheduler": self.schedulers[0],
            "network": f"{self.network}0",
            "mark": bool(self.mark),
            "clients": self.clients,
            "vips": self.vips,
            "events": self.events,
        }

    def schedule(self, command: int, name: str) -> None:
        flags = self.chance.choice(_FLAGS) if name in ("sh", "mh") else 0
        vip, port = ("0.0.0.0", 0) if self.mark else (VIP, 80)  # noqa: S104 - no address
        self.service = struct.pack(
            "@H2x4s2s2xI16sII4s",
            *(socket.IPPROTO_TCP, socket.inet_aton(vip), port.to_bytes(2, "big"), self.mark),
            *(name.encode(), flags, 0, b"\xff" * 4),
        )
        self.control.setsockopt(socket.IPPROTO_IP, command, self.service)
        self.events.append(["scheduler", name, flags])

    def reschedule(self) -> None:
        self.schedule(_EDIT, self.chance.choice(self.schedulers))

    def server(self, command: int, number: int, *settings: int) -> None:
        """Settings are a weight, an upper and a lower threshold."""
        address, port = socket.inet_aton(f"{self.network}{number}"), 0 if self.mark else 80
        values = (_DIRECT_ROUTING, *(settings or (0, 0, 0)))
        packed = struct.pack("@4s2s2xIiII", address, port.to_bytes(2, "big"), *values)
        self.control.setsockopt(socket.IPPROTO_IP, command, self.service + packed)

    def settings(self) -> tuple[int, int, int]:
        upper = self.chance.choice((0, 0, 0, 1, 2, 3, 5, 8))
        return self.chance.choice(WEIGHTS), upper, self.chance.randrange(upper + 1)

    def add(self) -> None:
        number, settings = self.chance.randrange(2, 8), self.settings()
        if number not in self.servers:
            self.server(_ADD_SERVER, number, *settings)
            self.servers.add(number)
            self.events.append(["add", number, *settings])

    def edit(self) -> None:
        if self.servers:
            number, settings = self.chance.choice(sorted(self.servers)), self.settings()
            self.server(_EDIT_SERVER, number, *settings)
            self.events.append(["edit", number, *settings])

    def delete(self) -> None:
        if self.servers:
            number = self.chance.choice(sorted(self.servers))
            self.server(_DELETE_SERVER, number)
            self.servers.remove(number)
            self.events.append(["delete", number])

    def open(self) -> None:
        asked = []
        for _ in range(self.chance.choice((1, 2, 5, 12))):
            self.port += 1
            asked.append((self.chance.randrange(len(self.clients)), self.port, self.chance.randrange(len(self.vips))))
        for one in asked:
            self.send(one, "S")
            self.send(one, "A")
        there = listed()
        opened = [[*one, there.get((self.clients[one[0]], one[1], self.vips[one[2]]), 0)] for one in asked]
        self.connections += [(one[0], one[1], one[2], one[3]) for one in opened if one[3]]
        self.events.append(["open", opened])

    def close(self) -> None:
        closed = []
        for number, one in enumerate(self.connections):
            if one and one[3] in self.servers and self.chance.random() < 0.4:
                self.send(one[:3], "FA")
                self.connections[number] = None
                closed.append(number)
        if closed:
            self.events.append(["close", closed])

    def send(self, one: tuple[int, int, int], flags: str) -> None:
        client, vip = socket.inet_aton(self.clients[one[0]]), socket.inet_aton(self.vips[one[2]])
        self.wire.send(with_checksums(tcp(client, one[1], vip, 80, flags)))


def with_checksums(frame: bytes) -> bytes:
    """The kernel looks at them."""
    ip, segment = bytearray(frame[14:34]), bytearray(frame[34:])
    ip[10:12] = bytes(2)
    ip[10:12] = checksum(bytes(ip))
    segment[16:18] = bytes(2)
    segment[16:18] = checksum(bytes(ip[12:20]) + struct.pack("!HH", socket.IPPROTO_TCP, len(segment)) + bytes(segment))
    return b"".join((frame[:14], ip, segment))


def checksum(data: bytes) -> bytes:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def listed() -> dict[tuple[str, int, str], int]:
    """Each connection's server, by client, port and VIP."""
    found = {}
    for line in Path("/proc/net/ip_vs_conn").read_text().splitlines()[1:]:
        fields = line.split()
        client, vip = (str(IPv4Address(int(fields[at], 16))) for at in (1, 3))
        found[client, int(fields[2], 16), vip] = int(fields[5], 16) & 0xFF
    return found


def prepared() -> socket.socket:
    """What is sent into it comes to the director."""
    for command in _NETWORK:
        subprocess.run(command.split(), check=True)
    for name in ("all", "v1"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.bind(("v0", 0))
    return wire


def main() -> None:
    """Print the scenarios."""
    seed, count, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    for name in names:
        subprocess.run(["modprobe", f"ip_vs_{name}"], check=True)
    wire = prepared()
    for number, name in enumerate(one for one in names for _ in range(count)):
        chance = random.Random(f"{seed} {name} {number}")
        print(json.dumps(Scenario([name, name, "rr", "wlc"], number, chance, wire).draw(30)), flush=True)


if __name__ == "__main__":
    main()
