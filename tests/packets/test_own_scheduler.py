"""A scheduler of the user's own over the live director: by the command line, through edits, and when it goes wrong."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.director.ebpf.table import word as word32
from tests.ipvsadm import Outcome, ipvsadm
from tests.packets.plane import SENT, Plane, one_map
from tests.packets.wire import tcp, word

pytestmark = pytest.mark.root

DOCS = Path(__file__).parents[2] / "docs" / "schedulers.md"
VIP = "192.0.2.10"


def run(line: str, plane: Plane, file: Path | None = None) -> Outcome:
    """One command, as a process of its own would do it: only the kernel remembers the last one."""
    plane.director._scheduler_file = str(file) if file else ""
    plane.director._slots = None
    return ipvsadm(shlex.split(line), plane.director)


def turns(plane: Plane, clients: int) -> Counter[str]:
    """How many connections each server gets."""
    for number in range(clients):
        assert plane.tc(tcp(word(0x0B000000 + number), 999, word(VIP), 80)).verdict == SENT
    found = Counter(str(one.server.address) for one in plane.connections())
    plane.forget()
    return found


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The one of the documentation."""
    (body,) = re.findall(r"```python\n# shares.py\n(.*?)```", DOCS.read_text(), re.DOTALL)
    file = tmp_path / "shares.py"
    file.write_text(body)
    return file


def test_the_documentation_does_what_it_says(example: Path, plane: Plane) -> None:
    (console,) = re.findall(r"```console\n(.*?)```", DOCS.read_text(), re.DOTALL)
    for command, output in re.findall(r"^\$ pylvs (.*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE):
        given, _, line = command.partition("ipvsadm ")
        assert given in {"", "--scheduler-file shares.py "}
        assert run(line, plane, example if given else None) == (output, "", 0)
    assert turns(plane, 40) == {"192.168.0.11": 30, "192.168.0.12": 10}


def served(example: Path, plane: Plane) -> None:
    assert run(f"-A -t {VIP}:80 -s shares", plane, example).rc == 0
    assert run(f"-a -t {VIP}:80 -r 192.168.0.111 -g -w 4", plane).rc == 0
    assert run(f"-a -t {VIP}:80 -r 192.168.0.188 -g -w 1", plane).rc == 0
    assert turns(plane, 30) == {"192.168.0.111": 20, "192.168.0.188": 10}


BROKEN = "def shares(servers): raise OSError('no such weight')"


def test_what_goes_wrong_changes_nothing(example: Path, plane: Plane) -> None:
    served(example, plane)
    example.write_text(BROKEN)
    before = plane.snapshot(f"tcp {VIP}:80").servers
    for line in (
        f"-a -t {VIP}:80 -r 192.168.10.3 -g",
        f"-e -t {VIP}:80 -r 192.168.0.111 -g -w 9",
        f"-d -t {VIP}:80 -r 192.168.0.111",
    ):
        refused = run(line, plane)
        assert refused == ("", "scheduler shares failed: OSError: no such weight; nothing was changed\n", 255)
    assert [one.server for one in plane.snapshot(f"tcp {VIP}:80").servers] == [one.server for one in before]
    assert turns(plane, 30) == {"192.168.0.111": 20, "192.168.0.188": 10}


def test_a_file_that_is_gone_is_named_and_another_scheduler_helps(example: Path, plane: Plane) -> None:
    served(example, plane)
    example.unlink()
    refused = run(f"-d -t {VIP}:80 -r 192.168.0.111", plane)
    assert refused.rc == 255
    assert f"scheduler shares can't be read from {example}" in refused.stderr
    assert run(f"-E -t {VIP}:80 -s rr", plane).rc == 0
    assert run(f"-d -t {VIP}:80 -r 192.168.0.111", plane).rc == 0
    assert turns(plane, 10) == {"192.168.0.188": 10}


def test_another_file_takes_over_at_once(example: Path, plane: Plane, tmp_path: Path) -> None:
    served(example, plane)
    other = tmp_path / "other.py"
    other.write_text("def shares(servers): return [servers[0]]\nshares.selection = 'source'\n")
    assert run(f"-E -t {VIP}:80 -s shares", plane, other).rc == 0
    assert turns(plane, 10) == {"192.168.0.188": 10}
    assert run(f"-d -t {VIP}:80 -r 192.168.0.188", plane).rc == 0
    assert turns(plane, 10) == {"192.168.0.111": 10}


def test_a_restore_lays_out_rings_too(example: Path, plane: Plane) -> None:
    plane.director._scheduler_file = str(example)
    rules = f"-A -t {VIP}:80 -s shares\n-a -t {VIP}:80 -r 192.168.0.111 -g -w 9\n-a -t {VIP}:80 -r 192.168.0.188 -g\n"
    assert ipvsadm(["-R"], plane.director, rules) == ("", "", 0)
    assert turns(plane, 40) == {"192.168.0.111": 30, "192.168.0.188": 10}


def test_the_file_is_known_where_the_pins_are_lost(example: Path, plane: Plane) -> None:
    served(example, plane)
    held = one_map(plane.table.fd("director_tc"), "scheduler_files")
    found = libbpf.lookup(held, word32(0), abi.PATH_SIZE)
    os.close(held)
    assert found is not None
    assert found.rstrip(b"\0") == os.fsencode(example)


def test_an_unknown_name_is_refused_as_by_ipvsadm(example: Path, plane: Plane) -> None:
    refused = run(f"-A -t {VIP}:80 -s nobody", plane)
    assert refused == ("", "Scheduler or persistence engine not found\n", 255)
    missing = run(f"-A -t {VIP}:80 -s nobody", plane, example)
    assert missing.rc == 255
    assert f"scheduler nobody is not in {example}" in missing.stderr
    too_long = run(f"-A -t {VIP}:80 -s a-name-of-sixteen", plane, example)
    assert too_long == ("", "Scheduler or persistence engine not found\n", 255)
    assert isinstance(plane.director, EbpfDirector)
    assert not plane.director.services()
