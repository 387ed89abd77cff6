"""What IPVS takes and this data plane doesn't do: refused by name."""

from __future__ import annotations

import os

from pylvs.director.ebpf import abi
from pylvs.errors import FullnatRefused, NotYetSupported, SchedulerNotFound, SchedulerRefused, TunnelRefused
from pylvs.model import ForwardingMethod, VirtualAddress
from pylvs.model.overhead import LEAST_MTU, OUTER_HEADER, tunnel_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.ebpf.route import Way
    from pylvs.model import IPAddress, RealServer, ServiceId, VirtualService


def check_service(service: VirtualService) -> None:
    """Raises `NotYetSupported`."""
    if service.persistence_engine:
        raise NotYetSupported(f"the persistence engine {service.persistence_engine} is not supported yet")
    address = service.id.endpoint.address if isinstance(service.id, VirtualAddress) else None
    if address is not None and address.version == 6 and address.ipv4_mapped is not None:
        raise NotYetSupported(f"IPv4 addresses written as IPv6 are not supported: use {address.ipv4_mapped}")


def check_scheduler(name: str, file: str) -> None:
    """Raises `SchedulerNotFound`, `SchedulerRefused`."""
    if not 0 < len(name.encode()) < abi.NAME_SIZE:
        raise SchedulerNotFound
    if len(os.fsencode(file)) >= abi.PATH_SIZE:
        raise SchedulerRefused(f"the path of the scheduler file may have {abi.PATH_SIZE - 1} bytes: {file}")


def check_server(id: ServiceId, server: RealServer, way: Way) -> None:
    """Raises `NotYetSupported`, `TunnelRefused`."""
    if way.local and server.method is ForwardingMethod.FULLNAT:
        raise NotYetSupported("--fullnat to the director itself is not supported; use -m or -g")
    if server.method is ForwardingMethod.TUN and way.mtu and not way.local:
        _check_tunnel(id.family, server, way.mtu)


def _check_tunnel(family: int, server: RealServer, mtu: int) -> None:
    """What any host must take in one piece has to fit, or else nothing could be sent for sure."""
    address, least = server.endpoint.address, LEAST_MTU[family]
    added = OUTER_HEADER[address.version] + tunnel_header(server.tunnel)
    if mtu - added < least:
        raise TunnelRefused(
            f"the MTU {mtu} towards {address} is too small for the tunnel: it leaves {mtu - added} bytes and"
            f" IPv{family} needs {least}: raise it to {least + added} or more (ip link set mtu)"
        )


def source_towards(server: RealServer, source: IPAddress | None) -> IPAddress:
    """What answers of a FULLNAT server come to if there is no other local address; raises `FullnatRefused`."""
    if source is None:
        raise FullnatRefused(
            f"no route to {server.endpoint.address}, and so no local address for it: add one of the two"
            " (ip route add, --local-address)"
        )
    return source
