"""What -S prints, -R reads: any table comes back, but for its thresholds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_interface

from hypothesis import given, settings
from hypothesis import strategies as st

from pylvs.director.memory import MemoryDirector
from pylvs.model import (
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    Protocol,
    RealServer,
    ServiceId,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualAddress,
    VirtualService,
)
from tests.ipvsadm import ipvsadm

V4 = st.integers(0x01000000, 0x7EFFFFFF).map(IPv4Address)
V6 = st.integers(0x20010DB8 << 96, (0x20010DB9 << 96) - 1).map(IPv6Address)
PORT = st.integers(1, 65535)
OWN = tuple(map(ip_interface, ("192.0.2.1/24", "192.0.2.2/24", "198.51.100.1/24", "fd00::1/64", "fd00::2/64")))
POOLS = st.lists(st.sampled_from([interface.ip for interface in OWN]), unique=True).map(tuple)
OWN_FLAGS = {"sh": (0, 0x08, 0x10, 0x18), "mh": (0, 0x08, 0x10, 0x18)}

TUNNELS = st.one_of(
    st.just(Tunnel()),
    st.builds(Tunnel, st.just(TunnelType.GUE), PORT, st.sampled_from(TunnelChecksum)),
    st.builds(Tunnel, st.just(TunnelType.GRE), st.just(0), st.sampled_from((TunnelChecksum.NONE, TunnelChecksum.CSUM))),
)


@st.composite
def service(draw: st.DrawFn) -> VirtualService:
    id: ServiceId = draw(
        st.one_of(
            st.builds(VirtualAddress, st.sampled_from(Protocol), st.builds(Endpoint, st.one_of(V4, V6), PORT)),
            st.builds(FirewallMark, st.integers(1, 2**31 - 1), st.sampled_from((4, 6))),
        )
    )
    scheduler = draw(st.sampled_from(("rr", "wlc", "sh", "mh")))
    persistence = draw(st.one_of(st.none(), st.integers(1, 2678400)))
    masks: st.SearchStrategy[IPv4Address | int] = V4 if id.family == 4 else st.integers(1, 127)
    may_be_one_packet = isinstance(id, FirewallMark) or id.protocol is Protocol.UDP
    return VirtualService(
        id,
        scheduler,
        draw(st.sampled_from(OWN_FLAGS.get(scheduler, (0, 0x08, 0x10, 0x20, 0x38)))),
        persistence,
        None if persistence is None else draw(st.one_of(st.none(), masks)),
        draw(st.sampled_from(("", "sip"))),
        may_be_one_packet and draw(st.booleans()),
        draw(POOLS),
    )


@st.composite
def server(draw: st.DrawFn, service: VirtualService) -> RealServer:
    id = service.id
    methods = [one for one in ForwardingMethod if not (service.one_packet and one is ForwardingMethod.FULLNAT)]
    method = draw(st.sampled_from(methods))
    same_port = isinstance(id, VirtualAddress) and method in (ForwardingMethod.DR, ForwardingMethod.TUN)
    port = id.endpoint.port if isinstance(id, VirtualAddress) and same_port else draw(PORT)
    tunnelled = method is ForwardingMethod.TUN
    address = draw(st.one_of(V4, V6) if method.crosses_families else V4 if id.family == 4 else V6)
    weight = draw(st.integers(0, 2**31 - 1))
    return RealServer(Endpoint(address, port), method, weight, tunnel=draw(TUNNELS) if tunnelled else Tunnel())


@st.composite
def table(draw: st.DrawFn) -> MemoryDirector:
    filled = MemoryDirector(OWN)
    for each in draw(st.lists(service(), max_size=5, unique_by=lambda s: s.id)):
        filled.add_service(each)
        for one in draw(st.lists(server(each), max_size=5, unique_by=lambda s: s.endpoint)):
            filled.add_server(each.id, one)
    return filled


def content(held: MemoryDirector) -> dict[VirtualService, frozenset[RealServer]]:
    return {s.service: frozenset(server.server for server in s.servers) for s in held.services()}


@given(table())
@settings(deadline=None)
def test_restores_what_it_saved(filled: MemoryDirector) -> None:
    rules = ipvsadm(["-S", "-n"], filled)
    assert (rules.rc, rules.stderr) == (0, "")
    again = MemoryDirector(OWN)
    assert ipvsadm(["-R"], again, rules.stdout) == ("", "", 0)
    assert content(again) == content(filled)
