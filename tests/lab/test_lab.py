"""The lab itself: what is built, what is left behind, and what a crash can do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pylvs.lab import command, namespace, node, state
from pylvs.lab.capture import capture
from pylvs.lab.errors import LabBusy, LabError, LabExists, NoSuchLab
from pylvs.lab.hop import journey
from pylvs.lab.service import host, url
from pylvs.lab.status import status
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from pylvs.views.hop import where

if TYPE_CHECKING:
    from tests.lab.conftest import LabFactory

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]


def pylvs(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*node.PYLVS, *arguments],
        env=node.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def remains(name: str) -> tuple[set[str], list[str], bool]:
    """The namespaces, server processes and directory of a lab."""
    words = f"\0--lab\0{name}\0".encode()
    processes = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and words in (entry / "cmdline").read_bytes():
                processes.append(entry.name)
        except OSError:
            continue
    return namespace.labs().get(name, set()), processes, (state.HOME / name).exists()


NOTHING: tuple[set[str], list[str], bool] = (set(), [], False)


@pytest.fixture
def name() -> Iterator[str]:
    """A name that no other lab has, for tests that build and break one themselves."""
    unique = f"test-{os.getpid()}-own"
    yield unique
    if unique in command.present():
        command.down(unique)


@pytest.mark.parametrize("hook", list(Hook))
@pytest.mark.parametrize("method", list(ForwardingMethod))
def test_the_client_reaches_every_server(lab: LabFactory, method: str, hook: Hook) -> None:
    """By both families, at every port; and they see who asks."""
    built = lab(method, hook=hook, servers=3, service=False, families=(4, 6))
    client = built.topology.node("client")
    for server in built.topology.servers:
        for rip, cip in zip(server.addresses, client.addresses, strict=True):
            urls = [f"{url(rip)[:-1]}:{port}/{page}" for port, page in ((80, ""), (443, ""), (8080, "client"))]
            *hello, seen = built.exec("client", "curl", "-sS", "-m", "5", *urls).stdout.splitlines()
            assert hello == [f"hello {server.address}"] * 2
            assert seen.startswith(f"{host(cip)}:")
    assert status(built.name).whole


@pytest.mark.parametrize("method", list(ForwardingMethod))
def test_the_director_reaches_every_server_as_itself(lab: LabFactory, method: str) -> None:
    """Not as the VIP, which some of the servers have, too."""
    built = lab(method, service=False, families=(4, 6))
    dips = [host(built.topology.node("director").address_of(family)) for family in (4, 6)]
    for server in built.topology.servers:
        urls = [f"{url(rip)}client" for rip in server.addresses]
        seen = built.exec("director", "curl", "-sS", "-m", "5", *urls).stdout.splitlines()
        assert [endpoint.rpartition(":")[0] for endpoint in seen] == dips


@pytest.mark.parametrize("method", ["tun", "fullnat"])
def test_real_servers_elsewhere_answer_past_the_director(lab: LabFactory, method: str) -> None:
    built = lab(method, service=False)
    frames = capture(built.topology, lambda: built.exec("client", "curl", "-sS", "-m", "5", f"http://{built.rips[0]}/"))
    assert [(where(hop), hop.packet.ttl) for hop in journey(frames)][6:] == [
        ("rs1 eth0 out", 64),
        ("router2 eth1 in", 64),
        ("router2 eth0 out", 63),
        ("router eth2 in", 63),
        ("router eth0 out", 62),
        ("client eth0 in", 62),
    ]


def test_only_the_director_answers_neighbour_discovery_for_the_vip(lab: LabFactory) -> None:
    built = lab("dr", servers=3, service=False, families=(6,))
    built.exec("client", "curl", "-sS", "-m", "2", f"http://[{built.vip}]/")
    neighbour = json.loads(built.exec("router", "ip", "-6", "-json", "neighbour", "show", "to", built.vip).stdout)
    assert [entry["lladdr"] for entry in neighbour] == ["02:00:00:0d:00:00"]


def test_only_the_director_answers_arp_for_the_vip(lab: LabFactory) -> None:
    built = lab("dr", servers=3, service=False)
    built.exec("client", "curl", "-sS", "-m", "2", f"http://{built.vip}/")
    neighbour = json.loads(built.exec("router", "ip", "-json", "neighbour", "show", "to", built.vip).stdout)
    assert [entry["lladdr"] for entry in neighbour] == ["02:00:00:0d:00:00"]


def test_a_quiet_network_is_quiet(lab: LabFactory) -> None:
    built = lab("dr", service=False)
    assert capture(built.topology, lambda: time.sleep(1)) == []


def test_the_hops_of_a_request_without_a_director(lab: LabFactory) -> None:
    built = lab("dr", service=False)
    frames = capture(built.topology, lambda: built.exec("client", "curl", "-sS", "-m", "5", f"http://{built.rips[0]}/"))
    assert [(where(hop), hop.packet.ttl) for hop in journey(frames)] == [
        ("client eth0 out", 64),
        ("router eth0 in", 64),
        ("router eth1 out", 63),
        ("rs1 eth0 in", 63),
        ("rs1 eth0 out", 64),
        ("router eth1 in", 64),
        ("router eth0 out", 63),
        ("client eth0 in", 63),
    ]


@pytest.mark.parametrize(("hook", "complete"), [(Hook.XDP, True), (Hook.TC, False)])
def test_checksums_are_whole_before_the_director_only_with_xdp(lab: LabFactory, hook: Hook, complete: bool) -> None:
    built = lab("dr", hook=hook, service=False)
    frames = capture(built.topology, lambda: built.exec("client", "curl", "-sS", "-m", "5", f"http://{built.rips[0]}/"))
    arrived = [frame.content for frame in frames if frame.port.node == "rs1" and not frame.outgoing]
    tcp = [content for content in arrived if content[12:14] == b"\x08\x00"]
    assert tcp
    assert all(checksum_is_right(content) for content in tcp) is complete


def checksum_is_right(content: bytes) -> bool:
    """Of a TCP segment in an Ethernet frame without IP options."""
    length = int.from_bytes(content[16:18], "big") - 20
    segment = content[34 : 34 + length]
    words = content[26:34] + bytes([0, 6]) + length.to_bytes(2, "big") + segment + bytes(length % 2)
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2))
    return total % 0xFFFF == 0


def test_the_host_sees_nothing_of_a_lab(lab: LabFactory) -> None:
    before = subprocess.run(["ip", "address"], capture_output=True, text=True, check=True).stdout
    lab("nat", service=False)
    assert subprocess.run(["ip", "address"], capture_output=True, text=True, check=True).stdout == before


def test_down_leaves_nothing_and_other_labs_alone(lab: LabFactory) -> None:
    one, other = lab("nat", service=False), lab("nat", service=False)
    one.down()
    assert remains(one.name) == NOTHING
    assert status(other.name).whole
    assert other.exec("client", "curl", "-sS", "-m", "5", f"http://{other.rips[0]}/").returncode == 0


def test_down_ends_what_was_started_on_a_node(lab: LabFactory) -> None:
    built = lab("nat", service=False)
    with namespace.inside(built.namespace("client")):
        sleeper = subprocess.Popen(["sleep", "600"])
    built.down()
    assert sleeper.wait(timeout=5) == -signal.SIGTERM


def test_up_of_a_lab_that_is_up(lab: LabFactory) -> None:
    built = lab("nat", service=False)
    with pytest.raises(LabExists, match=built.name) as refused:
        command.up(built.topology.lab)
    assert f"pylvs lab down --name {built.name}" in refused.value.hint
    assert status(built.name).whole


def test_two_at_once(name: str) -> None:
    with state.locked(name):
        with pytest.raises(LabBusy):
            command.up(Lab(name, ForwardingMethod.NAT, service=False))
        with pytest.raises(LabBusy):
            command.down(name)


def test_down_of_nothing(name: str) -> None:
    with pytest.raises(NoSuchLab, match=name):
        command.down(name)
    assert remains(name) == NOTHING


def test_a_failure_on_the_way_up_is_undone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LabError("no server today")

    monkeypatch.setattr(node, "start_servers", fail)
    with pytest.raises(LabError, match="no server today"):
        command.up(Lab(name, ForwardingMethod.NAT, service=False))
    assert remains(name) == NOTHING


def test_a_server_that_cannot_listen_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "PYTHON", (sys.executable, "-c", "import sys; sys.exit('no port')"))
    with pytest.raises(LabError, match="rs1 does not start: no port"):
        command.up(Lab(name, ForwardingMethod.NAT, service=False))
    assert remains(name) == NOTHING


@pytest.mark.parametrize("delay", [0.15, 0.2, 0.25, 0.3, 0.4, 0.6])
@pytest.mark.parametrize("forgetful", [False, True], ids=["", "without its state file"])
def test_down_after_a_crash(name: str, delay: float, forgetful: bool) -> None:
    crashing = subprocess.Popen(
        [*node.PYLVS, "lab", "up", "nat", "--no-service", "--name", name], env=node.environment()
    )
    time.sleep(delay)
    crashing.kill()
    crashing.wait()
    if forgetful:
        (state.HOME / name / "state.json").unlink(missing_ok=True)
    assert pylvs("lab", "status").returncode == 0
    if name in command.present():
        command.down(name)
    assert remains(name) == NOTHING


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_up_is_undone(name: str, number: signal.Signals) -> None:
    rising = subprocess.Popen([*node.PYLVS, "lab", "up", "nat", "--no-service", "--name", name], env=node.environment())
    while rising.poll() is None and not (state.HOME / name / "state.json").exists():
        time.sleep(0.002)
    rising.send_signal(number)
    assert rising.wait(timeout=30) != 0
    assert remains(name) == NOTHING


def test_the_command_line(name: str) -> None:
    up = pylvs("lab", "up", "dr", "--no-service", "--name", name)
    assert (up.returncode, up.stderr) == (0, "")
    assert up.stdout.startswith("client ")
    assert f"\nlab {name} is up" in up.stdout
    done = pylvs("lab", "exec", "--name", name, "rs1", "--", "sh", "-c", "hostname -I; exit 7")
    assert done.returncode == 7
    assert json.loads(pylvs("lab", "status", "--json", "--name", name).stdout)[0]["whole"] is True
    down = pylvs("lab", "down", "--name", name)
    assert (down.returncode, down.stdout) == (0, f"lab {name} is down\n")


WRONG = {
    "unknown method": (["up", "masq"], 2),
    "no server": (["up", "nat", "--servers", "0"], 2),
    "bad name": (["up", "nat", "--name", "a/b"], 2),
    "a family that is none": (["up", "nat", "--family", "5"], 2),
    "mixed families where they can't be": (["up", "dr", "--server-family", "6"], 2),
    "a tunnel's option in another lab": (["up", "nat", "--tun-type", "gre"], 2),
    "a port for a tunnel that has none": (["up", "tun", "--tun-port", "6080"], 2),
    "a mark out of range": (["up", "nat", "--mark", "-1"], 2),
    "no command": (["exec", "client"], 2),
    "no lab of that name": (["exec", "--name", "nowhere", "client", "true"], 1),
    "down of no lab of that name": (["down", "--name", "nowhere"], 1),
}


@pytest.mark.parametrize(("arguments", "code"), WRONG.values(), ids=WRONG)
def test_wrong_words(arguments: list[str], code: int) -> None:
    done = pylvs("lab", *arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_wrong_words_for_a_lab_that_is_up(lab: LabFactory) -> None:
    built = lab("nat", service=False)
    unknown = pylvs("lab", "exec", "--name", built.name, "rs9", "--", "true")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "rs9" in unknown.stderr
    assert pylvs("lab", "exec", "--name", built.name, "rs1", "--", "no-such-command").returncode == 127


def test_down_ends_a_server_whose_namespace_lost_its_name(lab: LabFactory) -> None:
    one = lab("nat", service=False)
    subprocess.run(["ip", "netns", "delete", one.namespace("rs1")], check=True)
    assert remains(one.name)[1]
    one.down()
    assert remains(one.name) == (set(), [], False)
