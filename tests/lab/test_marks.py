"""Firewall marks: set by real iptables and nft rules, balanced by the director, and what that changes on its host."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from pylvs.lab import namespace, node
from pylvs.lab.topology import Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import ask, connect, drops, fetch, ipvsadm, udp
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
IPTABLES = "{} -t mangle {} PREROUTING -d {} -p tcp --dport {} -j MARK --set-mark {}"
NFT = "add table ip marks; add chain ip marks prerouting {{ type filter hook prerouting priority mangle; }};"
NFT_RULE = "add rule ip marks prerouting ip daddr {} tcp dport {} meta mark set {}"
MARKERS = ("iptables-nft", "iptables-legacy", "nft")
MASQ_OR_ROUTE = {"nat": "-m", "dr": "-g"}
CHANGED = ("ip -d rule", "ip -6 -d rule", "ip route show table all", "ip -6 route show table all", "ip -d link")
"""All that a mark service may change on a host."""
KILLED_AT = """
import os, signal, sys
from pylvs.director.ebpf import mark
carry_out, left = mark._carry_out, int(sys.argv.pop(1))
def step(*arguments):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    carry_out(*arguments)
mark._carry_out = step
from pylvs.__main__ import main
sys.exit(main())
"""
"""pylvs, killed before one of its changes to the policy rules."""


@pytest.fixture(scope="module", params=["nat", "dr"])
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    built = LabUnderTest(Lab(f"marks-{os.getpid()}-{request.param}", ForwardingMethod(request.param), service=False))
    yield built
    built.down()


@pytest.fixture(scope="module")
def nat() -> Iterator[LabUnderTest]:
    asked = Lab(f"marks-{os.getpid()}", ForwardingMethod.NAT, service=False, families=(4, 6))
    built = LabUnderTest(asked)
    yield built
    built.down()


@pytest.fixture(autouse=True)
def _without_services(request: pytest.FixtureRequest) -> None:
    for name in {"up", "nat"} & set(request.fixturenames):
        lab: LabUnderTest = request.getfixturevalue(name)
        ipvsadm(lab, "-C")
        for command in ("nft flush ruleset", "iptables-legacy -t mangle -F", "ip6tables-legacy -t mangle -F"):
            on_director(lab, command)


def on_director(lab: LabUnderTest, command: str) -> str:
    done = lab.exec("director", *command.split())
    assert (done.returncode, done.stderr.replace("# Warning: iptables-legacy tables present", "")[:1]) in {
        (0, ""),
        (0, ","),
    }, done
    return done.stdout


def set_mark(lab: LabUnderTest, marker: str, port: int, mark: int) -> None:
    if marker == "nft":
        done = lab.exec("director", "nft", NFT.format() + NFT_RULE.format(lab.vip, port, mark))
        assert done.returncode == 0, done.stderr
    else:
        on_director(lab, IPTABLES.format(marker, "-A", lab.vip, port, mark))


def serve(lab: LabUnderTest, mark: int, port: str = "", options: str = "") -> None:
    """Round robin over both servers; without a port a packet keeps its own."""
    ipvsadm(lab, f"-A -f {mark} -s rr{options}")
    for rip in reversed(lab.rips):
        ipvsadm(lab, f"-a -f {mark} -r {rip}{port} {MASQ_OR_ROUTE[lab.topology.lab.method]}")


def host(lab: LabUnderTest) -> dict[str, str]:
    return {command: on_director(lab, command) for command in CHANGED}


def totals(lab: LabUnderTest) -> dict[str, int]:
    """Connections by service: `FWM 10` or `TCP address:port`."""
    lines = [line.split() for line in ipvsadm(lab, "-Ln --stats").splitlines()[3:]]
    return {" ".join(words[:2]): int(words[2]) for words in lines if words[0] != "->"}


def echoed(lab: LabUnderTest, where: str = "client", source: str = "") -> bool:
    """Whether the VIP answers to ICMP."""
    with namespace.inside(lab.namespace(where)), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as probe:
        probe.settimeout(5)
        probe.bind((source, 0))
        probe.sendto(bytes([8, 0, *struct.pack("!H", 0xFFFF - 0x0807), 0, 7, 0, 0]), (lab.vip, 0))
        while True:
            try:
                packet, (sender, _) = probe.recvfrom(2048)
            except TimeoutError:
                return False
            if sender == lab.vip and packet[20] == 0:
                return True


@pytest.mark.parametrize("marker", MARKERS)
def test_marked_packets_are_balanced(up: LabUnderTest, marker: str) -> None:
    """The example of the tutorials: `-f 10`, and whatever carries the mark belongs to the service."""
    serve(up, 10)
    set_mark(up, marker, 80, 10)
    answers = [fetch(up) for _ in range(6)]
    assert answers == [answers[0], answers[1]] * 3
    assert set(answers) == set(up.rips)
    assert totals(up) == {"FWM 10": 6}
    listed = ipvsadm(up, "-Lnc")
    assert listed.count(f"{up.vip}:80 ") == listed.count("TCP ") >= 6


def test_a_connection_stays_where_it_is(up: LabUnderTest) -> None:
    """Its later packets need neither the mark nor the device, and new programs are as good as the old."""
    serve(up, 10)
    set_mark(up, "iptables-nft", 80, 10)
    with connect(up) as held:
        mine = ask(held)
        on_director(up, "iptables -t mangle -F")
        assert ask(held) == mine
        assert up.pylvs("upgrade").returncode == 0
        assert ask(held) == mine
        set_mark(up, "iptables-nft", 80, 10)
        assert {fetch(up), fetch(up)} == set(up.rips)
        assert ask(held) == mine


def on_443_too(lab: LabUnderTest) -> None:
    for server in ("rs1", "rs2"):
        redirect = "-t nat -A PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 80"
        assert lab.exec(server, "iptables", *redirect.split()).returncode == 0


def test_a_group_of_ports(up: LabUnderTest) -> None:
    """Without persistence each connection is scheduled by itself, whichever port it is for."""
    on_443_too(up)
    serve(up, 10)
    for port in (80, 443):
        set_mark(up, "iptables-nft", port, 10)
    answers = [fetch(up, port) for port in (80, 443, 80, 443)]
    assert answers == [answers[0], answers[1]] * 2
    assert len(set(answers)) == 2
    assert totals(up) == {"FWM 10": 4}


def test_a_persistent_group_of_ports(up: LabUnderTest) -> None:
    """A client's web server is the same for http and https."""
    on_443_too(up)
    serve(up, 10, options=" -p 300")
    for port in (80, 443):
        set_mark(up, "iptables-nft", port, 10)
    assert len({fetch(up, port) for port in (80, 443, 80, 443)}) == 1


