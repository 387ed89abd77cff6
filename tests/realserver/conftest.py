"""The programs for all tests of packets; they are attached nowhere, so the machine is not touched."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pylvs.errors import NotPermitted, NotSupportedHere
from tests.realserver.plane import Plane


@pytest.fixture(scope="package")
def plane() -> Iterator[Plane]:
    """Takes every tunnel; skips where it can't be loaded."""
    if os.geteuid() != 0:
        pytest.skip("packet tests load BPF programs: run them as root")
    try:
        loaded = Plane()
    except (NotPermitted, NotSupportedHere) as error:
        pytest.skip(f"the programs can't be loaded here: {error} ({error.hint})")
    yield loaded
    loaded.close()
