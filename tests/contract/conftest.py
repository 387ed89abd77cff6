"""Which directors answer to the contract, and how much of IPVS each of them has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_interface

import pytest

from pylvs.director.memory import MemoryDirector
from pylvs.director.port import Director
from tests.ipvs.kernel import Kernel, has_ipvs, kernel
from tests.packets.plane import Plane
from tests.packets.space import ip

INTERFACES = tuple(map(ip_interface, ("192.0.2.1/24", "192.0.2.2/24", "198.51.100.1/24", "fd00::1/64")))
"""What all of them have."""

FEATURES = frozenset({"twos", "engines", "fullnat"})
"""What a director may lack: the scheduler twos, which few kernels have; persistence engines; and FULLNAT with its local
addresses.
"""


def _memory(request: pytest.FixtureRequest) -> Director:
    del request
    return MemoryDirector(INTERFACES)


def _ebpf(request: pytest.FixtureRequest) -> Director:
    plane: Plane = request.getfixturevalue("loaded")
    request.getfixturevalue("addressed")
    plane.reset()
    return plane.director


def _ipvs(request: pytest.FixtureRequest) -> Director:
    own: Kernel = request.getfixturevalue("kernels_own")
    own.reset()
    return own.director


@pytest.fixture(scope="module")
def kernels_own() -> Iterator[Kernel]:
    """The kernel's IPVS of a namespace with the same addresses."""
    with kernel(*map(str, INTERFACES)) as own:
        ip("route add fd00:1::/64 dev eth0", six=True)
        yield own


@pytest.fixture(scope="module")
def addressed(loaded: Plane) -> Iterator[None]:
    """The addresses that the director in memory believes to have, for as long as it is looked at beside that one."""
    del loaded
    ip(*(f"address replace {interface} dev eth0 nodad" for interface in INTERFACES))
    ip("route replace fd00:1::/64 dev eth0", six=True)
    yield
    ip("route delete fd00:1::/64 dev eth0", six=True)
    ip(*(f"address delete {interface} dev eth0" for interface in reversed(INTERFACES)))


DIRECTORS: dict[str, tuple[Callable[[pytest.FixtureRequest], Director], frozenset[str]]] = {
    "memory": (_memory, FEATURES),
    "ebpf": (_ebpf, frozenset({"fullnat", "twos"})),
    **({"ipvs": (_ipvs, frozenset({"engines"}))} if has_ipvs() else {}),
}
"""How to have an empty one for a test, and its features. tests/guest has a kernel with IPVS, if this one has none."""


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
