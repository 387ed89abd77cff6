"""`pylvs lab up --mark`: ports 80 and 443 as one persistent service, by a firewall mark; and iperf3."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from pylvs.lab import namespace, node
from pylvs.lab.topology import Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import SECONDS, fetch, ipvsadm
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
METHODS = [ForwardingMethod.NAT, ForwardingMethod.DR, ForwardingMethod.TUN]
IPERF_PORT = 5201
CLIENTS = (("110.0.0.1", "110.0.0.3"), ("2001:db8:110::1", "2001:db8:110::3"))


@pytest.fixture(scope="module", params=METHODS)
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    asked = Lab(f"group-{os.getpid()}", request.param, families=(4, 6), mark=10, persistence=300)
    built = LabUnderTest(asked)
    for address in ("110.0.0.3/24", "2001:db8:110::3/64"):
        assert built.exec("client", "ip", "address", "add", address, "dev", "eth0").returncode == 0
    yield built
    built.down()


@pytest.mark.parametrize("which", [0, 1], ids=["IPv4", "IPv6"])
def test_a_client_has_one_server_for_both_ports_and_another_client_the_other(up: LabUnderTest, which: int) -> None:
    vip = up.vips[which]
    answers = {cip: [fetch(up, port, vip=vip, cip=cip) for port in (80, 443, 80, 443)] for cip in CLIENTS[which]}
    assert all(len(set(one)) == 1 for one in answers.values())
    assert {one[0] for one in answers.values()} == set(up.rips)


def test_the_listing_shows_the_mark(up: LabUnderTest) -> None:
    titles = [line.split() for line in ipvsadm(up, "-Ln").splitlines() if line.startswith("FWM")]
    assert titles == [["FWM", "10", "rr", "persistent", "300"], ["FWM", "10", "IPv6", "rr", "persistent", "300"]]


@pytest.fixture
def iperf(up: LabUnderTest) -> Iterator[None]:
    """A server on each real server, and a persistent service by address, in the mark's place."""
    program = node.which("iperf3") or "iperf3 is missing: script/setup iperf3"
    daemons = []
    for server in up.topology.servers:
        with namespace.inside(up.namespace(server.name)):
            daemons.append(subprocess.Popen([program, "-s"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    method = {ForwardingMethod.NAT: "-m", ForwardingMethod.DR: "-g", ForwardingMethod.TUN: "-i"}[up.topology.lab.method]
    ipvsadm(up, f"-A -t {up.vip}:{IPERF_PORT} -s rr -p 60")
    for rip in up.rips:
        ipvsadm(up, f"-a -t {up.vip}:{IPERF_PORT} -r {rip}:{IPERF_PORT} {method}")
    yield
    ipvsadm(up, f"-D -t {up.vip}:{IPERF_PORT}")
    for daemon in daemons:
        daemon.terminate()
        daemon.wait(SECONDS)


@pytest.mark.usefixtures("iperf")
@pytest.mark.parametrize("direction", [(), ("--reverse",)], ids=["upload", "download"])
def test_all_of_a_clients_connections_go_to_one_server(up: LabUnderTest, direction: tuple[str, ...]) -> None:
    """iperf3 wants its streams where its control connection is."""
    done = up.exec("client", "iperf3", "-J", "-c", up.vip, "-P", "4", "-n", "20M", *direction)
    report = json.loads(done.stdout)
    assert "error" not in report, report
    assert len(report["end"]["streams"]) == 4
    assert report["end"]["sum_received"]["bytes"] > 0
