"""What is around the command lines: streams, errors from below, and how little is imported."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pylvs.cli.ipvsadm import run
from pylvs.director.memory import MemoryDirector
from pylvs.errors import DataPlaneError, NotPermitted, NotYetSupported
from pylvs.model import ServiceSnapshot, VirtualService
from tests.ipvsadm import director, ipvsadm

SOURCES = Path(__file__).parents[3] / "src"


class Refusing(MemoryDirector):
    """Supports less than IPVS."""

    def add_service(self, service: VirtualService) -> None:
        raise NotYetSupported(f"pylvs: scheduler {service.scheduler} is not supported yet")


class Broken(MemoryDirector):
    """Lost its data plane."""

    def services(self) -> Sequence[ServiceSnapshot]:
        raise DataPlaneError("the maps are gone", hint="attach again")


class WithoutRates:
    """Only what the contract asks for."""

    def __init__(self) -> None:
        self._held = director()

    def __getattr__(self, name: str) -> object:
        if name == "rates":
            raise AttributeError(name)
        return getattr(self._held, name)


def test_says_what_a_director_does_not_support() -> None:
    outcome = ipvsadm(["-A", "-t", "192.0.2.80:80", "-s", "dh"], Refusing())
    assert outcome == ("", "pylvs: scheduler dh is not supported yet\n", 255)


def test_goes_on_restoring_after_a_refusal() -> None:
    outcome = ipvsadm(["-R"], Refusing(), "-A -t 192.0.2.80:80 -s dh\n-L --timeout\n")
    assert outcome == (
        "Timeout (tcp tcpfin udp): 900 120 300\n",
        "pylvs: scheduler dh is not supported yet\n",
        0,
    )


def test_stops_restoring_without_its_data_plane() -> None:
    assert ipvsadm(["-R"], Broken(), "-Ln\n-L --timeout\n") == ("", "the maps are gone\nattach again\n", 255)


def test_has_no_rates_to_show_yet() -> None:
    assert ipvsadm(["-Ln", "--rate"], WithoutRates()) == ("", "pylvs: --rate is not supported yet\n", 255)  # type: ignore[arg-type]


@pytest.mark.parametrize("line", [[], ["-h"], ["--version"], ["-A", "-t", "foo"], ["-Q"], ["-R"]])
def test_needs_root_whatever_is_asked(line: list[str]) -> None:
    def not_root() -> MemoryDirector:
        raise NotPermitted("Permission denied (you must be root)")

    stderr = f"Can't initialize ipvs: Permission denied (you must be root)\n{NotPermitted.hint}\n"
    assert ipvsadm(line, not_root) == ("", stderr, 2)


def test_ends_quietly_when_nobody_reads_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        stderr = io.StringIO()
        assert run(["-h"], director, stdin=io.StringIO(), stdout=stdout, stderr=stderr) == 141
        assert stderr.getvalue() == ""


def test_takes_bytes_as_they_are() -> None:
    """Carriage returns are blanks, not ends of lines; what is not UTF-8 comes out as it went in."""
    stdin = io.TextIOWrapper(io.BytesIO(b"-A -t 192.0.2.80:80 -s rr\r\n-C \xff\n"))
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written)
    assert run(["-R"], director, stdin=stdin, stdout=io.StringIO(), stderr=stderr) == 2
    stderr.flush()
    assert written.getvalue() == b"unexpected argument \xff\n"


SLOW = ("argparse", "click", "contextlib", "dataclasses", "inspect", "json", "logging", "numpy", "re", "rich", "socket")


def test_starts_without_what_is_slow_to_import() -> None:
    program = (
        "import sys\n"
        "from pylvs.cli.ipvsadm import run\n"
        "from pylvs.director.memory import MemoryDirector\n"
        "status = run(['-Ln'], MemoryDirector, stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr)\n"
        "print(*sys.modules, file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(done.stderr.split()) & {*SLOW, "typing"}
