"""The contract of director/port.py: what any director holds, answers and refuses, as the kernel's IPVS does."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from pylvs.director import knob
from pylvs.director.port import Director
from pylvs.director.rules import MOST_LOCAL_ADDRESSES, SCHEDULERS
from pylvs.errors import (
    DestinationExists,
    FullnatRefused,
    InvalidKnob,
    InvalidOperation,
    NoSuchDestination,
    NoSuchService,
    OutOfRange,
    Refused,
    SchedulerNotFound,
    ServiceExists,
    ServiceNotDefined,
)
from pylvs.model import (
    Counters,
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    Protocol,
    RealServer,
    ServiceId,
    Timeouts,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualAddress,
    VirtualService,
    parse_address,
)

NAT, DR, TUN, FULLNAT = ForwardingMethod.NAT, ForwardingMethod.DR, ForwardingMethod.TUN, ForwardingMethod.FULLNAT


def endpoint(address: str, port: int) -> Endpoint:
    return Endpoint(parse_address(address), port)


def tcp(address: str, port: int = 80) -> VirtualAddress:
    return VirtualAddress(Protocol.TCP, endpoint(address, port))


VIP = tcp("192.0.2.80")
VIP_UDP = VirtualAddress(Protocol.UDP, VIP.endpoint)
OTHER_VIP = tcp("192.0.2.81")
VIP6 = tcp("fd00::80")
MARK = FirewallMark(7)

WEB = VirtualService(VIP, "rr")
RS1 = RealServer(endpoint("198.51.100.11", 80), NAT)
RS2 = RealServer(endpoint("198.51.100.12", 80), DR, weight=3)
RS3 = RealServer(endpoint("198.51.100.13", 8080), NAT, weight=0)


def servers(director: Director, id: ServiceId = VIP) -> list[RealServer]:
    return [snapshot.server for snapshot in director.service(id).servers]


def services(director: Director) -> set[VirtualService]:
    return {snapshot.service for snapshot in director.services()}


def refuses(error: type[Refused], change: Callable[[], None], director: Director) -> None:
    """Refuse, and leave everything as it was."""
    before = {snapshot.service.id: snapshot for snapshot in director.services()}
    with pytest.raises(error) as caught:
        change()
    assert type(caught.value) is error
    assert {snapshot.service.id: snapshot for snapshot in director.services()} == before


# --- services


def test_starts_empty(director: Director) -> None:
    assert services(director) == set()
    assert list(director.connections()) == []


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lc", "wlc"])
@pytest.mark.parametrize("id", [VIP, VIP_UDP])
def test_holds_a_service(director: Director, id: ServiceId, scheduler: str) -> None:
    service = VirtualService(id, scheduler)
    director.add_service(service)
    assert services(director) == {service}
    assert director.service(id).service == service
    assert director.service(id).servers == ()
    assert director.service(id).counters == Counters()


def test_tells_services_apart_by_protocol_and_address(director: Director) -> None:
    held = {WEB, VirtualService(VIP_UDP, "lc"), VirtualService(OTHER_VIP, "wrr"), VirtualService(tcp("192.0.2.80", 81))}
    for service in held:
        director.add_service(service)
    assert services(director) == held


def test_refuses_a_service_twice(director: Director) -> None:
    director.add_service(WEB)
    refuses(ServiceExists, lambda: director.add_service(WEB), director)
    refuses(ServiceExists, lambda: director.add_service(WEB.replace(scheduler="nosuch")), director)


def test_refuses_an_unknown_scheduler(director: Director) -> None:
    refuses(SchedulerNotFound, lambda: director.add_service(WEB.replace(scheduler="RR")), director)
    director.add_service(WEB)
    refuses(SchedulerNotFound, lambda: director.edit_service(WEB.replace(scheduler="nosuch")), director)


def test_edits_a_service_but_not_its_servers(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RS1)
    director.edit_service(WEB.replace(scheduler="wlc"))
    assert services(director) == {WEB.replace(scheduler="wlc")}
    assert servers(director) == [RS1]


def test_deletes_a_service_with_its_servers(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RS1)
    director.delete_service(VIP)
    assert services(director) == set()
    director.add_service(WEB)
    assert servers(director) == []


def test_flushes(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RS1)
    director.add_service(VirtualService(OTHER_VIP))
    director.flush()
    assert services(director) == set()
    director.flush()


def test_knows_no_service_but_its_own(director: Director) -> None:
    director.add_service(WEB)
    refuses(NoSuchService, lambda: director.edit_service(VirtualService(OTHER_VIP, "nosuch")), director)
    refuses(NoSuchService, lambda: director.delete_service(OTHER_VIP), director)
    refuses(NoSuchService, lambda: director.zero(OTHER_VIP), director)
    with pytest.raises(NoSuchService):
        director.service(VIP_UDP)


# --- servers


def test_puts_a_new_server_first(director: Director) -> None:
    director.add_service(WEB)
    for server in (RS1, RS2, RS3):
        director.add_server(VIP, server)
    assert servers(director) == [RS3, RS2, RS1]


def test_edits_a_server_in_its_place(director: Director) -> None:
    director.add_service(WEB)
    for server in (RS1, RS2, RS3):
        director.add_server(VIP, server)
    edited = RealServer(RS2.endpoint, NAT, weight=65536)
    director.edit_server(VIP, edited)
    assert servers(director) == [RS3, edited, RS1]


def test_puts_a_server_first_that_was_deleted_and_added(director: Director) -> None:
    director.add_service(WEB)
    for server in (RS1, RS2):
        director.add_server(VIP, server)
    director.delete_server(VIP, RS1.endpoint)
    assert servers(director) == [RS2]
    director.add_server(VIP, RS1)
    assert servers(director) == [RS1, RS2]


def test_tells_servers_apart_by_port(director: Director) -> None:
    director.add_service(WEB)
    again = RS1.replace(endpoint=endpoint("198.51.100.11", 81))
    director.add_server(VIP, RS1)
    director.add_server(VIP, again)
    director.delete_server(VIP, RS1.endpoint)
    assert servers(director) == [again]


def test_keeps_the_servers_of_services_apart(director: Director) -> None:
    director.add_service(WEB)
    director.add_service(VirtualService(OTHER_VIP))
    director.add_server(VIP, RS1)
    director.add_server(OTHER_VIP, RS1.replace(weight=7))
    director.edit_server(VIP, RS1.replace(weight=2))
    assert servers(director, OTHER_VIP) == [RS1.replace(weight=7)]
    director.delete_server(VIP, RS1.endpoint)
    assert servers(director, OTHER_VIP) == [RS1.replace(weight=7)]


def test_refuses_a_server_twice(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RS1)
    refuses(DestinationExists, lambda: director.add_server(VIP, RS1.replace(weight=9, method=DR)), director)


def test_knows_no_server_but_its_own(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RS1)
    refuses(NoSuchDestination, lambda: director.edit_server(VIP, RS2), director)
    refuses(NoSuchDestination, lambda: director.delete_server(VIP, RS2.endpoint), director)


def test_knows_no_server_of_a_service_that_is_not_there(director: Director) -> None:
    director.add_service(WEB)
    out_of_range = RS1.replace(weight=-1)
    refuses(ServiceNotDefined, lambda: director.add_server(OTHER_VIP, out_of_range), director)
    refuses(ServiceNotDefined, lambda: director.edit_server(OTHER_VIP, out_of_range), director)
    refuses(ServiceNotDefined, lambda: director.delete_server(OTHER_VIP, RS1.endpoint), director)


def test_refuses_a_weight_below_zero(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RS1)
    refuses(OutOfRange, lambda: director.add_server(VIP, RS2.replace(weight=-1)), director)
    refuses(OutOfRange, lambda: director.edit_server(VIP, RS1.replace(weight=-1)), director)


NOBODY = "0.0.0.0"  # noqa: S104 (nothing is bound to it: it is what must be refused)


@pytest.mark.parametrize("address", [NOBODY, "224.0.0.1", "239.255.255.255", "255.255.255.255", "127.255.255.255"])
def test_refuses_a_server_that_is_not_one_machine(director: Director, address: str) -> None:
    director.add_service(WEB)
    refuses(InvalidOperation, lambda: director.add_server(VIP, RealServer(endpoint(address, 80))), director)


def test_refuses_a_server_of_the_other_family(director: Director) -> None:
    director.add_service(WEB)
    refuses(InvalidOperation, lambda: director.add_server(VIP, RealServer(endpoint("fd00:1::11", 80), NAT)), director)


def test_takes_its_own_address_for_a_server(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RealServer(endpoint("127.0.0.1", 80), DR))
    director.add_server(VIP, RealServer(endpoint("192.0.2.1", 80), DR))


# --- counters and timeouts


def test_zeroes_what_never_counted(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RS1)
    director.zero()
    director.zero(VIP)
    assert director.service(VIP).counters == Counters()
    assert [snapshot.counters for snapshot in director.service(VIP).servers] == [Counters()]


def test_sets_timeouts_but_those_of_zero(director: Director) -> None:
    assert director.timeouts() == Timeouts(tcp=900, tcp_fin=120, udp=300)
    director.set_timeouts(Timeouts(tcp=100, tcp_fin=20, udp=2678400))
    director.set_timeouts(Timeouts(tcp=0, tcp_fin=5, udp=0))
    assert director.timeouts() == Timeouts(tcp=100, tcp_fin=5, udp=2678400)


def test_flushing_keeps_the_timeouts(director: Director) -> None:
    director.set_timeouts(Timeouts(tcp=10, tcp_fin=11, udp=12))
    director.flush()
    assert director.timeouts() == Timeouts(tcp=10, tcp_fin=11, udp=12)


# --- kinds of services and servers


@pytest.mark.parametrize("address", ["::", "ff02::1", "fe80::6", "::ffff:192.0.2.1"])
def test_refuses_an_ipv6_server_that_is_not_one_machine(director: Director, address: str) -> None:
    director.add_service(VirtualService(VIP6))
    refuses(InvalidOperation, lambda: director.add_server(VIP6, RealServer(endpoint(address, 80))), director)


def test_holds_ipv6(director: Director) -> None:
    director.add_service(VirtualService(VIP6))
    server = RealServer(endpoint("fd00:1::11", 8080), NAT)
    director.add_server(VIP6, server)
    assert servers(director, VIP6) == [server]


def test_tells_marks_apart_by_family(director: Director) -> None:
    director.add_service(VirtualService(MARK))
    refuses(NoSuchService, lambda: director.delete_service(FirewallMark(7, family=6)), director)
    director.add_service(VirtualService(FirewallMark(7, family=6)))
    director.delete_service(MARK)
    assert services(director) == {VirtualService(FirewallMark(7, family=6))}


def test_holds_sctp(director: Director) -> None:
    service = VirtualService(VirtualAddress(Protocol.SCTP, endpoint("192.0.2.80", 36412)))
    director.add_service(service)
    assert services(director) == {service}


def test_refuses_a_lower_threshold_above_the_upper(director: Director) -> None:
    director.add_service(WEB)
    limited = RS1.replace(upper_threshold=10, lower_threshold=10)
    director.add_server(VIP, limited)
    assert servers(director) == [limited]
    wrong = limited.replace(lower_threshold=11)
    refuses(OutOfRange, lambda: director.edit_server(VIP, wrong), director)
    refuses(OutOfRange, lambda: director.add_server(VIP, wrong.replace(endpoint=RS2.endpoint)), director)


def test_holds_persistence(director: Director) -> None:
    service = WEB.replace(persistence=60, netmask=IPv4Address("255.255.255.0"))
    director.add_service(service)
    assert services(director) == {service}
    refuses(SchedulerNotFound, lambda: director.edit_service(service.replace(persistence_engine="nosuch")), director)
    director.edit_service(WEB)
    assert services(director) == {WEB}


@pytest.mark.parametrize("length", [0, 129])
def test_refuses_an_impossible_prefix(director: Director, length: int) -> None:
    service = VirtualService(VIP6, persistence=60, netmask=length)
    refuses(InvalidOperation, lambda: director.add_service(service), director)


def test_holds_one_packet_scheduling(director: Director) -> None:
    service = VirtualService(VIP_UDP, one_packet=True)
    director.add_service(service)
    assert services(director) == {service}


TUNNELS = [
    Tunnel(),
    Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE),
    Tunnel(TunnelType.GRE, checksum=TunnelChecksum.CSUM),
]


@pytest.mark.parametrize("tunnel", TUNNELS, ids=str)
def test_holds_tunnels(director: Director, tunnel: Tunnel) -> None:
    director.add_service(WEB)
    server = RealServer(RS1.endpoint, TUN, tunnel=tunnel)
    director.add_server(VIP, server)
    assert servers(director) == [server]


def test_refuses_gue_without_a_port(director: Director) -> None:
    director.add_service(WEB)
    server = RealServer(RS1.endpoint, TUN, tunnel=Tunnel(TunnelType.GUE))
    refuses(InvalidOperation, lambda: director.add_server(VIP, server), director)


def test_takes_servers_of_the_other_family_through_a_tunnel(director: Director) -> None:
    director.add_service(WEB)
    director.add_service(VirtualService(VIP6))
    director.add_server(VIP, RealServer(endpoint("fd00:1::11", 80), TUN))
    director.add_server(VIP6, RealServer(RS1.endpoint, TUN))
    refuses(InvalidOperation, lambda: director.edit_server(VIP6, RealServer(RS1.endpoint, DR)), director)


def test_holds_a_service_for_every_port(director: Director) -> None:
    every = VirtualService(tcp("192.0.2.80", 0), "rr", persistence=60)
    director.add_service(every)
    director.add_service(WEB)
    server = RealServer(endpoint("198.51.100.11", 0), NAT)
    director.add_server(every.id, server)
    assert services(director) == {every, WEB}
    assert servers(director, every.id) == [server]
    director.delete_service(every.id)
    assert services(director) == {WEB}


@pytest.mark.parametrize("family", [4, 6])
def test_holds_the_highest_mark(director: Director, family: int) -> None:
    service = VirtualService(FirewallMark(2**32 - 1, family), "wrr", persistence=300)
    director.add_service(service)
    server = RealServer(endpoint("198.51.100.11" if family == 4 else "fd00:1::11", 0), NAT)
    director.add_server(service.id, server)
    assert services(director) == {service}
    assert servers(director, service.id) == [server]


def test_knows_no_service_of_mark_0(director: Director) -> None:
    refuses(InvalidOperation, lambda: director.add_service(VirtualService(FirewallMark(0))), director)
    refuses(NoSuchService, lambda: director.delete_service(FirewallMark(0)), director)


@pytest.mark.parametrize("length", [1, 64, 127])
def test_holds_prefixes(director: Director, length: int) -> None:
    service = VirtualService(VIP6, persistence=2678400, netmask=length)
    director.add_service(service)
    assert services(director) == {service}
    director.edit_service(service.replace(netmask=None))
    assert services(director) == {service.replace(netmask=None)}


@pytest.mark.parametrize("mask", ["255.255.255.0", "0.0.0.0", "0.0.0.24", "255.0.255.255"])  # noqa: S104 (a mask)
def test_holds_any_mask(director: Director, mask: str) -> None:
    service = WEB.replace(persistence=1, netmask=parse_address(mask))
    director.add_service(service)
    assert services(director) == {service}


def test_edits_thresholds_and_tunnels(director: Director) -> None:
    director.add_service(WEB)
    director.add_server(VIP, RealServer(RS1.endpoint, TUN, 1, 20, 10, Tunnel(TunnelType.GUE, 6080)))
    for edited in (RealServer(RS1.endpoint, TUN, 2, 2**31 - 1), RealServer(RS1.endpoint, NAT, 0, 1, 1)):
        director.edit_server(VIP, edited)
        assert servers(director) == [edited]


# --- FULLNAT

POOL = (parse_address("192.0.2.1"), parse_address("192.0.2.2"), parse_address("fd00::1"))
LOCAL = POOL[0]
POOLED = WEB.replace(local_addresses=POOL)
FULL = RealServer(endpoint("198.51.100.11", 8080), FULLNAT)


@pytest.mark.feature("fullnat")
def test_holds_local_addresses_in_their_order(director: Director) -> None:
    director.add_service(POOLED)
    director.add_server(VIP, FULL)
    assert services(director) == {POOLED}
    assert servers(director) == [FULL]
    for pool in ((POOL[1], POOL[0]), ()):
        director.edit_service(WEB.replace(local_addresses=pool))
        assert services(director) == {WEB.replace(local_addresses=pool)}
    assert servers(director) == [FULL]


@pytest.mark.feature("fullnat")
def test_takes_servers_of_the_other_family_by_fullnat(director: Director) -> None:
    director.add_service(POOLED)
    director.add_service(VirtualService(VIP6))
    other = FULL.replace(endpoint=endpoint("fd00:1::11", 80))
    director.add_server(VIP, other)
    director.add_server(VIP6, FULL)
    assert servers(director) == [other]
    refuses(InvalidOperation, lambda: director.edit_server(VIP, other.replace(method=NAT)), director)


@pytest.mark.feature("fullnat")
def test_refuses_too_many_local_addresses(director: Director) -> None:
    director.add_service(WEB)
    many = WEB.replace(local_addresses=(LOCAL,) * (MOST_LOCAL_ADDRESSES + 1))
    refuses(FullnatRefused, lambda: director.edit_service(many), director)
    director.edit_service(WEB.replace(local_addresses=(LOCAL,) * MOST_LOCAL_ADDRESSES))


@pytest.mark.feature("fullnat")
@pytest.mark.parametrize("address", ["192.0.2.3", "198.51.100.11", "127.0.0.1", "fd00::2"])
def test_refuses_local_addresses_that_are_not_its_own(director: Director, address: str) -> None:
    director.add_service(POOLED)
    wrong = WEB.replace(local_addresses=(LOCAL, parse_address(address)))
    refuses(FullnatRefused, lambda: director.edit_service(wrong), director)
    refuses(FullnatRefused, lambda: director.add_service(wrong.replace(id=OTHER_VIP)), director)


OVERLAPPING = [
    pytest.param(tcp("192.0.2.1", 8080), VIP, id="one of its ports"),
    pytest.param(tcp("192.0.2.1", 0), VIP, id="every port"),
    pytest.param(tcp("192.0.2.1", 8080), MARK, id="a mark's"),
    pytest.param(tcp("fd00::1", 32767), VIP6, id="IPv6"),
]


@pytest.mark.feature("fullnat")
@pytest.mark.parametrize(("vip", "pooled"), OVERLAPPING)
def test_refuses_a_pool_that_overlaps_a_service(director: Director, vip: VirtualAddress, pooled: ServiceId) -> None:
    held = VirtualService(vip, persistence=60)
    service = VirtualService(pooled, local_addresses=POOL)
    director.add_service(held)
    refuses(FullnatRefused, lambda: director.add_service(service), director)
    director.add_service(service.replace(local_addresses=()))
    refuses(FullnatRefused, lambda: director.edit_service(service), director)
    director.delete_service(vip)
    director.edit_service(service)
    refuses(FullnatRefused, lambda: director.add_service(held), director)


@pytest.mark.feature("fullnat")
def test_refuses_a_pool_that_overlaps_its_own_service(director: Director) -> None:
    service = VirtualService(tcp("192.0.2.1", 8080), local_addresses=(LOCAL,))
    refuses(FullnatRefused, lambda: director.add_service(service), director)


@pytest.mark.feature("fullnat")
@pytest.mark.parametrize(
    "vip",
    [tcp("192.0.2.1", 1023), tcp("192.0.2.1", 32768), VirtualAddress(Protocol.UDP, endpoint("192.0.2.1", 8080))],
    ids=str,
)
def test_takes_a_local_address_whose_ports_are_free(director: Director, vip: VirtualAddress) -> None:
    director.add_service(VirtualService(vip))
    director.add_service(POOLED)
    assert services(director) == {VirtualService(vip), POOLED}


@pytest.mark.feature("fullnat")
def test_refuses_fullnat_with_one_packet_scheduling(director: Director) -> None:
    service = VirtualService(VIP_UDP, one_packet=True)
    director.add_service(service)
    director.add_server(VIP_UDP, FULL.replace(method=NAT))
    refuses(FullnatRefused, lambda: director.edit_server(VIP_UDP, FULL), director)
    refuses(FullnatRefused, lambda: director.add_server(VIP_UDP, FULL.replace(endpoint=RS2.endpoint)), director)
    director.edit_service(service.replace(one_packet=False))
    director.edit_server(VIP_UDP, FULL)
    refuses(FullnatRefused, lambda: director.edit_service(service), director)


# --- what a director may lack


@pytest.mark.parametrize("scheduler", sorted({*SCHEDULERS} - {"twos"}))
def test_holds_every_scheduler(director: Director, scheduler: str) -> None:
    director.add_service(WEB.replace(scheduler=scheduler, flags=0x18))
    assert services(director) == {WEB.replace(scheduler=scheduler, flags=0x18)}


@pytest.mark.feature("twos")
def test_holds_twos(director: Director) -> None:
    director.add_service(WEB.replace(scheduler="twos"))
    assert services(director) == {WEB.replace(scheduler="twos")}


@pytest.mark.feature("engines")
def test_holds_persistence_engines(director: Director) -> None:
    service = WEB.replace(persistence=60, persistence_engine="sip")
    director.add_service(service)
    assert services(director) == {service}


MAY_BE_MISSING = {"local_port_first", "local_port_last", "debug_level", "est_nice"}
"""Knobs of pylvs itself, and of newer or other kernels than Debian 12's."""


def test_knobs_have_their_defaults(director: Director) -> None:
    knobs = director.knobs()
    assert knob.KNOBS.keys() - knobs.keys() <= MAY_BE_MISSING
    fixed = {name for name in knobs if knob.KNOBS[name].default is not None}
    assert {name: knobs[name] for name in fixed} == {name: knob.defaults()[name] for name in fixed}


def test_knobs_are_set_together(director: Director) -> None:
    changes: dict[str, knob.KnobValue] = {"drop_entry": 3, "sync_threshold": (7, 0), "amemthresh": -5}
    before = director.knobs()
    director.set_knobs(changes)
    assert director.knobs() == {**before, **changes}


@pytest.mark.parametrize(
    "changes", [{"drop_packet": 1, "drop_entry": 4}, {"drop_packet": 1, "nothing": 0}, {"local_port_first": 40000}]
)
def test_knobs_are_refused_together(changes: dict[str, knob.KnobValue], director: Director) -> None:
    before = director.knobs()
    with pytest.raises(InvalidKnob):
        director.set_knobs(changes)
    assert director.knobs() == before
