"""Real HTTP through the kernel's IPVS under pylvs; and its table taken over into the eBPF director, and back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from pylvs.director.ebpf import bpffs
from pylvs.director.ipvs.director import IpvsDirector
from pylvs.lab import namespace, node, service
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.ipvs.kernel import LISTINGS, agree
from tests.lab.client import connect
from tests.lab.conftest import LabUnderTest

REQUESTS = 4
SECONDS = 600.0
"""To load the data plane takes long where there is no hardware to run it."""


class Served(LabUnderTest):
    """The network of a lab, whose service the kernel's IPVS has."""

    def __init__(self, method: str) -> None:
        bpffs.ensure_mounted()  # as a lab with a service of its own does it: for all of its nodes
        super().__init__(Lab(f"ipvs-{method}-{os.getpid()}", ForwardingMethod(method), Hook.AUTO, service=False))
        if words := service.realserver(self.topology):
            for server in self.topology.servers:
                self.succeeds(self.exec(server.name, *node.PYLVS, "realserver", *words))
        rules = "".join(" ".join(rule) + "\n" for rule in service.rules(self.topology))
        self.succeeds(self.pylvs("--backend", "ipvs", "ipvsadm", "-R", stdin=rules))

    def exec(self, where: str, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return node.run(self.topology.namespace(where), *argv, stdin=stdin, timeout=SECONDS)

    @staticmethod
    def succeeds(done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answers(self) -> list[str]:
        """Of some requests, one after the other."""
        return [self.exec("client", "curl", "-s", f"http://{self.vip}/").stdout for _ in range(REQUESTS)]

    def hello(self) -> list[str]:
        """What round robin gives."""
        return sorted(f"hello {rip}\n" for rip in self.rips) * (REQUESTS // 2)

    def real(self, *words: str) -> str:
        """The kernel's table by the real ipvsadm."""
        return self.succeeds(self.exec("director", "ipvsadm", *words))


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    lab = Served(request.param)
    yield lab
    lab.down()


@pytest.mark.parametrize("served", ["nat", "dr", "tun"], indirect=True)
def test_http_is_served_and_listed_as_the_real_one_lists_it(served: Served) -> None:
    assert sorted(served.answers()) == sorted(served.hello())
    with namespace.inside(served.namespace("director")):
        director = IpvsDirector()
        assert len(list(director.connections())) == REQUESTS
        for listing in LISTINGS:
            agree(director, listing)
        director.close()


SETTINGS = """\
-A -t 192.0.2.90:443 -s wlc -p 60 -M 255.255.255.0
-a -t 192.0.2.90:443 -r 192.168.101.110:443 -m -w 0
-a -t 192.0.2.90:443 -r 192.168.101.210:8443 -m -w 7 -x 100 -y 50
-A -f 7 -s wrr
-a -f 7 -r 192.168.101.210 -m -w 2
--set 1000 0 77
"""
KNOB = "conn_reuse_mode"
MIGRATED = "4 services with 7 real servers"


@pytest.mark.parametrize("served", ["nat"], indirect=True)
def test_a_table_goes_to_ebpf_and_back(served: Served) -> None:
    served.succeeds(served.exec("director", "ipvsadm", "-R", stdin=SETTINGS))
    served.succeeds(served.exec("director", "sysctl", "-w", f"net.ipv4.vs.{KNOB}=0"))
    rules, limits, timeouts = (served.real(*words) for words in (["-Sn"], ["-Ln", "--thresholds"], ["-L", "--timeout"]))

    planned = served.succeeds(served.pylvs("migrate", "--to", "ebpf", "--dry-run"))
    assert {*rules.splitlines()} <= {line.partition(" -x")[0] for line in planned.splitlines()}
    assert f"--sysctl {KNOB}=0" in planned
    assert served.real("-Sn") == rules
    assert served.succeeds(served.pylvs("ipvsadm", "-Sn")) == ""

    with connect(served) as live:
        assert MIGRATED in served.succeeds(served.pylvs("migrate", "--to", "ebpf", "--keep"))
        assert served.real("-Sn") == rules
        live.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert live.recv(1).startswith(b"H")  # by IPVS

    assert MIGRATED in served.succeeds(served.pylvs("migrate", "--to", "ebpf"))
    assert served.real("-Sn") == ""
    assert served.succeeds(served.pylvs("ipvsadm", "-Sn")) == rules
    assert served.succeeds(served.pylvs("ipvsadm", "-Ln", "--thresholds")) == limits
    assert served.succeeds(served.pylvs("ipvsadm", "-L", "--timeout")) == timeouts
    assert served.succeeds(served.pylvs("sysctl", KNOB)) == f"net.ipv4.vs.{KNOB} = 0\n"
    assert sorted(served.answers()) == sorted(served.hello())

    served.real("--set", "900", "120", "300")
    with connect(served) as live:
        assert MIGRATED in served.succeeds(served.pylvs("migrate", "--to", "ipvs"))
        live.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            live.recv(1)
    assert (served.real("-Sn"), served.real("-L", "--timeout")) == (rules, timeouts)
    assert "no director runs" in served.pylvs("drops").stderr
    assert sorted(served.answers()) == sorted(served.hello())

    _is_refused(served, "ebpf", ["-A -t 192.0.2.91:80 -p 5 --pe sip"], "sip")
    served.real("-D", "-t", "192.0.2.91:80")
    _is_refused(served, "ebpf", ["--start-daemon backup --mcast-interface eth0"], "sync daemon")


def _is_refused(served: Served, target: str, lines: list[str], named: str) -> None:
    """Before anything is touched."""
    served.succeeds(served.exec("director", "ipvsadm", "-R", stdin="\n".join(lines)))
    rules = served.real("-Sn")
    refused = served.pylvs("migrate", "--to", target)
    assert refused.returncode == 1
    assert named in refused.stderr
    assert "nothing was changed" in refused.stderr
    assert served.real("-Sn") == rules
    assert served.succeeds(served.pylvs("ipvsadm", "-Sn")) == ""