def test_a_mapped_port(nat: LabUnderTest) -> None:
    serve(nat, 10, ":8080")
    set_mark(nat, "nft", 4711, 10)
    assert {fetch(nat, 4711), fetch(nat, 4711)} == set(nat.rips)


def test_each_mark_has_its_own_service(nat: LabUnderTest) -> None:
    for mark, rip in zip((10, 4294967295), nat.rips, strict=True):
        ipvsadm(nat, f"-A -f {mark} -s rr")
        ipvsadm(nat, f"-a -f {mark} -r {rip}:80 -m")
    set_mark(nat, "iptables-nft", 80, 10)
    set_mark(nat, "iptables-nft", 8080, 4294967295)
    assert [fetch(nat, port) for port in (80, 8080, 80, 8080)] == nat.rips * 2
    ipvsadm(nat, "-D -f 10")
    assert fetch(nat, 8080) == nat.rips[1]


def test_what_no_service_wants_is_the_hosts_own(nat: LabUnderTest) -> None:
    """Everything for the VIP is marked: the director goes on answering to what can't be balanced, also under a strict
    rp_filter, and for its own programs.
    """
    serve(nat, 10, ":80")
    for chain, kind in (("prerouting", "filter"), ("output", "route")):
        rules = f"add table ip marks; add chain ip marks {chain} {{ type {kind} hook {chain} priority mangle; }};"
        rules += f"add rule ip marks {chain} ip daddr {nat.vip} meta mark set 10"
        assert nat.exec("director", "nft", rules).returncode == 0
    for strict in (0, 1, 2):
        on_director(nat, f"sysctl -qw net.ipv4.conf.all.rp_filter={strict}")
        assert echoed(nat)
        assert echoed(nat, "director")
        assert fetch(nat) in nat.rips
    on_director(nat, "sysctl -qw net.ipv4.conf.all.rp_filter=0")


def test_a_mark_without_a_service_changes_nothing(nat: LabUnderTest) -> None:
    serve(nat, 10, ":80")
    ipvsadm(nat, f"-A -t {nat.vip}:80 -s rr")
    ipvsadm(nat, f"-a -t {nat.vip}:80 -r {nat.rips[0]}:80 -m")
    set_mark(nat, "iptables-nft", 8080, 11)
    refused = nat.exec("client", "curl", "-sS", "-m", "5", f"http://{nat.vip}:8080/")
    assert refused.returncode == 7, "the host's own stack says that nobody listens there"
    assert fetch(nat) == nat.rips[0]
    assert totals(nat) == {f"TCP {nat.vip}:80": 1, "FWM 10": 0}


