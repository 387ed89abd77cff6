"""What the control plane writes of services, servers and addresses for the data plane to read."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from pylvs.director.ebpf import abi, attach, libbpf
from pylvs.director.ebpf.convert import pack_address, pack_key
from pylvs.director.rules import MOST_LOCAL_ADDRESSES
from pylvs.errors import FullnatRefused, NotYetSupported
from pylvs.model import (
    FirewallMark,
    ForwardingMethod,
    RealServer,
    ServiceId,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualService,
    parse_address,
)
from tests.packets.plane import Plane, endpoint, service
from tests.packets.space import fresh_namespace
from tests.packets.wire import DIP, NOWHERE, RIP1, RIP3, VIP

pytestmark = pytest.mark.root

NAT, DR, TUN, FULLNAT = ForwardingMethod.NAT, ForwardingMethod.DR, ForwardingMethod.TUN, ForwardingMethod.FULLNAT
WEB, EVERY, FTP = service(f"tcp {VIP}:80"), service(f"tcp {VIP}:0"), service(f"tcp {VIP}:21")
MARK = FirewallMark(7)
DIP1 = "192.168.10.1"
"""The director's address on eth1."""
DIP6, RIP6 = "fd00:9::1", "fd00:9::111"
VIP_ROLE, RIP_ROLE, LOCAL_ROLE = abi.AddressRole.VIP, abi.AddressRole.RIP, abi.AddressRole.LOCAL
DIP_ROLE = abi.AddressRole.DIP


@pytest.fixture
def plane6(plane: Plane) -> Iterator[Plane]:
    """With an IPv6 address, too."""
    subprocess.run(["ip", "address", "add", f"{DIP6}/64", "dev", "eth0", "nodad"], check=True)
    yield plane
    plane.director.flush()
    subprocess.run(["ip", "address", "delete", f"{DIP6}/64", "dev", "eth0"], check=True)


def record(plane: Plane, id: ServiceId = WEB) -> abi.Service:
    registry = plane.director._registry
    assert registry is not None
    return plane.table.services[registry.services[id]]


def only_server(plane: Plane, id: ServiceId = WEB) -> abi.Server:
    registry = plane.director._registry
    assert registry is not None
    (number,) = registry.servers[registry.services[id]]
    return plane.table.servers[number]


def address(text: str) -> bytes:
    return pack_address(parse_address(text))


def roles(plane: Plane, text: str) -> int:
    raw = libbpf.lookup(plane.table.fd("addresses"), address(text), 4)
    return int.from_bytes(raw or b"", "little")


def pool(plane: Plane, pool: abi.Pool) -> list[str]:
    texts = []
    for number in pool.local[: pool.size]:
        packed = bytes(plane.table.locals[number])
        texts.append(str(ip_address(packed[12:] if packed.startswith(bytes(10) + b"\xff\xff") else packed)))
    return texts


# --- services


@pytest.mark.parametrize(
    ("id", "vip", "port", "protocol"),
    [
        (MARK, "::ffff:0.0.0.7", 0, 0),
        (FirewallMark(2**32 - 1, 6), "::ffff:ffff", 0, 0),
        (EVERY, f"::ffff:{VIP}", 0, 6),
        (service("sctp 192.0.2.1:36412"), "::ffff:192.0.2.1", 36412, 132),
    ],
    ids=str,
)
def test_keys(plane: Plane, id: ServiceId, vip: str, port: int, protocol: int) -> None:
    plane.director.add_service(VirtualService(id, persistence=60))
    key = ip_address(vip).packed + port.to_bytes(2, "big") + bytes([protocol]) + bytes(5)
    assert pack_key(id) == bytes(record(plane, id).key) == key
    assert libbpf.lookup(plane.table.fd("service_index"), key, 4) == bytes(4)
    plane.director.delete_service(id)
    assert libbpf.lookup(plane.table.fd("service_index"), key, 4) is None


