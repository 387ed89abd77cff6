"""Real traffic through both forwarding methods on both hooks, while no process is left on the director."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import (
    ask,
    ask_udp,
    connect,
    digest,
    download,
    drops,
    fetch,
    ipvsadm,
    processes,
    rows,
    udp,
    upload,
)
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
MATRIX = [(method, hook) for method in ("nat", "dr") for hook in ("tc", "xdp")]
MEGABYTES_10, MEGABYTES_100 = 10**7, 10**8
UPGRADES = 5  # on each row of the matrix
MASQ_OR_ROUTE = {"nat": "-m", "dr": "-g"}


@pytest.fixture(scope="module", params=MATRIX, ids="-".join)
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    method, hook = request.param
    built = LabUnderTest(Lab(f"traffic-{os.getpid()}-{method}-{hook}", ForwardingMethod(method), Hook(hook)))
    yield built
    built.down()


def flag(lab: LabUnderTest) -> str:
    """The forwarding method as ipvsadm takes it."""
    return MASQ_OR_ROUTE[lab.topology.lab.method]


@pytest.fixture(scope="module")
def expected_digest() -> str:
    return digest(MEGABYTES_100)


def test_no_process_stays_in_the_directors_namespace(up: LabUnderTest) -> None:
    assert processes(up) == []


def test_offloads_are_as_the_hook_needs_them(up: LabUnderTest) -> None:
    wanted = "off" if up.topology.lab.hook is Hook.XDP else "on"
    for where in ("client", "director", "rs1", "rs2"):
        asked = up.exec(where, "ethtool", "-k", "eth0")
        assert asked.returncode == 0, asked.stderr
        lines = (line.partition(":") for line in asked.stdout.splitlines()[1:])
        features = {name.strip(): value.split()[0] for name, _, value in lines}
        for name in ("tx-tcp-segmentation", "generic-segmentation-offload", "tx-checksumming"):
            assert (where, name, features[name]) == (where, name, wanted)


def test_round_robin_alternates(up: LabUnderTest) -> None:
    answers = [fetch(up) for _ in range(20)]
    first = up.rips.index(answers[0])
    assert answers == [up.rips[(first + turn) % 2] for turn in range(20)]


def test_udp_alternates_by_client_port_and_stays(up: LabUnderTest) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(udp(up)) for _ in range(6)]
        answers = [ask_udp(one) for one in sockets]
        assert Counter(answers) == dict.fromkeys(up.rips, 3)
        assert [ask_udp(one) for one in sockets] == answers


@pytest.mark.slow
@pytest.mark.parametrize("transfer", [download, upload])
def test_100_megabytes_arrive_as_they_were_sent(
    up: LabUnderTest, transfer: Callable[[socket.socket, int], str], expected_digest: str
) -> None:
    with connect(up) as connection:
        assert transfer(connection, MEGABYTES_100) == expected_digest


def test_200_connections_at_once(up: LabUnderTest) -> None:
    before = rows(up)
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(up)) for _ in range(200)]
        listed = rows(up)
        assert [listed[rip].active - before[rip].active for rip in up.rips] == [100, 100]
        answers = [ask(one) for one in connections]
        assert Counter(answers) == dict.fromkeys(up.rips, 100)
        assert [ask(one) for one in reversed(connections)] == answers[::-1]


def test_an_established_connection_stays_on_its_server_whatever_is_edited(up: LabUnderTest) -> None:
    service = f"-t {up.vip}:80"
    other = {up.rips[0]: up.rips[1], up.rips[1]: up.rips[0]}
    with connect(up) as held:
        mine = ask(held)
        edits = (
            *(f"-e {service} -r {rip}:80 {flag(up)} -w 0" for rip in up.rips),
            f"-E {service} -s wlc",
            f"-d {service} -r {other[mine]}:80",
            f"-a {service} -r {other[mine]}:80 {flag(up)} -w 5",
            f"-E {service} -s rr",
            f"-e {service} -r {other[mine]}:80 {flag(up)} -w 1",
        )
        for edit in edits:
            ipvsadm(up, edit)
            assert ask(held) == mine, edit
        assert fetch(up) == fetch(up) == other[mine], "the one with a weight"
    ipvsadm(up, f"-e {service} -r {mine}:80 {flag(up)} -w 1")
    assert {fetch(up), fetch(up)} == set(up.rips)


def test_without_weights_nothing_new_gets_in(up: LabUnderTest) -> None:
    service = f"-t {up.vip}:80"
    for rip in up.rips:
        ipvsadm(up, f"-e {service} -r {rip}:80 {flag(up)} -w 0")
    before = drops(up, "no_server")
    assert up.exec("client", "curl", "-sS", "-m", "9", f"http://{up.vip}/").returncode == 7, "refused, as by the kernel"
    assert drops(up, "no_server") > before
    for rip in up.rips:
        ipvsadm(up, f"-e {service} -r {rip}:80 {flag(up)} -w 1")
    assert {fetch(up), fetch(up)} == set(up.rips)


def test_a_deleted_servers_connection_is_dropped_by_name_and_revived(up: LabUnderTest) -> None:
    service = f"-t {up.vip}:80"
    with connect(up) as held:
        mine = ask(held)
        ipvsadm(up, f"-d {service} -r {mine}:80")
        before = drops(up, "server_deleted")
        held.settimeout(1)
        with pytest.raises(TimeoutError):
            ask(held)
        assert drops(up, "server_deleted") > before
        ipvsadm(up, f"-a {service} -r {mine}:80 {flag(up)}")
        held.settimeout(20)
        answer = b""
        while not answer.endswith(f"hello {mine}\n".encode()):  # TCP sends the lost request again
            answer += held.recv(4096)
        assert ask(held) == mine


class Visitors:
    """A transfer after the other over one connection, and new connections all the time, in two threads."""

    def __init__(self, lab: LabUnderTest) -> None:
        self.digests: list[str] = []
        self.lost: list[str] = []
        self.served: Counter[str] = Counter()
        self._lab = lab
        self._gone = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(work,)) for work in (self._transfer, self._arrive)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gone.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, AssertionError) as error:
            self.lost.append(f"{work.__name__}: {error!r}")

    def _transfer(self) -> None:
        with connect(self._lab) as connection:
            while not self._gone.is_set():
                self.digests.append(download(connection, MEGABYTES_10))

    def _arrive(self) -> None:
        while not self._gone.is_set():
            self.served[fetch(self._lab)] += 1
            self._gone.wait(0.005)


@pytest.mark.slow
def test_no_connection_is_lost_in_upgrades(up: LabUnderTest) -> None:
    with Visitors(up) as visitors:
        for _ in range(UPGRADES):
            upgraded = up.pylvs("upgrade")
            assert (upgraded.returncode, upgraded.stderr) == (0, "")
    assert visitors.lost == []
    assert set(visitors.digests) == {digest(MEGABYTES_10)}
    assert set(visitors.served) == set(up.rips)
    assert abs(visitors.served[up.rips[0]] - visitors.served[up.rips[1]]) <= 2
    assert processes(up) == []
