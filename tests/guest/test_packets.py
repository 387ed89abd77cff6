"""The programs load on the oldest kernel, and forward there as they do here: their own tests, run in the guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guest.machine import Guest

pytestmark = pytest.mark.slow

_TESTS = Path(__file__).resolve().parents[1]
ALWAYS = (
    *("test_rows", "test_state", "test_fullnat", "test_mark", "test_scheduler"),
    *("test_icmp_methods", "test_fragments_of_methods", "test_cut"),
)
"""Of the packet tests: each method, family and hook, fragments, ICMP, marks, states."""


def passes(guest: Guest, *files: str) -> None:
    """One run, because each run loads the programs, which is what takes longest."""
    done = guest.run(["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-skips", *files], seconds=3600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_director_forwards(guest: Guest) -> None:
    passes(guest, *(f"tests/packets/{name}.py" for name in ALWAYS))


@pytest.mark.slowest
def test_the_director_forwards_in_every_other_case_too(guest: Guest) -> None:
    others = sorted({file.stem for file in (_TESTS / "packets").glob("test_*.py")} - {*ALWAYS})
    passes(guest, *(f"tests/packets/{name}.py" for name in others))


def test_a_real_server_takes_tunnels(guest: Guest) -> None:
    passes(guest, "tests/realserver/test_decapsulate.py")
