"""`pylvs realserver up`, `down` and `status`: after `down` there is what was there before, and nothing else."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from pylvs.lab import node
from tests.realserver.network import RIP, VIP, VIP6, Network

pytestmark = [pytest.mark.root, pytest.mark.lab]


@pytest.fixture
def network() -> Iterator[Network]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it builds network namespaces")
    made = Network()
    yield made
    made.close()


def _set(network: Network, **settings: str) -> None:
    for name, value in settings.items():
        network.run("sysctl", "-qw", f"net.ipv4.conf.{name.replace('__', '.')}={value}")


def _get(network: Network, name: str) -> str:
    return network.run("sysctl", "-n", f"net.ipv4.conf.{name}").stdout.strip()


@pytest.mark.parametrize("method", ["tun", "dr"])
def test_down_restores_what_was_there(network: Network, method: str) -> None:
    _set(network, all__arp_ignore="0", all__arp_announce="1", eth0__arp_ignore="3", eth0__rp_filter="1")
    before = network.snapshot()
    for _ in range(2):
        assert network.realserver("up", "--method", method, "--vip", VIP, "--vip", VIP6).startswith(
            f"LVS-{method.upper()} real server Running."
        )
    up = network.snapshot()
    assert (_get(network, "all.arp_ignore"), _get(network, "all.arp_announce")) == ("1", "2")
    assert (_get(network, "eth0.arp_ignore"), _get(network, "eth0.rp_filter")) == ("1", "2")
    assert f"inet {VIP}/32" in up
    assert f"inet6 {VIP6}/128" in up
    assert ("realserver_in" in up, "realserver_out" in up) == (method == "tun",) * 2
    for _ in range(2):
        assert network.realserver("down") == "LVS real server Stopped.\n"
    assert network.snapshot() == before
    assert network.journals() == []


def test_what_was_right_before_stays_after(network: Network) -> None:
    """A VIP, settings, a qdisc and `lo` that somebody else had set up."""
    _set(network, all__arp_ignore="2", all__arp_announce="2", all__rp_filter="2")
    network.run("ip", "address", "add", f"{VIP}/32", "dev", "lo")
    network.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    before = network.snapshot()
    network.up()
    network.realserver("down")
    assert network.snapshot() == before


def test_a_lo_that_is_down(network: Network) -> None:
    network.run("ip", "link", "set", "lo", "down")
    before = network.snapshot()
    network.up()
    assert network.status()["state"] == "running"
    network.realserver("down")
    assert network.snapshot() == before


def test_what_somebody_else_changed_meanwhile_is_left_to_him(network: Network) -> None:
    network.up()
    _set(network, all__arp_ignore="8")
    network.run("ip", "address", "delete", f"{VIP}/32", "dev", "lo")
    network.realserver("down")
    assert _get(network, "all.arp_ignore") == "8"
    assert _get(network, "all.arp_announce") == "0"


def test_another_up_changes_what_is_different(network: Network) -> None:
    before = network.snapshot()
    network.up()
    network.realserver("up", "--method", "dr", "--vip", "10.9.9.8")
    up = network.snapshot()
    assert "10.9.9.8/32" in up
    assert VIP not in up
    assert "realserver_in" not in up
    assert "clsact" not in up
    network.realserver("down")
    assert network.snapshot() == before


def test_arp_none(network: Network) -> None:
    before = _get(network, "all.arp_ignore")
    network.up("--arp", "none")
    assert _get(network, "all.arp_ignore") == before
    assert network.status()["state"] == "running"


DEGRADED = {
    "the VIP is gone": (("ip", "address", "delete", f"{VIP}/32", "dev", "lo"), f"{VIP} is not on lo"),
    "ARP is answered": (("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0"), "net.ipv4.conf.all.arp_ignore is 0"),
    "strict": (
        ("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1"),
        "eth0.rp_filter is 1",
    ),
    "no program": (("tc", "qdisc", "delete", "dev", "eth0", "clsact"), "eth0 has no clsact qdisc"),
    "half a program": (("tc", "filter", "delete", "dev", "eth0", "egress"), "the programs are not on eth0"),
    "no interface": (("ip", "link", "delete", "eth0"), "interface 'eth0' does not exist"),
    "another MTU": (("ip", "link", "set", "eth0", "mtu", "1400"), "the MTU has changed"),
    "another RIP": (("ip", "address", "add", "10.9.0.77/24", "dev", "eth0"), "the programs do not know 10.9.0.77"),
}


@pytest.mark.parametrize(("command", "problem"), DEGRADED.values(), ids=DEGRADED)
def test_degraded(network: Network, command: tuple[str, ...], problem: str) -> None:
    network.up()
    network.run(*command)
    assert problem in network.realserver("status", code=1)
    found = network.status()
    assert found["state"] == "degraded"
    assert problem in found["problems"][0]
    if "interface" not in problem:
        network.up()
        assert network.status()["state"] == "running"
    network.realserver("down")
    assert network.realserver("status", code=3) == "LVS real server Stopped.\n"


def test_programs_whose_journal_was_lost(network: Network) -> None:
    network.up()
    for path in network.journals():
        path.unlink()
    assert network.status()["state"] == "degraded"
    network.realserver("down")
    assert "realserver_in" not in network.snapshot()
    assert network.status()["state"] == "stopped"


_KILLED = """
import os, signal, sys
from pylvs.host import journal
from pylvs.__main__ import main
left = [int(sys.argv[1])]
write = journal.Journal.write
def dying(self):
    write(self)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
