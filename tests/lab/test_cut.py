"""Senders that do not look for the MTU of a path get through a narrower link; the servers' kernels put it together."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from pylvs.lab import namespace, offload
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import SECONDS, connect, digest, drops, ipvsadm, upload
from tests.lab.conftest import LabFactory, LabUnderTest
from tests.lab.test_fragments import FLAGS, MATRIX, PORT, echo_service, echoing

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
MEGABYTE = 10**6
NARROW = 1300
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
OFFLOADS = ("tso", "gso")


@pytest.fixture(scope="module", params=MATRIX, ids="-".join)
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    """The links carry 1,500 bytes, too few for a full packet in a tunnel; without one, the director's way is narrow."""
    method, hook = request.param
    with ExitStack() as stack:
        lab = LabUnderTest(Lab(f"cut-{os.getpid()}-{method}-{hook}", ForwardingMethod(method), Hook(hook)))
        stack.callback(lab.down)
        echo_service(lab)
        if method != "tun":
            for rip in lab.rips:
                narrow(lab, rip)
        done = lab.exec("client", "sysctl", "-w", "net.ipv4.ip_no_pmtu_disc=1")
        assert done.returncode == 0, done.stderr
        stack.enter_context(echoing(lab))
        yield lab


def narrow(lab: LabUnderTest, rip: str) -> None:
    """The director's way to a server, as it is, but with a smaller MTU."""
    way = lab.exec("director", "ip", "route", "get", rip).stdout.split()
    via = f"via {way[way.index('via') + 1]}" if "via" in way else ""
    done = lab.exec("director", *f"ip route add {rip} {via} dev {way[way.index('dev') + 1]} mtu lock {NARROW}".split())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [1472, 1453, 1301])
def test_datagrams(size: int, up: LabUnderTest) -> None:
    """Each fills a packet; the server's program gets it whole. A small one goes first, to an unknown neighbour."""
    assert echoed(up, [1, *[size] * 20])
    assert drops(up, "too_big") == 0


def echoed(lab: LabUnderTest, sizes: Sequence[int]) -> bool:
    """Whether datagrams of these sizes, all from one new port, come back as they were sent."""
    with namespace.inside(lab.namespace("client")):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        client.settimeout(SECONDS)
        client.connect((lab.vip, PORT))
        for size in sizes:
            payload = random.Random(size).randbytes(size)
            client.send(payload)
            if client.recv(65535).partition(b" ")[2] != payload:
                return False
    return True


@pytest.mark.parametrize("method", ["nat", "dr", "tun"])
def test_marked_packets(method: str, lab: LabFactory) -> None:
    """The first of each connection is met on its way out by the marks' device."""
    made = lab(method)
    ipvsadm(made, "-A -f 10 -s rr")
    for rip in made.rips:
        ipvsadm(made, f"-a -f 10 -r {rip} {FLAGS[method]}")
        if method != "tun":
            narrow(made, rip)
    rule = f"iptables-nft -t mangle -A PREROUTING -d {made.vip} -p udp --dport {PORT} -j MARK --set-mark 10"
    done = made.exec("director", *rule.split())
    assert done.returncode == 0, done.stderr
    with echoing(made):
        for _ in made.rips:
            assert echoed(made, [1])
        for _ in range(6):
            assert echoed(made, [1472, 1472])
    assert drops(made, "too_big") == 0


@pytest.mark.parametrize("offloads", [True, False], ids=["segmented later", "segments"])
def test_an_upload(offloads: bool, up: LabUnderTest) -> None:
    """Full segments, or many of them in one packet."""
    with namespace.inside(up.namespace("client")):
        for one in OFFLOADS:
            offload.switch("eth0", one, on=offloads)
    with connect(up) as connection:
        assert upload(connection, MEGABYTE) == digest(MEGABYTE)
    assert drops(up, "too_big") == 0
