"""The network of the recordings, once a module and hook."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pylvs.errors import NotPermitted, NotSupportedHere
from tests.golden.network import Network, network


@pytest.fixture(scope="module")
def wires(request: pytest.FixtureRequest) -> Iterator[Network]:
    """With the director on the hook that the parameter names; skips where it can't be."""
    if os.geteuid() != 0:
        pytest.skip("this makes network namespaces and loads BPF programs: run it as root")
    try:
        with network(request.param) as made:
            yield made
    except (NotPermitted, NotSupportedHere) as error:
        pytest.skip(f"the data plane can't be loaded here: {error} ({error.hint})")