journal.Journal.write = dying
sys.exit(main(sys.argv[2:]))
"""


def _killed(network: Network, after: int, *arguments: str) -> bool:
    """Whether it was killed, right after it had written its journal so many times."""
    done = network.run(sys.executable, "-c", _KILLED, str(after), "realserver", *arguments)
    return done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}


def test_killed_anywhere_and_taken_down(network: Network) -> None:
    """Also when `down` itself is killed."""
    before = network.snapshot()
    up = ("up", "--method", "tun", "--vip", VIP, "--vip", VIP6)
    states: list[str] = []
    while _killed(network, len(states) + 1, *up):
        states.append(network.status()["state"])
        network.realserver("down")
        assert network.snapshot() == before
        assert network.journals() == []
    *early, last = states
    assert set(early) == {"degraded"}
    assert len(early) > 5
    assert last == "running"  # the last thing it does is to write that it is whole
    down = 0
    while _killed(network, down := down + 1, "down"):
        network.up()
        assert network.status()["state"] == "running"
    assert down > 5
    assert network.snapshot() == before


REFUSED = {
    "no such interface": (("--vip", VIP, "--interface", "eth9"), "interface 'eth9' does not exist"),
    "not an interface of packets": (("--vip", VIP, "--interface", "lo"), "interface lo is not Ethernet"),
    "not an address": (("--vip", "10.9.9"), "VIP '10.9.9' is not an IP address"),
    "no VIP": ((), "Missing option '--vip'."),
    "an address of nobody": (("--vip", "224.0.0.1"), "VIP 224.0.0.1 is not an address that clients can reach"),
    "the RIP": (("--vip", RIP), f"VIP {RIP} is on eth0"),
    "GUE without a port": (("--vip", VIP, "--tun-type", "gue"), "--tun-type gue lacks its port"),
    "a port without GUE": (
        ("--vip", VIP, "--tun-type", "gre", "--tun-port", "6080"),
        "--tun-port is for --tun-type gue",
    ),
    "port 0": (("--vip", VIP, "--tun-port", "0"), "Invalid value for '--tun-port'"),
    "port 65536": (("--vip", VIP, "--tun-port", "65536"), "Invalid value for '--tun-port'"),
    "too many ports": (
        ("--vip", VIP, *(word for port in range(9) for word in ("--tun-port", str(6080 + port)))),
        "there are 9 ports for GUE",
    ),
    "no such tunnel": (("--vip", VIP, "--tun-type", "vxlan"), "Invalid value for '--tun-type'"),
    "a director without a way": (("--vip", VIP, "--director", "203.0.113.1"), "there is no route to 203.0.113.1"),
    "no room for IPv6": (("--vip", VIP6, "--mss-overhead", "300"), "MTU 1500 is too small for the tunnel"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line_with_nothing_half_set_up(
    network: Network, arguments: tuple[str, ...], message: str
) -> None:
    before = network.snapshot()
    said = network.realserver("up", "--method", "tun", *arguments, code=2).splitlines()
    assert said[0].startswith(f"pylvs: {message}")
    assert len(said) == 1 or said[1].startswith("hint: ")
    assert len(said) <= 2
    assert network.snapshot() == before
    assert network.journals() == []


def test_dr_has_no_tunnel(network: Network) -> None:
    for options in (("--tun-type", "ipip"), ("--tun-port", "6080"), ("--mss-overhead", "20"), ("--director", RIP)):
        assert "has no tunnel" in network.realserver("up", "--method", "dr", "--vip", VIP, *options, code=2)


def test_a_failure_half_way_undoes_the_rest(network: Network) -> None:
    """`lo` takes no IPv6 address."""
    network.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=1")
    before = network.snapshot()
    done = network.run(*node.PYLVS, "realserver", "up", "--method", "tun", "--vip", VIP, "--vip", VIP6)
    assert done.returncode == 1
    assert done.stderr.startswith("pylvs: ")
    assert "Traceback" not in done.stderr
    assert network.snapshot() == before
    assert network.journals() == []


_AS_NOBODY = """
import os, sys
from pylvs.__main__ import main
from pylvs.cli import realserver
os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def test_nobody_but_root(network: Network) -> None:
    for words in (("up", "--method", "dr", "--vip", VIP), ("down",), ("status",)):
        done = network.run(sys.executable, "-c", _AS_NOBODY, "realserver", *words)
        assert "needs root" in done.stderr
        assert done.returncode not in {0, 3}
