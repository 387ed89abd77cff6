"""Services and real servers between their values and the attributes of IPVS. What IPVS has no attribute for is gone."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6

from pylvs.director.ipvs.abi import Server, Service, ServiceFlag, Statistic
from pylvs.director.netlink import attribute, attributes
from pylvs.errors import InvalidOperation, OutOfRange
from pylvs.model import (
    Counters,
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    Protocol,
    RealServer,
    ServerSnapshot,
    ServiceSnapshot,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualAddress,
    VirtualService,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylvs.model import IPAddress, ServiceId

    Attributes = Mapping[int, bytes]

_FAMILIES = {4: AF_INET, 6: AF_INET6}
_WHOLE_MASK = {4: 2**32 - 1, 6: 128}
_LONGEST_NAME = 15
_METHODS = {ForwardingMethod.NAT: 0, ForwardingMethod.TUN: 2, ForwardingMethod.DR: 3}
_METHOD_BITS = 0x7
_LOCAL = 1  # what older kernels made of a server that is the director itself: handed to the host's stack, as by DR
_METHOD_NUMBERS = {**{number: method for method, number in _METHODS.items()}, _LOCAL: ForwardingMethod.DR}
_TUNNELS = [TunnelType.IPIP, TunnelType.GUE, TunnelType.GRE]
_CHECKSUMS = [TunnelChecksum.NONE, TunnelChecksum.CSUM, TunnelChecksum.REMOTE]
_TOTALS = range(Statistic.CONNECTIONS, Statistic.CONNECTION_RATE)
_RATES = range(Statistic.CONNECTION_RATE, Statistic.OUT_BYTE_RATE + 1)


def _u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def _be16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!H", value))


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value & 0xFFFFFFFF))


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode(errors="surrogateescape")[:_LONGEST_NAME] + b"\0")


def _address(kind: int, value: IPAddress) -> bytes:
    return attribute(kind, value.packed.ljust(16, b"\0"))


def pack_id(id: ServiceId) -> bytes:
    """What tells a service from all others."""
    family = _u16(Service.FAMILY, _FAMILIES[id.family])
    if isinstance(id, FirewallMark):
        return family + _u32(Service.MARK, id.mark)
    end = id.endpoint
    address = _address(Service.ADDRESS, end.address) + _be16(Service.PORT, end.port)
    return family + _u16(Service.PROTOCOL, id.protocol) + address


def pack_service(service: VirtualService) -> bytes:
    """All that a service is to be; raises `InvalidOperation`."""
    flags = service.flags & ServiceFlag.SCHEDULER
    flags |= ServiceFlag.PERSISTENT if service.persistence is not None else 0
    flags |= ServiceFlag.ONE_PACKET if service.one_packet else 0
    engine = _text(Service.ENGINE, service.persistence_engine) if service.persistence_engine else b""
    return b"".join((
        pack_id(service.id),
        _text(Service.SCHEDULER, service.scheduler),
        engine,
        attribute(Service.FLAGS, struct.pack("=II", flags, 0xFFFFFFFF)),
        _u32(Service.TIMEOUT, service.persistence or 0),
        attribute(Service.NETMASK, _netmask(service)),
    ))  # fmt: skip


def _netmask(service: VirtualService) -> bytes:
    """A mask in the network's byte order, a length of IPv6 in this machine's."""
    family, mask = service.id.family, service.netmask
    match mask:
        case None:
            return struct.pack("=I", _WHOLE_MASK[family])
        case IPv4Address() if family == 4:
            return mask.packed
        case int() if family == 6 and mask >= 0:
            return struct.pack("=I", mask)
    raise InvalidOperation


def pack_endpoint(endpoint: Endpoint) -> bytes:
    """What tells a server from the others of its service."""
    family = _u16(Server.FAMILY, _FAMILIES[endpoint.address.version])
    return _address(Server.ADDRESS, endpoint.address) + _be16(Server.PORT, endpoint.port) + family


def pack_server(server: RealServer) -> bytes:
    """All that a server is to be, which must not be of FULLNAT; raises `OutOfRange`."""
    numbers = (server.weight, server.upper_threshold, server.lower_threshold)
    if any(not -(1 << 31) <= number < 1 << 31 for number in numbers):
        raise OutOfRange
    return b"".join((
        pack_endpoint(server.endpoint),
        _u32(Server.METHOD, _METHODS[server.method]),
        _u32(Server.WEIGHT, server.weight),
        _u32(Server.UPPER_THRESHOLD, server.upper_threshold),
        _u32(Server.LOWER_THRESHOLD, server.lower_threshold),
        _tunnel(server.tunnel),
    ))  # fmt: skip


def _tunnel(tunnel: Tunnel) -> bytes:
    type = attribute(Server.TUNNEL_TYPE, bytes([_TUNNELS.index(tunnel.type)]))
    flags = _u16(Server.TUNNEL_FLAGS, _CHECKSUMS.index(tunnel.checksum))
    return type + _be16(Server.TUNNEL_PORT, tunnel.port) + flags


def _number(found: Attributes, kind: int) -> int:
    return int.from_bytes(found.get(kind, b""), "little")


def _port(found: Attributes, kind: int) -> int:
    return int.from_bytes(found.get(kind, b""), "big")


def _words(found: Attributes, kind: int) -> str:
    return found.get(kind, b"").rstrip(b"\0").decode(errors="surrogateescape")


def _unpack_address(packed: bytes, family: int) -> IPAddress:
    return IPv6Address(packed[:16]) if family == AF_INET6 else IPv4Address(packed[:4])


def unpack_service(packed: bytes, servers: tuple[ServerSnapshot, ...] = (), *, rates: bool = False) -> ServiceSnapshot:
    """A service as the kernel tells it, with its counters, or with its counters per second."""
    found = attributes(packed)
    id = _unpack_id(found)
    flags = _number(found, Service.FLAGS) & 0xFFFFFFFF  # a mask follows them
    persistent = bool(flags & ServiceFlag.PERSISTENT)
    service = VirtualService(
        id,
        _words(found, Service.SCHEDULER),
        int(flags & ServiceFlag.SCHEDULER),
        _number(found, Service.TIMEOUT) if persistent else None,
        _unpack_netmask(found[Service.NETMASK], id.family) if persistent else None,
        _words(found, Service.ENGINE),
        bool(flags & ServiceFlag.ONE_PACKET),
    )
    return ServiceSnapshot(service, servers, _counters(found[Service.STATISTICS64], rates=rates))


def _unpack_id(found: Attributes) -> ServiceId:
    family = _number(found, Service.FAMILY)
    if Service.MARK in found:
        return FirewallMark(_number(found, Service.MARK), 6 if family == AF_INET6 else 4)
    address = _unpack_address(found[Service.ADDRESS], family)
    return VirtualAddress(Protocol(_number(found, Service.PROTOCOL)), Endpoint(address, _port(found, Service.PORT)))


def _unpack_netmask(packed: bytes, family: int) -> IPAddress | int | None:
    number = int.from_bytes(packed, "little")
    if number == _WHOLE_MASK[family]:
        return None
    return number if family == 6 else IPv4Address(packed)


def unpack_server(packed: bytes, family: int, *, rates: bool = False) -> ServerSnapshot:
    """A server of a service of this family (4 or 6), with its counters, or with its counters per second."""
    found = attributes(packed)
    address = _unpack_address(found[Server.ADDRESS], _number(found, Server.FAMILY) or _FAMILIES[family])
    method = _METHOD_NUMBERS[_number(found, Server.METHOD) & _METHOD_BITS]
    server = RealServer(
        Endpoint(address, _port(found, Server.PORT)),
        method,
        _number(found, Server.WEIGHT),
        _number(found, Server.UPPER_THRESHOLD),
        _number(found, Server.LOWER_THRESHOLD),
        _unpack_tunnel(found) if method is ForwardingMethod.TUN else Tunnel(),
    )
    return ServerSnapshot(
        server,
        _number(found, Server.ACTIVE),
        _number(found, Server.INACTIVE),
        _number(found, Server.PERSISTENT),
        _counters(found[Server.STATISTICS64], rates=rates),
    )


def _unpack_tunnel(found: Attributes) -> Tunnel:
    type = _TUNNELS[_number(found, Server.TUNNEL_TYPE)]
    return Tunnel(type, _port(found, Server.TUNNEL_PORT), _CHECKSUMS[_number(found, Server.TUNNEL_FLAGS)])


def _counters(packed: bytes, *, rates: bool) -> Counters:
    each = attributes(packed)
    return Counters(*(_number(each, kind) for kind in (_RATES if rates else _TOTALS)))
