"""A plan leads from any table to any other, changes nothing that is right already, and is careful on the way."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylvs.change import change
from pylvs.desired import Held, State, state_of
from pylvs.director.memory import MemoryDirector
from pylvs.errors import Refused, TableFull
from pylvs.model import (
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    IPAddress,
    Protocol,
    RealServer,
    ServiceId,
    Timeouts,
    Tunnel,
    TunnelType,
    VirtualAddress,
    VirtualService,
)
from pylvs.plan import AddServer, AddService, DeleteServer, DeleteService, EditServer, EditService, Step, plan

OWN = [IPv4Interface(f"192.0.2.{n}/24") for n in range(1, 4)]
ADDRESSES: list[IPAddress] = [*(interface.ip for interface in OWN), IPv4Address("203.0.113.7"), IPv6Address("fd00::80")]
VIP = VirtualAddress(Protocol.TCP, Endpoint(ADDRESSES[3], 80))
ONE, OTHER = (RealServer(Endpoint(IPv4Address(f"198.51.100.{n}"), 80), ForwardingMethod.NAT) for n in (1, 2))

ids: st.SearchStrategy[ServiceId] = st.one_of(
    st.builds(
        VirtualAddress,
        st.sampled_from(Protocol),
        st.builds(Endpoint, st.sampled_from(ADDRESSES), st.sampled_from([80, 2000])),
    ),
    st.builds(FirewallMark, st.integers(1, 3), st.sampled_from([4, 6])),
)


@st.composite
def services(draw: st.DrawFn, id: ServiceId) -> Held:
    one_packet = draw(st.booleans())
    service = VirtualService(
        id,
        draw(st.sampled_from(["rr", "wlc"])),
        flags=draw(st.sampled_from([0, 8])),
        persistence=draw(st.sampled_from([None, 300])),
        one_packet=one_packet,
        local_addresses=tuple(draw(st.lists(st.sampled_from(ADDRESSES[:3]), unique=True, max_size=2))),
    )
    methods = [m for m in ForwardingMethod if not (one_packet and m is ForwardingMethod.FULLNAT)]
    numbers = draw(st.lists(st.integers(1, 4), unique=True, max_size=4))
    return Held(service, tuple(draw(servers(id, number, methods)) for number in numbers))


@st.composite
def servers(draw: st.DrawFn, id: ServiceId, number: int, methods: list[ForwardingMethod]) -> RealServer:
    address = IPv4Address(f"198.51.100.{number}") if id.family == 4 else IPv6Address(f"fd00::{number}")
    method = draw(st.sampled_from(methods))
    return RealServer(
        Endpoint(address, 80),
        method,
        draw(st.integers(0, 3)),
        upper_threshold=draw(st.sampled_from([0, 10])),
        tunnel=Tunnel(TunnelType.GRE) if method is ForwardingMethod.TUN else Tunnel(),
    )


def _holding(state: State) -> MemoryDirector | None:
    """A director that holds this, if one may."""
    director = MemoryDirector(OWN)
    try:
        change(director, state)
    except Refused:  # two services of what was drawn exclude each other
        return None
    return director


@st.composite
def states(draw: st.DrawFn) -> State:
    held = [draw(services(id)) for id in draw(st.lists(ids, unique=True, max_size=5))]
    timeouts = st.one_of(st.none(), st.builds(Timeouts, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)))
    knobs: dict[str, int] = draw(st.dictionaries(st.sampled_from(["drop_entry", "sloppy_tcp"]), st.integers(0, 1)))
    state = State(tuple(held), draw(timeouts), knobs)
    while held and _holding(state) is None:
        held.pop()
        state = state.replace(services=tuple(held))
    return state


def _table(state: State) -> dict[ServiceId, tuple[VirtualService, dict[Endpoint, RealServer]]]:
    """Without the order of servers, which a plan does not change."""
    return {
        held.service.id: (held.service, {server.endpoint: server for server in held.servers}) for held in state.services
    }


@given(states(), states())
def test_reaches_what_is_desired_and_rests(current: State, desired: State) -> None:
    director = _holding(current)
    assert director is not None
    for step in plan(state_of(director), desired):
        step.apply(director)
    reached = state_of(director)
    assert _table(reached) == _table(desired)
    assert desired.timeouts in (None, reached.timeouts)
    assert desired.knobs.items() <= reached.knobs.items()
    assert plan(reached, desired) == []


@given(states())
def test_a_new_table_has_its_servers_in_order(desired: State) -> None:
    director = _holding(desired)
    assert director is not None
    assert {held.service.id: held.servers for held in state_of(director).services} == {
        held.service.id: held.servers for held in desired.services
    }


def _available(state: State) -> dict[ServiceId, int]:
    return {held.service.id: len(held.servers) for held in state.services}


def _on_the_way(director: MemoryDirector, steps: list[Step]) -> Iterator[State]:
    for step in steps:
        step.apply(director)
        yield state_of(director)


@given(states(), states())
def test_a_service_that_stays_never_has_fewer_servers_than_before_and_after(current: State, desired: State) -> None:
    director = _holding(current)
    assert director is not None
    before, after = _available(current), _available(desired)
    for state in _on_the_way(director, plan(state_of(director), desired)):
        there = _available(state)
        for id in before.keys() & after.keys():
            assert there[id] >= min(before[id], after[id])


def _state(*held: Held) -> State:
    return State(held)


SERVICE = VirtualService(VIP, "rr")
PORTS = VirtualService(VirtualAddress(Protocol.TCP, Endpoint(ADDRESSES[3], 0)), "rr", persistence=300)
LOCAL = SERVICE.replace(local_addresses=(ADDRESSES[0],))
AT_LOCAL = VirtualService(VirtualAddress(Protocol.TCP, Endpoint(ADDRESSES[0], 2000)))
FULLNAT = ONE.replace(method=ForwardingMethod.FULLNAT)

ORDERS: dict[str, tuple[State, State, list[Step]]] = {
    "a server comes before one goes": (
        _state(Held(SERVICE, (ONE,))),
        _state(Held(SERVICE, (OTHER,))),
        [AddServer(VIP, OTHER), DeleteServer(VIP, ONE.endpoint)],
    ),
    "a service comes before one goes that shares its packets": (
        _state(Held(SERVICE, (ONE,))),
        _state(Held(PORTS, (ONE,))),
        [AddService(PORTS), AddServer(PORTS.id, ONE), DeleteService(VIP)],
    ),
    "what is in FULLNAT's way goes first": (
        _state(Held(AT_LOCAL)),
        _state(Held(LOCAL)),
        [DeleteService(AT_LOCAL.id), AddService(LOCAL)],
    ),
    "a local address is given back before it is a VIP": (
        _state(Held(LOCAL)),
        _state(Held(SERVICE), Held(AT_LOCAL)),
        [EditService(SERVICE), AddService(AT_LOCAL)],
    ),
    "FULLNAT goes before one-packet scheduling comes": (
        _state(Held(SERVICE, (FULLNAT,))),
        _state(Held(SERVICE.replace(one_packet=True), (ONE,))),
        [EditServer(VIP, ONE), EditService(SERVICE.replace(one_packet=True))],
    ),
    "only what differs": (
        _state(Held(SERVICE, (ONE, OTHER)), Held(PORTS, (ONE,))),
        _state(Held(SERVICE, (OTHER.replace(weight=0), ONE)), Held(PORTS, (ONE,))),
        [EditServer(VIP, OTHER.replace(weight=0))],
    ),
}


@pytest.mark.parametrize(("current", "desired", "steps"), ORDERS.values(), ids=ORDERS)
def test_order(current: State, desired: State, steps: list[Step]) -> None:
    assert plan(current, desired) == steps


class Small(MemoryDirector):
    """Has room for two servers of a service."""

    def add_server(self, id: ServiceId, server: RealServer) -> None:
        if len(self.service(id).servers) == 2:
            raise TableFull
        super().add_server(id, server)


def test_a_change_that_is_refused_half_way_is_undone() -> None:
    director = Small(OWN)
    before = State((Held(SERVICE, (ONE,)),), Timeouts(1, 2, 3), {"drop_entry": 1})
    change(director, before)
    third = ONE.replace(endpoint=Endpoint(IPv4Address("198.51.100.3"), 80))
    with pytest.raises(TableFull):
        change(director, State((Held(PORTS), Held(SERVICE, (OTHER, third))), Timeouts(4, 5, 6), {"drop_entry": 2}))
    reached = state_of(director)
    assert _table(reached) == _table(before)
    assert reached.timeouts == before.timeouts
    assert reached.knobs["drop_entry"] == 1
