"""`pylvs watch`, `pylvs sysctl` and `pylvs drops` on a director that serves real clients."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pylvs.lab import node
from pylvs.lab.topology import Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import ask, connect, fetch, ipvsadm, processes
from tests.lab.conftest import LabFactory, LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
READY = "watching; Ctrl-C ends it\n"


@contextmanager
def watching(lab: LabUnderTest, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A `pylvs watch` on the director that is at work; killed if it outlives the block."""
    argv = node.on(lab.namespace("director"), *node.PYLVS, "watch", *options)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, env=node.environment()) as command:
        try:
            assert command.stderr
            assert command.stderr.readline() == READY
            yield command
        finally:
            command.kill()


def rest(command: subprocess.Popen[str]) -> tuple[list[str], str, int]:
    """What it still prints until it ends by itself."""
    out, err = command.communicate()
    return out.splitlines(), err, command.returncode


def events(command: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Of a watch that ends by its --count."""
    lines, err, code = rest(command)
    assert (err, code) == ("", 0)
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("method", ["nat", "dr"])
def test_every_new_connection_is_shown_with_its_server(method: str, hook: str, lab: LabFactory) -> None:
    up = lab(method, hook=hook)
    with watching(up, "--json", "--count", "4", "--only", "scheduled") as command:
        served = [fetch(up) for _ in range(4)]
        shown = events(command)
    assert [event["server"] for event in shown] == [f"{rip}:80" for rip in served]
    for event in shown:
        assert (event["event"], event["protocol"], event["virtual"]) == ("scheduled", "tcp", f"{up.vip}:80")
        assert (event["method"], event["state"], event["reason"]) == (method, "SYN_RECV", None)
    assert len({event["client"] for event in shown}) == 4
    assert processes(up) == []


@pytest.fixture(scope="module")
def up() -> Iterator[LabUnderTest]:
    """For what leaves it as it was."""
    built = LabUnderTest(Lab(f"watch-{os.getpid()}", ForwardingMethod.NAT))
    yield built
    built.down()


def test_a_drop_is_shown_and_explained(up: LabUnderTest) -> None:
    ipvsadm(up, f"-A -t {up.vip}:81 -s rr")
    with watching(up, "--count", "1", "--only", "dropped", "--service", ":81") as command:
        assert up.exec("client", "curl", "-sS", "-m", "1", f"http://{up.vip}:81/").returncode == 7, "refused"
        (line,), err, code = rest(command)
    assert (err, code) == ("", 0)
    assert " dropped   tcp " in line
    assert line.endswith(f" > {up.vip}:81 no_server")
    ipvsadm(up, f"-D -t {up.vip}:81")
    (told,) = up.pylvs("drops").stdout.splitlines()
    assert told.startswith("no_server ")
    assert "add one or raise a weight" in told
    everything = json.loads(up.pylvs("drops", "--json").stdout)
    assert everything["no_server"]["count"] == int(told.split()[1])
    assert len(up.pylvs("drops", "--all").stdout.splitlines()) == len(everything)


def test_a_connection_that_expires_is_shown(up: LabUnderTest) -> None:
    ipvsadm(up, "--set 1 1 1")
    with connect(up) as idle, watching(up, "--json", "--count", "1", "--only", "expired") as command:
        rip = ask(idle)
        (event,) = events(command)
        client = ":".join(map(str, idle.getsockname()))
    ipvsadm(up, "--set 900 120 300")
    assert event == event | {"client": client, "server": f"{rip}:80", "state": "ESTABLISHED", "method": "nat"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_well(number: signal.Signals, up: LabUnderTest) -> None:
    with watching(up) as command:
        command.send_signal(number)
        assert rest(command) == ([], "", 0)


def test_there_is_one_watcher_at_a_time_even_after_a_kill(up: LabUnderTest) -> None:
    with watching(up) as first:
        second = up.pylvs("watch")
        assert second.returncode == 1
        assert second.stderr.startswith("pylvs: another `pylvs watch` is at work on this director")
        assert len(second.stderr.splitlines()) == 2, "one line, one hint"
        first.kill()
        first.wait()
        with watching(up, "--count", "1") as third:
            fetch(up)
            assert len(rest(third)[0]) == 1


def test_an_upgrade_keeps_the_watch_and_the_knobs(up: LabUnderTest) -> None:
    changed = up.pylvs("sysctl", "drop_entry=1", "sync_threshold=7 90", "am_droprate=-3")
    assert changed.stdout.splitlines() == [
        "net.ipv4.vs.drop_entry = 1",
        "net.ipv4.vs.sync_threshold = 7\t90",
        "net.ipv4.vs.am_droprate = -3",
    ]
    with watching(up, "--json", "--count", "2", "--only", "scheduled") as command:
        served = [fetch(up)]
        assert up.pylvs("upgrade").returncode == 0
        served.append(fetch(up))
        assert [event["server"] for event in events(command)] == [f"{rip}:80" for rip in served]
    shown = up.pylvs("sysctl", "drop_entry", "sync_threshold", "am_droprate")
    assert shown.stdout == changed.stdout
    up.pylvs("sysctl", "drop_entry=0", "sync_threshold=3 50", "am_droprate=10")


def test_a_reader_that_goes_away_ends_it(up: LabUnderTest) -> None:
    with watching(up) as command:
        assert command.stdout
        command.stdout.close()
        fetch(up)
        assert command.wait()
        assert command.stderr
        assert command.stderr.read() == ""


def test_without_a_director() -> None:
    bare = LabUnderTest(Lab(f"watch-bare-{os.getpid()}", ForwardingMethod.NAT, service=False))
    try:
        for command in ("watch", "drops"):
            done = bare.pylvs(command)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("pylvs: no director runs in this network namespace\nhint: ")
        assert bare.pylvs("sysctl", "drop_entry").stdout == "net.ipv4.vs.drop_entry = 0\n", "the default"
        assert bare.pylvs("sysctl", "drop_entry=9").returncode == 2
        assert "clsact" not in bare.exec("director", "tc", "qdisc", "show").stdout, "nothing loaded for a refusal"
        assert bare.pylvs("sysctl", "drop_entry=1").returncode == 0
        assert bare.pylvs("sysctl", "drop_entry").stdout == "net.ipv4.vs.drop_entry = 1\n"
        with watching(bare) as watch:
            assert bare.pylvs("detach").returncode == 0
            assert rest(watch) == ([], "pylvs: the director was taken away (pylvs detach)\n", 1)
        assert bare.pylvs("sysctl", "drop_entry").stdout == "net.ipv4.vs.drop_entry = 0\n"
    finally:
        bare.down()
