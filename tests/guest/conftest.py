"""One guest for all tests of a worker that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.guest.machine import Guest, booted
from tests.guest.packages import GuestError


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """Debian 12's Linux 6.1 with this tree; skips where it can't be made."""
    try:
        with booted() as up:
            yield up
    except GuestError as error:
        pytest.skip(f"no guest here: {error} ({error.hint})")
