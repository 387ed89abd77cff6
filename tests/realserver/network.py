"""A client that is its own director, and a real server, each in a network namespace; one wire between them."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any

from pylvs.director.ebpf import libbpf
from pylvs.director.ebpf.abi import TunnelType
from pylvs.director.ebpf.convert import pack_address
from pylvs.lab import namespace, node
from tools.bpf import ROOT, compile_object

CIP, CIP6 = "10.9.0.1", "fd09::1"
RIP, RIP6 = "10.9.0.2", "fd09::2"
VIP, VIP6 = "10.9.9.9", "fd09:9::9"
_SOURCE = Path(__file__).with_name("encapsulate.bpf.c")
_numbers = count()


class Network:
    """It is up when made."""

    def __init__(self, mtu: int = 1500) -> None:
        tag = f"rstest{os.getpid()}n{next(_numbers)}"
        self.client, self.server = f"{tag}c", f"{tag}r"
        namespace.add([self.client, self.server])
        with namespace.inside(self.server):
            _ip(
                f"link add eth0 mtu {mtu} type veth peer name eth0 mtu {mtu} netns {self.client}",
                f"address add {RIP}/24 dev eth0",
                f"address add {RIP6}/64 dev eth0 nodad",
                "link set eth0 addrgenmode none up",
                "link set lo up",
            )
        with namespace.inside(self.client):
            _ip(
                f"address add {CIP}/24 dev eth0",
                f"address add {CIP6}/64 dev eth0 nodad",
                "link set eth0 addrgenmode none up",
                "link set lo up",
                f"route add {VIP} via {RIP}",
                f"route add {VIP6} via {RIP6}",
            )

    def close(self) -> None:
        namespace.delete([self.client, self.server])

    def tunnel(self, scratch: Path, kind: TunnelType, family: int) -> None:
        """From now on the client sends what is for a VIP in a tunnel to the real server."""
        compiled = scratch / "encapsulate.bpf.o"
        compile_object(_SOURCE, compiled, include=ROOT / "bpf")
        ends = (CIP, RIP) if family == 4 else (CIP6, RIP6)
        packed = b"".join(pack_address(ip_address(one)) for one in (VIP, VIP6, *ends))
        opened = libbpf.Object(str(compiled))
        opened.set_constants(".rodata.way", packed + struct.pack("<II", kind, family == 6))
        opened.load()
        with namespace.inside(self.client):
            index = socket.if_nametoindex("eth0")
            libbpf.create_ingress(index)
            program = opened.program_fd("encapsulate")
            libbpf.attach_tc(index, program, handle=1, priority=1, point=libbpf.TC_EGRESS)
            os.close(program)
        opened.close()

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A command on the real server."""
        return node.run(self.server, *argv, timeout=60)

    def realserver(self, *arguments: str, code: int = 0) -> str:
        """`pylvs realserver ...`; what it printed, or complained about."""
        done = self.run(*node.PYLVS, "realserver", *arguments)
        assert done.returncode == code, done
        return done.stdout if code in {0, 1, 3} and done.stdout else done.stderr

    def up(self, *arguments: str) -> str:
        return self.realserver("up", "--method", "tun", "--vip", VIP, "--vip", VIP6, *arguments)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*node.PYLVS, "realserver", "status", "--json").stdout)
        return found

    def snapshot(self) -> str:
        """All that `up` might change on the real server."""
        commands = (
            ("sysctl", "-a", "--pattern", r"^net\.(ipv4|ipv6)\.conf"),
            ("ip", "address"),
            ("ip", "-4", "route", "show", "table", "all"),
            ("tc", "qdisc"),
            ("tc", "filter", "show", "dev", "eth0", "ingress"),
            ("tc", "filter", "show", "dev", "eth0", "egress"),
        )
        return "".join(self.run(*argv).stdout for argv in commands)

    def journals(self) -> list[Path]:
        """Files of this real server; there are none when it is down."""
        with namespace.inside(self.server):
            from pylvs.director.ebpf.bpffs import netns_cookie

            return sorted(Path("/run/pylvs").glob(f"realserver-{netns_cookie()}.*"))


def _ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def connected(network: Network, vip: str) -> tuple[socket.socket, socket.socket]:
    """A TCP connection from the client to the VIP: its two ends."""
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    with namespace.inside(network.server):
        listener = socket.create_server((vip, 80), family=family)
    with namespace.inside(network.client):
        client = socket.socket(family)
    with listener:
        listener.settimeout(20)
        client.settimeout(20)
        client.connect((vip, 80))
        server, _ = listener.accept()
        server.settimeout(20)
    return client, server


@contextmanager
def sending(client: socket.socket, data: bytes, times: int) -> Iterator[None]:
    """Meanwhile the client sends the data so many times, and ends its side."""

    def send() -> None:
        for _ in range(times):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()
