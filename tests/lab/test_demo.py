"""The demonstration, as it is run."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from pylvs.lab import command, node

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces and loads BPF programs"),
]
RIPS = {
    "nat": ("192.168.101.110", "192.168.101.210"),
    "dr": ("192.168.0.188", "192.168.0.111"),
    "tun": ("203.0.113.110", "203.0.113.210"),
    "fullnat": ("192.168.10.11", "192.168.10.12"),
}


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*node.PYLVS, "demo", *arguments],
        env=node.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("method", "hook"), [("nat", "tc"), ("nat", "xdp"), ("dr", "xdp"), ("tun", "xdp"), ("fullnat", "tc")]
)
def test_demo(method: str, hook: str) -> None:
    demo = start(method, "--hook", hook)
    said, complaint = demo.communicate(timeout=60)
    assert (demo.returncode, complaint) == (0, "")
    answers = [line for line in said.splitlines() if line.startswith("hello ")]
    assert answers == [f"hello {rip}" for rip in RIPS[method] * 5]
    assert said.splitlines()[-1] == f"LVS-{method.upper()}: every answer as expected"
    assert not [name for name in command.present() if name.endswith(f"-{demo.pid}")]


def test_demo_of_both_families() -> None:
    demo = start("tun", "--family", "both")
    said, complaint = demo.communicate(timeout=60)
    assert (demo.returncode, complaint) == (0, "")
    assert said.count("10 requests to http://") == said.count("LVS-TUN: every answer as expected") == 2
    assert "# pylvs realserver up --method tun " in said
    assert "2001:db8:51::200 > 2001:db8:113::210 ipip" in said


def test_an_interrupted_demo_leaves_nothing() -> None:
    demo = start("nat")
    name = f"demo-nat-{demo.pid}"
    while demo.poll() is None and name not in command.present():
        time.sleep(0.01)
    time.sleep(0.3)
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert name not in command.present()


def test_demo_of_something_else() -> None:
    demo = start("masq")
    said, complaint = demo.communicate(timeout=60)
    assert (demo.returncode, said) == (2, "")
    assert "masq" in complaint