@pytest.mark.parametrize("marker", ["ip6tables-nft", "ip6tables-legacy", "nft"])
def test_ipv6(nat: LabUnderTest, marker: str) -> None:
    """The same mark of the other family is another service."""
    vip = nat.vips[1]
    serve(nat, 10, ":80")
    ipvsadm(nat, "-A -f 10 -6 -s rr")
    for server in reversed(nat.topology.servers):
        ipvsadm(nat, f"-a -f 10 -6 -r {server.address_of(6)} -m")
    if marker == "nft":
        rules = "add table ip6 marks; add chain ip6 marks c { type filter hook prerouting priority mangle; };"
        assert (
            nat.exec("director", "nft", f"{rules} add rule ip6 marks c ip6 daddr {vip} meta mark set 10").returncode
            == 0
        )
    else:
        on_director(nat, IPTABLES.format(marker, "-A", vip, 80, 10))
    answers = [fetch(nat, vip=vip) for _ in range(4)]
    assert answers == [answers[0], answers[1]] * 2
    assert set(answers) == set(nat.rips)
    assert "FWM  10 IPv6 rr" in ipvsadm(nat, "-Ln")
    assert echoed6(nat), "also where all that is for the VIP is marked"


def echoed6(lab: LabUnderTest) -> bool:
    kind = socket.IPPROTO_ICMPV6
    with namespace.inside(lab.namespace("client")), socket.socket(socket.AF_INET6, socket.SOCK_RAW, kind) as probe:
        probe.settimeout(5)
        probe.sendto(bytes([128, 0, 0, 0, 0, 7, 0, 1]), (lab.vips[1], 0))
        while True:
            try:
                packet, sender = probe.recvfrom(2048)
            except TimeoutError:
                return False
            if sender[0] == lab.vips[1] and packet[0] == 129:
                return True


@pytest.mark.parametrize("tracked", [False, True], ids=["as they come", "reassembled by conntrack"])
@pytest.mark.parametrize("address_too", [False, True], ids=["only marks", "the VIP has another service"])
def test_fragments(nat: LabUnderTest, tracked: bool, address_too: bool) -> None:
    """Only the first one of a datagram has the port, and so the mark."""
    serve(nat, 10, ":80")
    if address_too:
        ipvsadm(nat, f"-A -u {nat.vip}:53 -s rr")
    rules = NFT.format() + f"add rule ip marks prerouting ip daddr {nat.vip} udp dport 80 meta mark set 10"
    if tracked:
        rules = rules.replace("ip daddr", "ct state new,established,untracked ip daddr")
    assert nat.exec("director", "nft", rules).returncode == 0
    with udp(nat) as asking:
        for _ in range(3):
            asking.send(bytes(5000))
            assert asking.recv(2048).decode().removeprefix("hello ") in nat.rips


def test_no_server(nat: LabUnderTest) -> None:
    ipvsadm(nat, "-A -f 10 -s rr")
    set_mark(nat, "nft", 80, 10)
    before = drops(nat, "no_server")
    refused = nat.exec("client", "curl", "-sS", "-m", "5", f"http://{nat.vip}/")
    assert refused.returncode == 7, "told by ICMP that nobody listens there"
    assert drops(nat, "no_server") > before


def test_the_host_is_as_it_was(nat: LabUnderTest) -> None:
    on_director(nat, "sysctl -qw net.ipv6.conf.all.forwarding=1")
    before = host(nat)
    ipvsadm(nat, "-A -f 10 -s rr")
    first = host(nat)
    assert first["ip -d rule"] != before["ip -d rule"]
    assert "fwmark 0xa " in first["ip -d rule"]
    ipvsadm(nat, "-A -f 11 -s rr")
    ipvsadm(nat, "-D -f 11")
    assert host(nat) == first
    ipvsadm(nat, "-D -f 10")
    assert host(nat) == before
    ipvsadm(nat, "-A -f 10 -s rr")
    ipvsadm(nat, "-C")
    assert host(nat) == before
    nat.pylvs("ipvsadm", "-R", stdin="-A -f 10 -s rr\n-A -f 11 -s rr\n-A -f 12 -6 -s rr\n")
    rules = host(nat)
    assert all(f"fwmark {mark} " in rules["ip -d rule"] for mark in ("0xa", "0xb"))
    assert "fwmark 0xc " in rules["ip -6 -d rule"]
    assert "fwmark 0xc " not in rules["ip -d rule"]
    done = nat.pylvs("detach")
    assert (done.returncode, done.stderr) == (0, "")
    assert host(nat) == before


