"""The director from first command to last: it attaches by itself, outlives killed commands, and goes without trace."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylvs.director.ebpf import bpffs
from pylvs.lab import namespace, node
from pylvs.lab.topology import Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import ask, connect, fetch, ipvsadm, processes
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
MANY_SERVICES = 300


@pytest.fixture
def bare() -> Iterator[LabUnderTest]:
    """A network whose director has never heard of pylvs."""
    built = LabUnderTest(Lab(f"upkeep-{os.getpid()}", ForwardingMethod.NAT, service=False))
    yield built
    built.down()


def serve(lab: LabUnderTest, port: int = 80, mapped: int = 80) -> None:
    """Round robin over both servers."""
    ipvsadm(lab, f"-A -t {lab.vip}:{port} -s rr")
    for rip in reversed(lab.rips):
        ipvsadm(lab, f"-a -t {lab.vip}:{port} -r {rip}:{mapped} -m")


def pins(lab: LabUnderTest) -> Path:
    """Where this director is pinned."""
    with namespace.inside(lab.namespace("director")):
        return Path(bpffs.pin_directory(bpffs.mounted() or "/nowhere"))


def killed(lab: LabUnderTest, after: float, *arguments: str, stdin: str = "") -> int:
    """Start pylvs on the director and kill it so many seconds later; its exit code."""
    argv = node.on(lab.namespace("director"), *node.PYLVS, *arguments)
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=node.environment()
    ) as command:  # `ip netns exec` becomes the command, so this pid is pylvs's
        assert command.stdin
        command.stdin.write(stdin.encode())
        command.stdin.close()
        time.sleep(after)
        command.send_signal(signal.SIGKILL)
    return command.returncode


def many_rules(lab: LabUnderTest, first_port: int) -> str:
    ports = range(first_port, first_port + MANY_SERVICES)
    services = (f"-t {lab.vip}:{port}" for port in ports)
    return "".join(f"-A {service} -s rr\n-a {service} -r {lab.rips[0]}:80 -m\n" for service in services)


def test_the_first_service_attaches_the_director_and_ports_are_mapped(bare: LabUnderTest) -> None:
    assert "clsact" not in bare.exec("director", "tc", "qdisc", "show").stdout
    serve(bare, 80, 8080)
    assert "clsact" in bare.exec("director", "tc", "qdisc", "show", "dev", "eth0").stdout
    assert [fetch(bare) for _ in range(4)] == bare.rips * 2
    assert processes(bare) == []


def test_detach_leaves_nothing(bare: LabUnderTest) -> None:
    serve(bare)
    fetch(bare)
    assert pins(bare).is_dir()
    done = bare.pylvs("detach")
    assert (done.returncode, done.stderr) == (0, "")
    assert "clsact" not in bare.exec("director", "tc", "qdisc", "show").stdout
    assert "bpf" not in bare.exec("director", "tc", "filter", "show", "dev", "eth0", "ingress").stdout
    assert "xdp" not in bare.exec("director", "ip", "-details", "link", "show", "dev", "eth0").stdout
    assert not pins(bare).exists()
    assert processes(bare) == []
    assert len(ipvsadm(bare, "-Ln").splitlines()) == 3, "only the heading"


@pytest.mark.slow
def test_a_killed_command_leaves_a_director_that_works(bare: LabUnderTest) -> None:
    killed(bare, 0.5, "ipvsadm", "-A", "-t", f"{bare.vip}:80")
    ipvsadm(bare, "-C")
    serve(bare)
    with connect(bare) as held:
        mine = ask(held)
        for turn, after in enumerate((0.1, 0.15, 0.2, 0.3)):
            killed(bare, after, "ipvsadm", "-R", stdin=many_rules(bare, 1000 + turn * MANY_SERVICES))
            port = 100 + turn
            serve(bare, port, 8080)  # the lock is free and the next change works
            assert {fetch(bare, port), fetch(bare, port)} == set(bare.rips)
        for after in (0.2, 0.6, 1.0):
            killed(bare, after, "upgrade")
            assert {fetch(bare), fetch(bare)} == set(bare.rips)
        assert bare.pylvs("upgrade").returncode == 0
        assert ask(held) == mine
    assert {fetch(bare), fetch(bare)} == set(bare.rips)


def test_lost_pins_are_found_again_with_their_connections(bare: LabUnderTest) -> None:
    serve(bare)
    assert fetch(bare)
    before = bare.pylvs("ipvsadm", "-Sn").stdout
    directory = pins(bare)
    for pin in directory.iterdir():
        pin.unlink()
    directory.rmdir()
    assert fetch(bare), "traffic needs no pins"
    assert bare.pylvs("ipvsadm", "-Sn").stdout == before
    assert len(bare.pylvs("ipvsadm", "-Lnc").stdout.splitlines()) == 2 + 2
    assert directory.is_dir()
    assert fetch(bare)
