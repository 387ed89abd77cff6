"""twos draws: how often each server is chosen is as the model says, and no server that may not be chosen ever is."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from pylvs.model import Endpoint, ForwardingMethod, RealServer, VirtualService
from pylvs.scheduler import SCHEDULERS
from pylvs.scheduler.oracle import SchedulerOracle
from tests.packets.plane import SENT, Plane, endpoint, service
from tests.packets.wire import VIP, udp, word

pytestmark = pytest.mark.root

ID = service(f"udp {VIP}:80")
DRAWS = 3000
TOLERANCE = 0.05
"""Of all choices; more than five standard deviations."""

CASES = {
    "alike": [(1, 0), (1, 0), (1, 0)],
    "by weight": [(5, 0), (2, 0), (1, 0)],
    "the less loaded of two": [(1, 0), (1, 3), (1, 1)],
    "loads by weight": [(4, 3), (2, 2), (1, 0), (0, 0)],
    "one only": [(3, 9)],
}


def frequencies(plane: Plane) -> Counter[Endpoint]:
    """By one-packet scheduling, which leaves the loads as they are."""
    for number in range(DRAWS):
        assert plane.tc(udp(word(0x0B000000 + number), 999, word(VIP), 80)).verdict == SENT
    return Counter({one.server.endpoint: one.counters.connections for one in plane.director.service(ID).servers})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_as_often_as_the_model(case: list[tuple[int, int]], plane: Plane) -> None:
    """Rows of weight and active connections."""
    plane.director.add_service(VirtualService(ID, "twos", one_packet=True))
    oracle = SchedulerOracle(SCHEDULERS["twos"], draw=random.Random(1).randrange)
    for host, (weight, active) in enumerate(case, 1):
        server = RealServer(endpoint(f"192.168.0.{host}:80"), ForwardingMethod.DR, weight)
        plane.director.add_server(ID, server)
        oracle.add(server)
        oracle.load(server.endpoint, active, 0)
        plane.table.servers[host - 1].load = active << 32
    expected = Counter(oracle.open() for _ in range(DRAWS * 4))
    for where, found in frequencies(plane).items():
        assert abs(found / DRAWS - expected[where] / DRAWS / 4) < TOLERANCE
        assert found or expected[where] < DRAWS * 4 * TOLERANCE


def test_nobody_to_draw(plane: Plane) -> None:
    plane.director.add_service(VirtualService(ID, "twos"))
    plane.director.add_server(ID, RealServer(endpoint("192.168.0.1:80"), ForwardingMethod.DR, 0))
    assert plane.tc(udp(word(0x0B000001), 999, word(VIP), 80)).verdict == "no_server"
