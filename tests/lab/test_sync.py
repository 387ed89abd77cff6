"""Two directors with the sync daemon between them: connections outlive the director that opened them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.failover import CIP, PORT, RIPS, Failover, ask

pytestmark = pytest.mark.root

_SECONDS = 30.0
_START = ("ipvsadm", "--start-daemon")
_ON = ("--mcast-interface", "front", "--syncid", "7")


@pytest.fixture(scope="module")
def directors() -> Iterator[Failover]:
    """Both with the same rules; a is the master, b the backup."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it builds network namespaces")
    network = Failover()
    try:
        for director in ("a", "b"):
            network.pylvs(director, "ipvsadm", "-R", stdin=network.rules())
        yield network
    finally:
        network.close()


def eventually(what: Callable[[], bool]) -> bool:
    """Whether it comes true in the end; how soon is not tested."""
    deadline = time.monotonic() + _SECONDS
    while not (there := what()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return there


def start(network: Failover, director: str, role: str) -> None:
    assert network.pylvs(director, *_START, role, *_ON).returncode == 0


def state(network: Failover, director: str, port: int) -> tuple[str, str] | None:
    """Of the client's connection from this port: its state and its server."""
    found = [line for line in network.connections(director) if line[3] == f"{CIP}:{port}"]
    return (found[0][2], found[0][5]) if found else None


def process_of(role: str, listed: str) -> int:
    """The daemon's, by its file."""
    for path in Path("/run/pylvs").glob(f"netns-*.sync-{role}"):
        pid, daemon = json.loads(path.read_text())
        if f"syncid={json.loads(daemon)['sync_id']}," in listed and Path(f"/proc/{pid}").exists():
            return int(pid)
    raise AssertionError(f"no {role}")


@pytest.fixture
def synchronised(directors: Failover) -> Iterator[Failover]:
    start(directors, "b", "backup")
    start(directors, "a", "master")
    yield directors
    directors.give_vip_to("a")
    for director, role in (("a", "master"), ("b", "backup")):
        directors.pylvs(director, "ipvsadm", "--stop-daemon", role)


@pytest.mark.parametrize("method", ["nat", "dr"])
def test_a_connection_survives_its_director(synchronised: Failover, method: str) -> None:
    with synchronised.connect(method) as first, synchronised.connect(method) as second:
        before = {one: ask(one) for one in (first, second)}
        assert sorted(before.values()) == sorted(RIPS[method])
        for one, rip in before.items():
            port = one.getsockname()[1]
            there = ("ESTABLISHED", f"{rip}:{PORT[method]}")
            assert eventually(lambda port=port, there=there: state(synchronised, "b", port) == there)  # type: ignore[misc]
        synchronised.give_vip_to("b")
        for _ in range(3):
            assert {one: ask(one) for one in (first, second)} == before
        synchronised.give_vip_to("a")
        assert {one: ask(one) for one in (first, second)} == before


def test_without_the_backup_a_connection_does_not_survive(directors: Failover) -> None:
    """What the daemons do is what made the difference."""
    with directors.connect("nat") as connection:
        assert ask(connection) in RIPS["nat"]
        directors.give_vip_to("b")
        connection.settimeout(2)
        with pytest.raises((ConnectionError, TimeoutError)):
            ask(connection)
        directors.give_vip_to("a")


def test_the_backup_learns_that_a_connection_closes(synchronised: Failover) -> None:
    with synchronised.connect("nat") as connection:
        ask(connection)
        port = connection.getsockname()[1]
        assert eventually(lambda: (state(synchronised, "b", port) or ("",))[0] == "ESTABLISHED")
    assert eventually(lambda: (state(synchronised, "b", port) or ("",))[0] in {"TIME_WAIT", "FIN_WAIT", "CLOSE_WAIT"})


def test_a_master_that_starts_tells_of_what_is_there(directors: Failover) -> None:
    with directors.connect("dr") as connection:
        rip = ask(connection)
        start(directors, "b", "backup")
        start(directors, "a", "master")
        port = connection.getsockname()[1]
        assert eventually(lambda: state(directors, "b", port) == ("ESTABLISHED", f"{rip}:{PORT['dr']}"))
    for director, role in (("a", "master"), ("b", "backup")):
        assert directors.pylvs(director, "ipvsadm", "--stop-daemon", role).returncode == 0


def test_another_sync_id_is_not_listened_to(directors: Failover) -> None:
    directors.pylvs("b", *_START, "backup", "--mcast-interface", "front", "--syncid", "8")
    start(directors, "a", "master")
    with directors.connect("nat") as other:
        ask(other)
        time.sleep(3)  # the master looks every second: it has told of this one, and nobody has listened
        directors.pylvs("b", "ipvsadm", "--stop-daemon", "backup")
        start(directors, "b", "backup")
        with directors.connect("nat") as connection:
            ask(connection)
            port = connection.getsockname()[1]
            assert eventually(lambda: state(directors, "b", port) is not None)
            assert state(directors, "b", other.getsockname()[1]) is None
    for director, role in (("a", "master"), ("b", "backup")):
        directors.pylvs(director, "ipvsadm", "--stop-daemon", role)


def test_daemons_are_listed_and_refused_as_by_ipvsadm(synchronised: Failover) -> None:
    listed = synchronised.pylvs("a", "ipvsadm", "-L", "--daemon").stdout
    assert listed == ("master sync daemon (mcast=front, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n")
    again = synchronised.pylvs("a", *_START, "master", *_ON)
    assert (again.returncode, again.stderr) == (255, "Daemon has already run\n")
    nowhere = synchronised.pylvs("a", *_START, "backup", "--mcast-interface", "nosuch")
    assert (nowhere.returncode, nowhere.stderr) == (255, "No such device\n")
    missing = synchronised.pylvs("a", "ipvsadm", "--stop-daemon", "backup")
    assert (missing.returncode, missing.stderr) == (255, "No daemon is running\n")


def test_one_that_was_killed_is_said_to_have_died_and_starts_again(directors: Failover) -> None:
    directors.pylvs("a", *_START, "master", "--mcast-interface", "front", "--syncid", "201")
    listed = directors.pylvs("a", "ipvsadm", "-L", "--daemon").stdout
    os.kill(process_of("master", listed), signal.SIGKILL)
    assert eventually(lambda: directors.pylvs("a", "ipvsadm", "-L", "--daemon").stdout == "")
    told = directors.pylvs("a", "ipvsadm", "-L", "--daemon")
    assert told.stderr == "the master sync daemon has died; start it again: --start-daemon master\n"
    with directors.connect("nat") as connection:
        assert ask(connection) in RIPS["nat"], "no traffic depends on it"
    assert directors.pylvs("a", *_START, "master", *_ON).returncode == 0
    assert directors.pylvs("a", "ipvsadm", "--stop-daemon", "master").returncode == 0
    assert directors.pylvs("a", "ipvsadm", "-L", "--daemon").stderr == ""


def test_a_group_of_ipv6_does_as_well(directors: Failover) -> None:
    group = ("--mcast-interface", "front", "--mcast-group", "ff05::81", "--mcast-port", "9000", "--mcast-ttl", "3")
    directors.pylvs("b", *_START, "backup", *group)
    directors.pylvs("a", *_START, "master", *group)
    assert directors.pylvs("a", "ipvsadm", "-L", "--daemon").stdout == (
        "master sync daemon (mcast=front, syncid=0, maxlen=1452, group=ff05::81, port=9000, ttl=3)\n"
    )
    with directors.connect("nat") as connection:
        ask(connection)
        port = connection.getsockname()[1]
        assert eventually(lambda: state(directors, "b", port) is not None)
    for director, role in (("a", "master"), ("b", "backup")):
        directors.pylvs(director, "ipvsadm", "--stop-daemon", role)


def test_detach_ends_it(directors: Failover) -> None:
    """Last: b has no director then."""
    start(directors, "b", "backup")
    listed = directors.pylvs("b", "ipvsadm", "-L", "--daemon").stdout
    process = process_of("backup", listed)
    directors.pylvs("b", "detach")
    assert eventually(lambda: not Path(f"/proc/{process}").exists() or "Z" in _status(process))
    assert directors.pylvs("b", "ipvsadm", "-L", "--daemon").stdout == ""


def _status(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
