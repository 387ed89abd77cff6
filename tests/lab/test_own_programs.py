"""Programs on the director itself: as clients of its services, and as real servers of NAT."""

from __future__ import annotations

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from pylvs.lab import namespace, node
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import ask_udp, connect, digest, download, drops, fetch, ipvsadm, udp, upload
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
NAT, FULLNAT = ForwardingMethod.NAT, ForwardingMethod.FULLNAT
MATRIX = [(NAT, Hook.TC), (NAT, Hook.XDP), (FULLNAT, Hook.TC)]
MEGABYTES_10 = 10**7
HERE = "director"
SETTINGS = ("net.ipv4.conf.lo.accept_local", "net.ipv4.conf.lo.rp_filter")
ECHO = """
import select, socket, sys
echoes = [socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_DGRAM) for own in sys.argv[1:]]
for echo, own in zip(echoes, sys.argv[1:]):
    echo.bind((own, 7))
print("ready", flush=True)
while True:
    for echo in select.select(echoes, [], [])[0]:
        echo.sendto(*echo.recvfrom(65535))
"""


@pytest.fixture(scope="module", params=MATRIX, ids=lambda row: f"{row[0]}-{row[1]}")
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    method, hook = request.param
    name = f"own-{os.getpid()}-{method}-{hook}"
    built = LabUnderTest(Lab(name, method, hook, families=(4, 6)))
    yield built
    built.down()


@pytest.fixture(params=[0, 1], ids=["IPv4", "IPv6"])
def vip(request: pytest.FixtureRequest, up: LabUnderTest) -> str:
    return up.vips[int(request.param)]


def service(vip: str, port: int = 80) -> str:
    return f"[{vip}]:{port}" if ":" in vip else f"{vip}:{port}"


def test_a_client_on_the_director_is_served(up: LabUnderTest, vip: str) -> None:
    answers = Counter(fetch(up, vip=vip, where=HERE) for _ in range(4))
    assert sorted(answers.values()) == [2, 2]
    listed = [line for line in ipvsadm(up, "-Lnc").splitlines() if vip in line]
    assert ["TIME_WAIT" in line for line in listed] == [True] * 4


@pytest.mark.parametrize("transfer", [download, upload])
def test_many_bytes(up: LabUnderTest, vip: str, transfer: Callable[[socket.socket, int], str]) -> None:
    with connect(up, vip=vip, where=HERE) as connection:
        assert transfer(connection, MEGABYTES_10) == digest(MEGABYTES_10)


def test_udp(up: LabUnderTest, vip: str) -> None:
    with udp(up, vip, where=HERE) as first, udp(up, vip, where=HERE) as second:
        assert len({ask_udp(first), ask_udp(second)}) == 2


def test_clients_outside_are_served_meanwhile(up: LabUnderTest, vip: str) -> None:
    assert len({fetch(up, vip=vip, where=where) for where in ("client", HERE, HERE, "client")}) == 2


def test_refused_at_once_where_there_is_no_server(up: LabUnderTest, vip: str) -> None:
    before = drops(up, "no_server")
    ipvsadm(up, f"-A -t {service(vip, 81)}")
    with pytest.raises(ConnectionRefusedError):
        connect(up, 81, vip=vip, where=HERE)
    # an error that comes while connect() still holds its socket is lost on the host's stack, and the next one counts
    assert drops(up, "no_server") - before in {1, 2}
    ipvsadm(up, f"-D -t {service(vip, 81)}")


# -- the director as a real server