def test_others_rules_keep_their_places(nat: LabUnderTest) -> None:
    """Those that came before the first mark, and those that come later without a priority."""
    on_director(nat, "ip rule add fwmark 77 lookup 77 priority 50")
    ipvsadm(nat, "-A -f 10 -s rr")
    on_director(nat, "ip rule add not fwmark 51820 lookup 51820")
    on_director(nat, "ip route add unreachable default table 51820")
    try:
        assert echoed(nat, "director"), "what is for the host itself comes first"
        refused = nat.pylvs("ipvsadm", "-A", "-f", "11", "-s", "rr")
        assert refused.returncode != 0
        assert "in the way: 0: not from all fwmark 0xca6c lookup 51820" in refused.stderr
        assert ipvsadm(nat, "-Ln").count("FWM") == 1
        ipvsadm(nat, "-D -f 10")
        assert [line.partition(":")[2].split(" proto ")[0] for line in host(nat)["ip -d rule"].splitlines()[:3]] == [
            "\tfrom all lookup local",
            "\tnot from all fwmark 0xca6c lookup 51820",
            "\tfrom all fwmark 0x4d lookup 77",
        ]
        assert echoed(nat, "director")
    finally:
        on_director(nat, "ip rule del not fwmark 51820 lookup 51820")
        on_director(nat, "ip rule del fwmark 77 lookup 77")
        on_director(nat, "ip route del unreachable default table 51820")


@pytest.mark.parametrize(
    ("prepare", "undo", "said"),
    [
        ("ip rule add fwmark 10 lookup 100", "ip rule del fwmark 10", "mark 10 is routed by another rule already: 327"),
        ("ip rule add fwmark 2/0xf lookup 9", "ip rule del fwmark 2/0xf", "fwmark 0x2/0xf lookup 9"),
        ("sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1", "net.ipv4.ip_forward is 0"),
        (
            "sysctl -qw net.ipv6.conf.all.forwarding=0",
            "sysctl -qw net.ipv6.conf.all.forwarding=1",
            "all.forwarding is 0",
        ),
        ("ip -6 rule add fwmark 10 lookup 9", "ip -6 rule del fwmark 10 lookup 9", "mark 10 is routed by another"),
        ("ip link add pylvs0 type veth peer name other", "ip link del pylvs0", "pylvs0 was not made by pylvs"),
        ("ip rule del lookup local", "ip rule add lookup local priority 0 protocol kernel", "looks up the local table"),
        (
            "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.all.src_valid_mark=1",
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.all.src_valid_mark=0",
            "rp_filter=1 with src_valid_mark=1 drops every marked packet that comes in by eth0",
        ),
    ],
)
def test_a_mark_that_cannot_work_is_refused(nat: LabUnderTest, prepare: str, undo: str, said: str) -> None:
    """With one line and a hint, and nothing is half done."""
    mark = "18" if "/0xf" in prepare else "10 -6" if "6" in prepare else "10"
    on_director(nat, prepare)
    try:
        before = host(nat)
        refused = nat.pylvs("ipvsadm", "-A", "-f", *mark.split(), "-s", "rr")
        assert refused.returncode != 0
        assert said in refused.stderr
        assert len(refused.stderr.splitlines()) <= 2
        assert host(nat) == before
    finally:
        on_director(nat, undo)
    assert "FWM" not in ipvsadm(nat, "-Ln")
    ipvsadm(nat, f"-A -f {mark} -s rr")


def killed_at(lab: LabUnderTest, step: int, line: str) -> int:
    argv = node.on(lab.namespace("director"), *node.PYTHON, "-c", KILLED_AT, str(step), "ipvsadm", *line.split())
    return subprocess.run(argv, env=node.environment(), capture_output=True, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize("line", ["-A -f 11 -s rr", "-D -f 10", "-C"])
def test_a_killed_command_is_mended_by_the_next(nat: LabUnderTest, line: str) -> None:
    """At every moment the host is reachable."""
    step, ended = 0, False
    while not ended:
        ipvsadm(nat, "-A -f 10 -s rr")
        ended = killed_at(nat, step, line) == 0
        step += 1
        assert "from all lookup local proto kernel" in host(nat)["ip -d rule"]
        assert echoed(nat)
        ipvsadm(nat, "--set 900 120 300")
        services = ipvsadm(nat, "-Sn")
        marks = {f"{int(words.split()[0]):#x}" for words in services.split("-f ")[1:]}
        rules = host(nat)["ip -d rule"]
        assert {words.split()[0] for words in rules.split("fwmark ")[1:]} == marks
        assert rules.count("from all lookup local proto kernel") == 1
        assert ("pylvs0" in rules) == ("pylvs0" in host(nat)["ip -d link"]) == bool(marks)
        ipvsadm(nat, "-C")
        assert "118" not in host(nat)["ip -d rule"]
    assert step > 2


def test_a_device_that_was_deleted_comes_back(nat: LabUnderTest) -> None:
    serve(nat, 10, ":80")
    set_mark(nat, "nft", 80, 10)
    on_director(nat, "ip link del pylvs0")
    assert echoed(nat)
    assert nat.pylvs("attach").returncode == 0
    assert {fetch(nat), fetch(nat)} == set(nat.rips)
