"""Tables taken over from one director in memory into another."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pylvs.director.ebpf import fit as ebpf
from pylvs.director.ipvs import fit as ipvs
from pylvs.director.memory import MemoryDirector
from pylvs.director.migration import carry_out, plan, table_of
from pylvs.errors import TableFull
from pylvs.model import (
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    Protocol,
    RealServer,
    ServiceId,
    ServiceSnapshot,
    Timeouts,
    VirtualAddress,
    VirtualService,
    parse_address,
)
from pylvs.views.migration import commands

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


@dataclass
class Worn:
    """A director that fails when it is to take a certain server."""

    director: MemoryDirector
    at: RealServer

    def __getattr__(self, name: str) -> object:
        return getattr(self.director, name)

    def add_server(self, id: ServiceId, new: RealServer) -> None:
        if new == self.at:
            raise TableFull
        self.director.add_server(id, new)


def test_everything_that_is_set_is_taken_over(source: MemoryDirector) -> None:
    target = MemoryDirector()
    planned = plan(table_of(source), table_of(target))
    assert planned.obstacles == ()
    carry_out(planned, target)
    assert table_of(source).same_rules(table_of(target))
    assert [each.server for each in target.service(WEB).servers] == SERVERS[::-1]
    again = plan(table_of(source), table_of(target))
    assert (again.additions, again.timeouts, again.knobs, again.obstacles) == ((), None, {}, ())


def test_what_was_begun_is_gone_on_with(source: MemoryDirector) -> None:
    target = MemoryDirector()
    target.add_service(source.service(WEB).service)
    target.add_server(WEB, SERVERS[0])
    planned = plan(table_of(source), table_of(target))
    assert planned.obstacles == ()
    carry_out(planned, target)
    assert table_of(source).same_rules(table_of(target))


def test_a_failure_half_way_leaves_the_target_as_it_was(source: MemoryDirector) -> None:
    target = MemoryDirector()
    target.add_service(source.service(WEB).service)
    target.add_server(WEB, SERVERS[0])
    before = table_of(target)
    planned = plan(table_of(source), before)
    with pytest.raises(TableFull):
        carry_out(planned, Worn(target, SERVERS[2]))  # type: ignore[arg-type]
    assert table_of(target).same_rules(before)


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
    assert plan(table_of(source), table_of(target)).obstacles == (obstacle,)


def test_servers_in_another_order_are_another_service(source: MemoryDirector) -> None:
    target = MemoryDirector()
    target.add_service(source.service(WEB).service)
    for each in reversed(SERVERS):
        target.add_server(WEB, each)
    assert len(plan(table_of(source), table_of(target)).obstacles) == 1


def test_a_knob_that_the_target_lacks_matters_only_when_it_is_set(source: MemoryDirector) -> None:
    table = table_of(MemoryDirector())
    without = table.replace(knobs={name: value for name, value in table.knobs.items() if name != "local_port_last"})
    assert plan(table_of(source), without).obstacles == ()
    source.set_knobs({"local_port_last": 20000})
    assert plan(table_of(source), without).obstacles == ("local_port_last = 20000: the target has no such knob",)


def test_a_default_of_the_machines_is_left_to_the_target(source: MemoryDirector) -> None:
    table = table_of(MemoryDirector())
    other = table.replace(knobs={**table.knobs, "sync_qlen_max": 17})
    assert "sync_qlen_max" not in plan(table_of(source), other).knobs
    assert plan(other, table_of(source)).knobs["sync_qlen_max"] == 17


def test_the_plan_is_shown_as_commands(source: MemoryDirector) -> None:
    assert commands(plan(table_of(source), table_of(MemoryDirector()))).splitlines() == [
        "-A -f 7 -6 -s wrr",
        "-A -t 192.0.2.80:80 -s wlc -p 60 -M 255.255.255.0",
        "-a -t 192.0.2.80:80 -r 198.51.100.11:80 -m -w 3",
        "-a -t 192.0.2.80:80 -r 198.51.100.12:80 -m -w 1 -x 100 -y 50",
        "-a -t 192.0.2.80:80 -r 198.51.100.13:80 -m -w 0",
        "--set 1000 120 77",
        "net.ipv4.vs.drop_entry = 3",
        "net.ipv4.vs.sync_threshold = 4\t60",
    ]


# --- what each of them lacks


def snapshot(service: VirtualService, *servers: RealServer) -> ServiceSnapshot:
    director = MemoryDirector()
    director.add_service(service)
    for each in servers:
        director.add_server(service.id, each)
    return director.service(service.id)


def test_ebpf_lacks_persistence_engines() -> None:
    lacks = list(ebpf.lacks([snapshot(VirtualService(WEB, persistence=60, persistence_engine="sip"))]))
    assert lacks == ["TCP 192.0.2.80:80: the persistence engine sip is not supported yet"]
    assert list(ebpf.lacks([snapshot(VirtualService(WEB, "wlc"), *SERVERS)])) == []


def test_ebpf_lacks_schedulers() -> None:
    odd = snapshot(VirtualService(WEB)).replace(service=VirtualService(WEB, "nosuch"))
    assert list(ebpf.lacks([odd])) == ["TCP 192.0.2.80:80: the eBPF director has no scheduler nosuch"]


def test_ipvs_lacks_fullnat_and_what_is_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipvs, "_has_module", lambda name: name != "ip_vs_twos")
    full = server(11, method=ForwardingMethod.FULLNAT)
    assert list(ipvs.lacks([snapshot(VirtualService(WEB, "twos"), full, SERVERS[1])])) == [
        "TCP 192.0.2.80:80: the kernel's IPVS has no scheduler twos",
        "TCP 192.0.2.80:80 -> 198.51.100.11:80: the kernel's IPVS has no FULLNAT: use -m, -g or -i",
    ]
