"""Tables taken over from one director in memory into another."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pylvs.desired import state_of
from pylvs.director.ipvs import limit
from pylvs.director.knob import KnobValue
from pylvs.director.memory import MemoryDirector
from pylvs.director.migration import carry_out, desired, is_same, obstacles
from pylvs.errors import TableFull
from pylvs.model import (
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    Protocol,
    RealServer,
    ServiceId,
    Timeouts,
    VirtualAddress,
    VirtualService,
    parse_address,
)
from pylvs.plan import plan

WEB = VirtualAddress(Protocol.TCP, Endpoint(parse_address("192.0.2.80"), 80))
MARK = FirewallMark(7, 6)
NAT = ForwardingMethod.NAT


def server(number: int, **changes: object) -> RealServer:
    return RealServer(Endpoint(parse_address(f"198.51.100.{number}"), 80), NAT).replace(**changes)


SERVERS = [server(11, weight=3), server(12, upper_threshold=100, lower_threshold=50), server(13, weight=0)]


@pytest.fixture
def source() -> MemoryDirector:
    director = MemoryDirector()
    director.add_service(VirtualService(MARK, "wrr"))
    director.add_service(VirtualService(WEB, "wlc", persistence=60, netmask=parse_address("255.255.255.0")))
    for each in SERVERS:
        director.add_server(WEB, each)
    director.set_timeouts(Timeouts(1000, 120, 77))
    director.set_knobs({"drop_entry": 3, "sync_threshold": (4, 60)})
    return director


class Worn(MemoryDirector):
    """A director that fails when it is to take the last of the servers."""

    def add_server(self, id: ServiceId, server: RealServer) -> None:
        if server == SERVERS[2]:
            raise TableFull
        super().add_server(id, server)


class Without(MemoryDirector):
    """A director without a knob."""

    def knobs(self) -> Mapping[str, KnobValue]:
        return {name: value for name, value in super().knobs().items() if name != "local_port_last"}


def taken_over(source: MemoryDirector, target: MemoryDirector) -> None:
    assert list(obstacles(state_of(source), target)) == []
    carry_out(desired(state_of(source), state_of(target)), target)


def begun(source: MemoryDirector, target: MemoryDirector) -> MemoryDirector:
    target.add_service(source.service(WEB).service)
    target.add_server(WEB, SERVERS[0])
    return target


def test_everything_that_is_set_is_taken_over(source: MemoryDirector) -> None:
    target = MemoryDirector()
    taken_over(source, target)
    assert is_same(state_of(source), state_of(target))
    assert [each.server for each in target.service(WEB).servers] == SERVERS[::-1]
    assert plan(state_of(target), desired(state_of(source), state_of(target))) == []


def test_what_was_begun_is_gone_on_with(source: MemoryDirector) -> None:
    target = begun(source, MemoryDirector())
    taken_over(source, target)
    assert is_same(state_of(source), state_of(target))
    assert [each.server for each in target.service(WEB).servers] == SERVERS[::-1]


def test_a_failure_half_way_leaves_the_target_as_it_was(source: MemoryDirector) -> None:
    target = begun(source, Worn())
    before = state_of(target)
    with pytest.raises(TableFull):
        taken_over(source, target)
    assert is_same(state_of(target), before)


class Counting(MemoryDirector):
    """It knows how many services were in need of a ring at once."""

    most = 0
    _now = 0

    def begin(self) -> None:
        self._now = 0

    def add_service(self, service: VirtualService) -> None:
        super().add_service(service)
        self._now += 1
        self.most = max(self.most, self._now)


def test_few_services_at_a_time_wait_for_their_servers() -> None:
    source, target = MemoryDirector(), Counting()
    for mark in range(1, 101):
        source.add_service(VirtualService(FirewallMark(mark)))
        source.add_server(FirewallMark(mark), SERVERS[0])
    taken_over(source, target)
    assert is_same(state_of(source), state_of(target))
    assert target.most == 16


@pytest.mark.parametrize(
    ("present", "obstacle"),
    [
        (VirtualService(WEB, "rr"), "TCP 192.0.2.80:80: the target has this service already, and another one"),
        (VirtualService(FirewallMark(8)), "FWM 8: only the target has this service"),
    ],
)
def test_what_would_be_mixed_up_is_named(source: MemoryDirector, present: VirtualService, obstacle: str) -> None:
    target = MemoryDirector()
    target.add_service(present)
    assert list(obstacles(state_of(source), target)) == [obstacle]


def test_servers_in_another_order_are_another_service(source: MemoryDirector) -> None:
    target = MemoryDirector()
    target.add_service(source.service(WEB).service)
    for each in reversed(SERVERS):
        target.add_server(WEB, each)
    assert len(list(obstacles(state_of(source), target))) == 1


def test_a_knob_that_the_target_lacks_matters_only_when_it_is_set(source: MemoryDirector) -> None:
    taken_over(source, Without())
    source.set_knobs({"local_port_last": 20000})
    assert list(obstacles(state_of(source), Without())) == ["local_port_last = 20000: the target has no such knob"]


def test_a_default_of_the_machines_is_left_to_the_target(source: MemoryDirector) -> None:
    target = MemoryDirector()
    target.set_knobs({"sync_qlen_max": 17})
    assert "sync_qlen_max" not in desired(state_of(source), state_of(target)).knobs
    assert desired(state_of(target), state_of(source)).knobs["sync_qlen_max"] == 17


def test_ipvs_lacks_fullnat_and_what_is_no_module(source: MemoryDirector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "_has_module", lambda name: name != "ip_vs_twos")

    class Judge(MemoryDirector):
        judge_service = staticmethod(limit.judge_service)
        judge_server = staticmethod(limit.judge_server)

    taken_over(source, Judge())
    source.edit_service(source.service(WEB).service.replace(scheduler="twos"))
    source.add_server(WEB, server(14, method=ForwardingMethod.FULLNAT))
    assert list(obstacles(state_of(source), Judge())) == [
        "TCP 192.0.2.80:80: the target has no scheduler twos",
        "TCP 192.0.2.80:80 -> 198.51.100.14:80: the kernel's IPVS has no FULLNAT: use -m, -g or -i",
    ]
