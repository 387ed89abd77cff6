"""Which directors answer to the contract, and how much of IPVS each of them has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pylvs.director.port import Director
from tests.ipvsadm import director as memory_director
from tests.packets.conftest import loaded
from tests.packets.plane import Plane

__all__ = ["loaded"]

FEATURES = frozenset({"ipv6", "marks", "sctp", "tunnels", "persistence", "thresholds", "one-packet", "schedulers"})
"""What a director may lack: everything beyond TCP and UDP over IPv4 by NAT and DR with rr, wrr, lc and wlc."""


def _memory(request: pytest.FixtureRequest) -> Director:
    del request
    return memory_director()


def _ebpf(request: pytest.FixtureRequest) -> Director:
    plane: Plane = request.getfixturevalue("loaded")
    plane.reset()
    return plane.director


DIRECTORS: dict[str, tuple[Callable[[pytest.FixtureRequest], Director], frozenset[str]]] = {
    "memory": (_memory, FEATURES),
    "ebpf": (_ebpf, frozenset({"marks"})),
}
"""How to have an empty one for a test, and its features."""


def pytest_configure(config: pytest.Config) -> None:
    """The mark of these tests."""
    config.addinivalue_line("markers", "feature(name): only for directors that have it")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test with every director that has the features it is marked with."""
    if "director" not in metafunc.fixturenames:
        return
    needed = {mark.args[0] for mark in metafunc.definition.iter_markers("feature")}
    assert needed <= FEATURES
    able = [name for name, (_, features) in DIRECTORS.items() if needed <= features]
    metafunc.parametrize("director", able, indirect=True)


@pytest.fixture
def director(request: pytest.FixtureRequest) -> Director:
    """An empty director."""
    make, _ = DIRECTORS[request.param]
    return make(request)
