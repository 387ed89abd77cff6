"""One director in a fresh network namespace for all packet tests; each test begins with an empty one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pylvs.errors import NotPermitted, NotSupportedHere
from tests.packets.plane import Plane
from tests.packets.space import fresh_namespace


@pytest.fixture(scope="package")
def loaded() -> Iterator[Plane]:
    """The loaded data plane; skips where it can't be."""
    if os.geteuid() != 0:
        pytest.skip("packet tests load BPF programs and make network namespaces: run them as root")
    with fresh_namespace():
        try:
            plane = Plane()
        except (NotPermitted, NotSupportedHere) as error:
            pytest.skip(f"the data plane can't be loaded here: {error} ({error.hint})")
        try:
            yield plane
        finally:
            plane.close()


@pytest.fixture
def plane(loaded: Plane) -> Plane:
    """Without services or connections."""
    loaded.reset()
    return loaded