@pytest.fixture(scope="module", params=[Hook.TC, Hook.XDP])
def serving(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    """A NAT lab whose only real server is the director, which listens on 8080 and echoes datagrams on 7."""
    lab = LabUnderTest(Lab(f"serving-{os.getpid()}-{request.param}", NAT, request.param, families=(4, 6)))
    server = [*node.PYTHON, "-m", "pylvs.lab.server", "--lab", lab.name, "--node", HERE, "--rip", "192.0.2.1"]
    echo = [*node.PYTHON, "-c", ECHO, *own_addresses(lab)]
    with namespace.inside(lab.namespace(HERE)):
        programs = [subprocess.Popen(argv, env=node.environment(), stdout=subprocess.PIPE) for argv in (server, echo)]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
    ipvsadm(lab, "-C")
    for vip, dip in zip(lab.vips, own_addresses(lab), strict=True):
        ipvsadm(lab, f"-A -t {service(vip)} -s rr")
        ipvsadm(lab, f"-a -t {service(vip)} -r {service(dip, 8080)} -m")
        ipvsadm(lab, f"-A -u {service(vip, 77)} -s rr")
        ipvsadm(lab, f"-a -u {service(vip, 77)} -r {service(dip, 7)} -m")
    yield lab
    for program in programs:
        program.kill()
        program.wait()
        assert program.stdout is not None
        program.stdout.close()
    lab.down()


def own_addresses(lab: LabUnderTest) -> list[str]:
    """The director's, one of each family, that are no VIPs."""
    shown = lab.exec(HERE, "ip", "-o", "address", "show", "dev", "eth0", "scope", "global").stdout
    found = [line.split()[3].partition("/")[0] for line in shown.splitlines()]
    return [next(one for one in found if (":" in one) == (":" in vip) and one != vip) for vip in lab.vips]


@pytest.mark.parametrize("where", ["client", HERE])
@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_the_director_is_a_server(serving: LabUnderTest, where: str, family: int) -> None:
    vip = serving.vips[family]
    with connect(serving, vip=vip, where=where) as connection:
        source = connection.getsockname()[1]
        assert download(connection, MEGABYTES_10) == digest(MEGABYTES_10)
    with connect(serving, vip=vip, where=where) as connection:
        assert upload(connection, MEGABYTES_10) == digest(MEGABYTES_10)
    (listed,) = (line for line in ipvsadm(serving, "-Lnc").splitlines() if f":{source} " in line)
    assert "TIME_WAIT" in listed
    assert listed.rstrip().endswith(":8080")


@pytest.mark.parametrize("where", ["client", HERE])
@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("size", [1, 5000])
def test_datagrams_and_their_fragments(serving: LabUnderTest, where: str, family: int, size: int) -> None:
    vip = serving.vips[family]
    with namespace.inside(serving.namespace(where)):
        asking = socket.socket(socket.AF_INET6 if family else socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.settimeout(10)
        asking.connect((vip, 77))
        said = os.urandom(size)
        asking.send(said)
        assert asking.recv(65535) == said


def test_nobody_outside_reaches_127_0_0_1(serving: LabUnderTest) -> None:
    before = drops(serving, "no_route")
    ipvsadm(serving, f"-A -t {serving.vip}:90")
    ipvsadm(serving, f"-a -t {serving.vip}:90 -r 127.0.0.1:8080 -m")
    assert fetch(serving, 90, where=HERE) == "192.0.2.1"
    with pytest.raises(OSError, match="No route to host"):
        connect(serving, 90)
    assert drops(serving, "no_route") == before + 1


# -- what it takes on the director


def egress(lab: LabUnderTest) -> str:
    return lab.exec(HERE, "tc", "filter", "show", "dev", "eth0", "egress").stdout


def settings(lab: LabUnderTest) -> list[str]:
    return lab.exec(HERE, "sysctl", "-n", *SETTINGS).stdout.split()


def test_what_goes_out_is_looked_at_only_while_the_director_is_a_server(lab: Callable[..., LabUnderTest]) -> None:
    nat = lab("nat")
    (own,) = own_addresses(nat)
    assert egress(nat) == ""
    for line in ("-A -t 192.0.2.9:80", f"-a -t 192.0.2.9:80 -r {own}:80 -g"):
        ipvsadm(nat, line)
    assert egress(nat) == "", "its answers are the client's already"
    ipvsadm(nat, f"-e -t 192.0.2.9:80 -r {own}:80 -m")
    assert "director_answer" in egress(nat)
    assert nat.pylvs("upgrade").returncode == 0
    assert "director_answer" in egress(nat)
    ipvsadm(nat, f"-d -t 192.0.2.9:80 -r {own}:80")
    assert egress(nat) == ""
    ipvsadm(nat, f"-a -t 192.0.2.9:80 -r {own}:80 -m")
    assert nat.pylvs("detach").returncode == 0
    assert egress(nat) == ""


def test_the_loopback_interface_is_given_back_as_it_was(lab: Callable[..., LabUnderTest]) -> None:
    nat = lab("nat")
    assert settings(nat) == ["1", "2"]
    nat.pylvs("detach")
    assert settings(nat) == ["0", "0"]
    assert "clsact" not in nat.exec(HERE, "tc", "qdisc", "show", "dev", "lo").stdout
    nat.exec(HERE, "sysctl", "-w", "net.ipv4.conf.lo.rp_filter=1")
    nat.pylvs("attach", "eth0")
    assert settings(nat) == ["1", "2"]
    nat.exec(HERE, "sysctl", "-w", "net.ipv4.conf.lo.accept_local=0")
    nat.pylvs("upgrade")
    nat.pylvs("detach")
    assert settings(nat) == ["0", "1"], "what somebody else has changed stays"
