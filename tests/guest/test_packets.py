"""The programs load on the oldest kernel, and forward there as they do here: their own tests, run in the guest."""

from __future__ import annotations

import pytest

from tests.guest.machine import Guest

pytestmark = pytest.mark.slow

ALWAYS = (
    "tests/packets/test_rows.py",
    "tests/packets/test_fullnat.py::test_a_connection",
    "tests/packets/test_fullnat.py::test_udp",
    "tests/packets/test_fragments_of_methods.py",
    "tests/packets/test_tunnel_mtu.py",
    "tests/realserver/test_decapsulate.py::test_what_a_kernels_director_sent",
)
"""Each method, family and hook, fragments, and packets that are too big. A test takes a quarter of a second there."""


def passes(guest: Guest, *tests: str) -> None:
    """One run, because each run loads the programs, which takes longest; rewriting asserts takes half a minute, too."""
    pytest_there = ("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--assert=plain", "--no-skips")
    done = guest.run([*pytest_there, *tests], seconds=7200)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_data_plane_forwards(guest: Guest) -> None:
    passes(guest, *ALWAYS, "-k", "not (tc and asks)")


@pytest.mark.slowest
def test_the_data_plane_forwards_in_every_case(guest: Guest) -> None:
    passes(guest, "tests/packets", "tests/realserver/test_decapsulate.py")
