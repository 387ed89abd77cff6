"""Tests of the director on the kernel's own IPVS. Where the kernel has none, tests/guest runs them on one that has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ipvs.kernel import Kernel, has_ipvs, kernel

collect_ignore_glob = [] if has_ipvs() else ["test_*.py"]


@pytest.fixture(scope="module")
def machine() -> Iterator[Kernel]:
    """With the address that the recorded machine had."""
    with kernel("192.0.2.1/24") as own:
        yield own


@pytest.fixture
def own(machine: Kernel) -> Kernel:
    """With nothing in it."""
    machine.reset()
    return machine
