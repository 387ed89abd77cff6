"""The director on the kernel's own IPVS, on a kernel that has it."""

from __future__ import annotations

import re

import pytest

from tests.guest.machine import Guest

pytestmark = pytest.mark.slow

PYTEST = ("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-skips")


def _passes(guest: Guest, at_least: int, *arguments: str) -> None:
    done = guest.run([*PYTEST, *arguments])
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= at_least


def test_it_keeps_the_contract_and_its_command_line_is_ipvsadms(guest: Guest) -> None:
    _passes(guest, 380, "-k", "ipvs and not traffic", "tests/contract", "tests/ipvs")


def test_it_serves_http_and_its_table_goes_to_ebpf_and_back(guest: Guest) -> None:
    _passes(guest, 4, "tests/ipvs/test_traffic.py")
