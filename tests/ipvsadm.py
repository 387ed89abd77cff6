"""`pylvs ipvsadm` in memory: the machine that the transcripts were recorded on, as far as the command line sees it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Interface
from typing import NamedTuple

from pylvs.cli.ipvsadm import run
from pylvs.director.memory import MemoryDirector
from pylvs.director.port import Director
from pylvs.model import IPAddress, Protocol

INTERFACES = (IPv4Interface("192.0.2.1/24"),)

HOSTS = {
    "127.0.0.1": ("localhost",),
    "::1": ("localhost",),
    "192.0.2.80": ("vip.example.com", "vip"),
    "198.51.100.11": ("rs1.example.com", "rs1"),
    "192.0.2.90": ("a-very-long-host-name-for-a-virtual-service.example.com", "longvip"),
    "fd00::80": ("vip6.example.com", "vip6"),
    "10.10.0.2": ("client.example.com",),
    "10.20.0.100": ("www.example.com",),
    "10.30.0.11": ("real1.example.com",),
}

SERVICES = {
    ("ftp", Protocol.TCP): 21,
    ("ssh", Protocol.TCP): 22,
    ("domain", Protocol.TCP): 53,
    ("domain", Protocol.UDP): 53,
    ("tftp", Protocol.UDP): 69,
    ("http", Protocol.TCP): 80,
    ("www", Protocol.TCP): 80,
    ("ntp", Protocol.UDP): 123,
    ("https", Protocol.TCP): 443,
    ("https", Protocol.UDP): 443,
    ("sip", Protocol.TCP): 5060,
    ("sip", Protocol.UDP): 5060,
    ("http-alt", Protocol.TCP): 8080,
}
"""What those transcripts need of Debian's /etc/services; the official name of a port comes before its aliases."""


class RecordedNames:
    """The names of that machine."""

    def address(self, host: str) -> IPv4Address | None:
        found = next((a for a, names in HOSTS.items() if host.lower() in names and ":" not in a), None)
        return IPv4Address(found) if found else None

    def port(self, service: str, protocol: Protocol) -> int | None:
        return SERVICES.get((service, protocol))

    def host(self, address: IPAddress) -> str | None:
        return HOSTS[str(address)][0] if str(address) in HOSTS else None

    def service(self, port: int, protocol: Protocol) -> str | None:
        return next((name for (name, of), at in SERVICES.items() if (at, of) == (port, protocol)), None)


class Outcome(NamedTuple):
    """What a command left: all that a caller can see of it."""

    stdout: str
    stderr: str
    rc: int


def director() -> MemoryDirector:
    """A director on that machine, its table empty."""
    return MemoryDirector(INTERFACES)


def ipvsadm(words: Sequence[str], opened: Director | Callable[[], Director], stdin: str = "") -> Outcome:
    """Run one command line over a director, or over what opens one."""
    stdout, stderr = io.StringIO(newline=""), io.StringIO(newline="")
    open_director = opened if callable(opened) else lambda: opened
    rc = run(
        words,
        open_director,
        stdin=io.StringIO(stdin, newline="\n"),
        stdout=stdout,
        stderr=stderr,
        names=RecordedNames(),
    )
    return Outcome(stdout.getvalue(), stderr.getvalue(), rc)
