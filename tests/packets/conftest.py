"""Each packet test begins with an empty director."""

from __future__ import annotations

import pytest

from tests.packets.plane import Plane


@pytest.fixture
def plane(loaded: Plane) -> Plane:
    """Without services or connections."""
    loaded.reset()
    return loaded
