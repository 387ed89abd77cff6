"""The client's side of a lab: sockets in its namespace, and what the director lists of them."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable
from typing import NamedTuple

from pylvs.lab import namespace
from pylvs.lab.server import pattern
from tests.lab.conftest import LabUnderTest

SECONDS = 20.0


class Row(NamedTuple):
    """A real server as `ipvsadm -Ln` lists it."""

    method: str
    weight: int
    active: int
    inactive: int


def connect(
    lab: LabUnderTest,
    port: int = 80,
    source_port: int = 0,
    *,
    vip: str | None = None,
    cip: str = "",
    where: str = "client",
) -> socket.socket:
    """A connection to the VIP, or to another one of the lab's."""
    with namespace.inside(lab.namespace(where)):
        connection = socket.create_connection((vip or lab.vip, port), SECONDS, (cip, source_port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _request(connection: socket.socket, head: str, body: Iterable[bytes]) -> tuple[bytes, int]:
    """Send a request; what came of the answer's body with its headers, and its whole length."""
    connection.sendall(f"{head} HTTP/1.1\r\nHost: vip\r\n".encode())
    for chunk in body:
        connection.sendall(chunk)
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = connection.recv(65536)
        if not received:
            raise ConnectionError(f"the answer ends after {answer!r}")
        answer += received
    headers, _, start = answer.partition(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 200"), headers
    length = next(int(line[15:]) for line in headers.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return start, length


def _page(connection: socket.socket, path: str) -> str:
    body, length = _request(connection, f"GET {path}", [b"\r\n"])
    while len(body) < length:
        body += connection.recv(65536)
    return body.decode().strip()


def ask(connection: socket.socket) -> str:
    """The RIP that says hello over a connection, which stays open."""
    return _page(connection, "/").removeprefix("hello ")


def taken_for(connection: socket.socket) -> str:
    """The endpoint that the real server takes for the client's."""
    return _page(connection, "/client")


def fetch(lab: LabUnderTest, port: int = 80, *, vip: str | None = None, cip: str = "", where: str = "client") -> str:
    """The RIP that says hello over a connection of its own."""
    with connect(lab, port, vip=vip, cip=cip, where=where) as connection:
        return ask(connection)


def download(connection: socket.socket, count: int) -> str:
    """The SHA-256 of so many bytes from a server."""
    start, length = _request(connection, f"GET /big?bytes={count}", [b"\r\n"])
    assert length == count
    digest, got = hashlib.sha256(start), len(start)
    while got < count:
        chunk = connection.recv(1 << 20)
        if not chunk:
            raise ConnectionError(f"{got} of {count} bytes came")
        digest.update(chunk)
        got += len(chunk)
    return digest.hexdigest()


def upload(connection: socket.socket, count: int) -> str:
    """What a server says is the SHA-256 of so many bytes."""
    body, _ = _request(connection, "PUT /", [f"Content-Length: {count}\r\n\r\n".encode(), *pattern(count)])
    return body.decode().strip()


def digest(count: int) -> str:
    """The SHA-256 of the servers' pattern."""
    found = hashlib.sha256()
    for chunk in pattern(count):
        found.update(chunk)
    return found.hexdigest()


def udp(lab: LabUnderTest, vip: str | None = None, *, where: str = "client") -> socket.socket:
    """A UDP socket of the client's that is for the VIP, or for another one of the lab's."""
    there = vip or lab.vip
    with namespace.inside(lab.namespace(where)):
        asking = socket.socket(socket.AF_INET6 if ":" in there else socket.AF_INET, socket.SOCK_DGRAM)
    asking.settimeout(SECONDS)
    asking.connect((there, 80))
    return asking


def ask_udp(asking: socket.socket) -> str:
    """The RIP that says hello in a datagram."""
    asking.send(b"who?")
    return asking.recv(2048).decode().removeprefix("hello ")


def ipvsadm(lab: LabUnderTest, line: str) -> str:
    """What `pylvs ipvsadm` on the director prints; it must go well."""
    done = lab.pylvs("ipvsadm", *line.split())
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout


def rows(lab: LabUnderTest, service: str = "TCP", port: int = 80) -> dict[str, Row]:
    """The real servers of a service, by address."""
    flag = "-t" if service == "TCP" else "-u"
    found = {}
    for line in ipvsadm(lab, f"-Ln {flag} {lab.vip}:{port}").splitlines():
        words = line.split()
        if words[:1] == ["->"] and words[1] != "RemoteAddress:Port":
            found[words[1].partition(":")[0]] = Row(words[2], *map(int, words[3:6]))
    return found


def states(lab: LabUnderTest, source_port: int) -> list[str]:
    """The states of the connections from one port of the client's, as `ipvsadm -Lnc` lists them."""
    lines = (line.split() for line in ipvsadm(lab, "-Lnc").splitlines()[2:])
    return [words[2] for words in lines if words[3].endswith(f":{source_port}")]


def drops(lab: LabUnderTest, reason: str) -> int:
    """How many packets the director has dropped for a reason."""
    return int(json.loads(lab.pylvs("drops", "--json").stdout)[reason]["count"])


def processes(lab: LabUnderTest) -> list[str]:
    """The commands that live in the director's namespace."""
    found = namespace.processes(namespace.identities([lab.namespace("director")]))
    return [f"{pid} {os.readlink(f'/proc/{pid}/exe')}" for pid in found]