@pytest.mark.parametrize(
    ("id", "netmask", "expected"),
    [
        (WEB, None, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (WEB, ip_address("255.255.0.0"), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:0"),
        (FirewallMark(1, 6), 60, "ffff:ffff:ffff:fff0::"),
        (FirewallMark(1, 6), None, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_persistence(plane: Plane, id: ServiceId, netmask: object, expected: str) -> None:
    plane.director.add_service(VirtualService(id, persistence=50).replace(netmask=netmask))
    raw = record(plane, id)
    assert raw.persistence == 50 * abi.TICKS_A_SECOND
    assert bytes(raw.netmask) == ip_address(expected).packed
    plane.director.edit_service(VirtualService(id))
    assert record(plane, id).persistence == 0
    assert bytes(record(plane, id).netmask) == b"\xff" * 16


def test_one_packet(plane: Plane) -> None:
    id = service(f"udp {VIP}:53")
    plane.director.add_service(VirtualService(id, one_packet=True))
    assert record(plane, id).one_packet == 1
    plane.director.edit_service(VirtualService(id))
    assert record(plane, id).one_packet == 0


# --- servers


@pytest.mark.parametrize(
    ("service", "port", "mapped", "many_to_one"),
    [
        (VirtualService(WEB), 8080, 8080, 0),
        (VirtualService(WEB, persistence=60), 8080, 8080, 0),
        (VirtualService(MARK), 0, 0, 1),
        (VirtualService(MARK), 8080, 8080, 1),
        (VirtualService(MARK, persistence=60), 8080, 0, 1),
        (VirtualService(EVERY, persistence=60), 0, 0, 1),
        (VirtualService(EVERY, persistence=60), 8080, 0, 1),
        (VirtualService(FTP, persistence=60), 2121, 2121, 1),
        (VirtualService(FTP), 2121, 2121, 0),
        (VirtualService(service(f"udp {VIP}:21"), persistence=60), 2121, 2121, 0),
    ],
)
def test_ports(plane: Plane, service: VirtualService, port: int, mapped: int, many_to_one: int) -> None:
    plane.director.add_service(service)
    plane.director.add_server(service.id, RealServer(endpoint(f"{RIP1}:{port}"), NAT))
    raw = only_server(plane, service.id)
    assert (raw.port, raw.mapped_port, raw.many_to_one) == (port, mapped, many_to_one)
    assert raw.virtual_port == (0 if isinstance(service.id, FirewallMark) else service.id.endpoint.port)


def test_ports_follow_an_edit_of_the_service(plane: Plane) -> None:
    plane.director.add_service(VirtualService(MARK))
    plane.director.add_server(MARK, RealServer(endpoint(f"{RIP1}:8080"), NAT))
    for persistence, mapped in ((60, 0), (None, 8080)):
        plane.director.edit_service(VirtualService(MARK, persistence=persistence))
        assert only_server(plane, MARK).mapped_port == mapped


def test_tunnel(plane: Plane) -> None:
    plane.director.add_service(VirtualService(WEB))
    tunnel = Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE)
    plane.director.add_server(WEB, RealServer(endpoint(f"{RIP3}:80"), TUN, tunnel=tunnel))
    raw = only_server(plane)
    assert raw.method == abi.ForwardingMethod.TUN
    assert (raw.tunnel.type, raw.tunnel.port, raw.tunnel.checksum) == (1, 6080, 2)
    assert bytes(raw.source) == address("192.168.10.1")
    assert raw.local == 0


def test_source_of_ipv6(plane6: Plane) -> None:
    plane6.director.add_service(VirtualService(WEB))
    plane6.director.add_server(WEB, RealServer(endpoint(f"{RIP6}:80"), TUN))
    assert bytes(only_server(plane6).source) == address(DIP6)


def test_no_source_where_there_is_no_route(plane: Plane) -> None:
    plane.serve(f"tcp {VIP}:80", f"{NOWHERE}:80", method=TUN)
    assert bytes(only_server(plane).source) == bytes(16)


@pytest.mark.parametrize("own", ["127.0.0.1", "127.9.9.9", DIP, "192.168.10.1"])
def test_local(plane: Plane, own: str) -> None:
    plane.director.add_service(VirtualService(WEB))
    with pytest.raises(NotYetSupported, match="--fullnat to the director itself is not supported; use -m or -g"):
        plane.director.add_server(WEB, RealServer(endpoint(f"{own}:80"), FULLNAT))
    plane.director.add_server(WEB, RealServer(endpoint(f"{own}:80"), NAT))
    assert only_server(plane).local == 1
    with pytest.raises(NotYetSupported, match="--fullnat to the director itself"):
        plane.director.edit_server(WEB, RealServer(endpoint(f"{own}:80"), FULLNAT))
    assert only_server(plane).method == abi.ForwardingMethod.NAT


def test_interface_where_the_kernel_does_not_forward(plane6: Plane) -> None:
    switches = [Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/net/ipv6/conf/all/forwarding")]
    before = [switch.read_text() for switch in switches]
    plane6.director.add_service(VirtualService(WEB))
    try:
        for forwards, interface in (("0", plane6.indexes["eth0"]), ("1", 0)):
            for switch in switches:
                switch.write_text(forwards)
            for rip in (RIP1, RIP6):
                one = RealServer(endpoint(f"{rip}:80"), TUN)
                plane6.director.add_server(WEB, one)
                assert only_server(plane6).interface == interface
                plane6.director.delete_server(WEB, one.endpoint)
    finally:
        for switch, text in zip(switches, before, strict=True):
            switch.write_text(text)


RECORDED = {(4, 1): 1, (4, 0): 0, (4, 3): 0, (3, 0): 0, (3, 1): 1, (2, 0): 1, (5, 1): 1, (0, 0): 0}
"""What a kernel's IPVS made of an overloaded server with two connections that was edited to these thresholds."""


@pytest.mark.parametrize(("thresholds", "overloaded"), RECORDED.items())
def test_an_edit_compares_with_the_thresholds_as_the_kernel_does(
    plane: Plane, thresholds: tuple[int, int], overloaded: int
) -> None:
    plane.director.add_service(VirtualService(WEB))
    one = RealServer(endpoint(f"{RIP1}:80"), NAT, upper_threshold=4, lower_threshold=1)
    plane.director.add_server(WEB, one)
    assert only_server(plane).overloaded == 0
    only_server(plane).overloaded, only_server(plane).load = 1, 2 << 32
    upper, lower = thresholds
    plane.director.edit_server(WEB, one.replace(upper_threshold=upper, lower_threshold=lower))
    raw = only_server(plane)
    assert (raw.upper_threshold, raw.lower_threshold, raw.overloaded) == (upper, lower, overloaded)


def test_persistent_connections_are_its_templates(plane: Plane) -> None:
    plane.serve(f"tcp {VIP}:80", f"{RIP1}:80")
    only_server(plane).templates = 3
    assert plane.server(f"tcp {VIP}:80", f"{RIP1}:80").persistent == 3


# --- FULLNAT


def test_a_model_pool_fits_a_pool() -> None:
    assert MOST_LOCAL_ADDRESSES == abi.LOCALS_OF_SERVER


def test_pools(plane6: Plane) -> None:
    pools = tuple(map(parse_address, (DIP, "192.168.10.1", DIP6)))
    plane6.director.add_service(VirtualService(WEB, local_addresses=pools))
    assert pool(plane6, record(plane6).pool) == [str(one) for one in pools]
    plane6.director.add_server(WEB, RealServer(endpoint(f"{RIP1}:80"), FULLNAT))
    assert pool(plane6, only_server(plane6).pool) == [DIP, "192.168.10.1"]
    plane6.director.edit_service(VirtualService(WEB, local_addresses=pools[1:]))
    assert pool(plane6, only_server(plane6).pool) == ["192.168.10.1"]
    plane6.director.edit_service(VirtualService(WEB, local_addresses=(pools[2],)))
    assert pool(plane6, only_server(plane6).pool) == [DIP]
    plane6.director.edit_server(WEB, RealServer(endpoint(f"{RIP1}:80"), NAT))
    assert only_server(plane6).pool.size == 0
    assert pool(plane6, record(plane6).pool) == [DIP6]


def test_a_local_address_has_one_number(plane: Plane) -> None:
    for port in range(80, 90):
        plane.serve(f"tcp {VIP}:{port}", f"{RIP1}:80", f"{RIP3}:80", method=FULLNAT)
    assert plane.settings.locals_used == 2
    assert pool(plane, only_server_of(plane, RIP3).pool) == ["192.168.10.1"]


def only_server_of(plane: Plane, rip: str) -> abi.Server:
    registry = plane.director._registry
    assert registry is not None
    numbers = registry.servers[registry.services[WEB]]
    return next(plane.table.servers[n] for n in numbers if bytes(plane.table.servers[n].address) == address(rip))


def test_refuses_fullnat_without_a_way(plane: Plane) -> None:
    plane.director.add_service(VirtualService(WEB))
    nowhere = RealServer(endpoint(f"{NOWHERE}:80"), FULLNAT)
    with pytest.raises(FullnatRefused, match=f"no route to {NOWHERE}"):
        plane.director.add_server(WEB, nowhere)
    pooled = VirtualService(WEB, local_addresses=(parse_address(DIP),))
    plane.director.edit_service(pooled)
    plane.director.add_server(WEB, nowhere)
    with pytest.raises(FullnatRefused, match=f"no route to {NOWHERE}"):
        plane.director.edit_service(VirtualService(WEB))
    assert plane.snapshot(f"tcp {VIP}:80").service == pooled


# --- addresses


def test_roles_come_and_go(plane: Plane) -> None:
    other = f"tcp {VIP}:85"
    plane.serve(f"tcp {VIP}:80", f"{RIP1}:80", method=FULLNAT)
    plane.serve(other, f"{RIP1}:80", f"{RIP3}:80")
    assert [roles(plane, one) for one in (VIP, RIP1, RIP3)] == [VIP_ROLE, RIP_ROLE, RIP_ROLE]
    assert [roles(plane, one) for one in (DIP, DIP1)] == [LOCAL_ROLE | DIP_ROLE, DIP_ROLE]
    plane.delete(other, f"{RIP1}:80")
    plane.delete(other, f"{RIP3}:80")
    assert [roles(plane, one) for one in (VIP, RIP1, RIP3, DIP1)] == [VIP_ROLE, RIP_ROLE, 0, 0]
    plane.director.delete_service(WEB)
    assert [roles(plane, one) for one in (VIP, RIP1, DIP)] == [VIP_ROLE, 0, 0]
    plane.director.flush()
    assert roles(plane, VIP) == 0


def test_an_address_has_several_roles(plane: Plane) -> None:
    plane.serve(f"tcp {DIP}:80", f"{RIP1}:80", method=FULLNAT)
    plane.serve(f"tcp {RIP1}:80")
    assert [roles(plane, one) for one in (DIP, RIP1)] == [VIP_ROLE | LOCAL_ROLE | DIP_ROLE, VIP_ROLE | RIP_ROLE]
    plane.director.delete_service(service(f"tcp {DIP}:80"))
    assert [roles(plane, one) for one in (DIP, RIP1)] == [0, VIP_ROLE]


def test_a_mark_is_no_address(plane: Plane) -> None:
    plane.director.add_service(VirtualService(MARK))
    plane.director.add_server(MARK, RealServer(endpoint(f"{RIP1}:0"), NAT))
    assert [roles(plane, one) for one in ("0.0.0.7", RIP1)] == [0, RIP_ROLE]
    plane.serve("tcp 0.0.0.7:80")
    plane.director.delete_service(service("tcp 0.0.0.7:80"))
    assert roles(plane, "0.0.0.7") == 0


def test_an_edit_learns_where_the_director_stands_now(plane: Plane) -> None:
    plane.serve(f"tcp {VIP}:80", f"{RIP3}:80")
    move = f"route replace {RIP3}/32 dev eth1 src"
    subprocess.run(["ip", *f"{move} {DIP}".split()], check=True)
    plane.edit(f"tcp {VIP}:80", f"{RIP3}:80")
    subprocess.run(["ip", *f"route delete {RIP3}/32".split()], check=True)
    assert [roles(plane, one) for one in (DIP, DIP1)] == [DIP_ROLE, 0]


def test_a_deleted_server_with_connections_keeps_its_role(plane: Plane) -> None:
    plane.serve(f"tcp {VIP}:80", f"{RIP1}:80", method=FULLNAT)
    only_server(plane).load = abi.LOAD_ACTIVE
    plane.director.flush()
    assert [roles(plane, one) for one in (VIP, RIP1, DIP)] == [0, RIP_ROLE, LOCAL_ROLE | DIP_ROLE]


def test_roles_of_a_restore_go_at_its_end(plane: Plane) -> None:
    plane.director.begin()
    plane.serve(f"tcp {VIP}:80", f"{RIP1}:80")
    plane.director.delete_service(WEB)
    assert roles(plane, VIP) == VIP_ROLE
    plane.director.commit()
    assert [roles(plane, one) for one in (VIP, RIP1)] == [0, 0]


# --- interfaces


def test_candidates_have_an_address_that_somebody_gave_them() -> None:
    with fresh_namespace():
        subprocess.run(["ip", "address", "flush", "dev", "eth1"], check=True)
        subprocess.run(["ip", "address", "flush", "dev", "eth2"], check=True)
        subprocess.run(["ip", "address", "add", "fd00:9::2/64", "dev", "eth1", "nodad"], check=True)
        subprocess.run(["ip", "address", "add", "fe80::77/64", "dev", "eth2", "nodad"], check=True)
        assert {one.name for one in attach.candidates()} == {"eth0", "eth1"}
