"""Between the model's values and the C structures of the maps: one pair of functions for each."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from pylvs.director.ebpf import abi
from pylvs.model import (
    Counters,
    Endpoint,
    FirewallMark,
    ForwardingMethod,
    Protocol,
    RealServer,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualAddress,
    VirtualService,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylvs.model import IPAddress, ServiceId

IPV4_MAPPED = bytes(10) + b"\xff\xff"
"""What stands before an IPv4 address."""
_ALL_ONES = 2**128 - 1
_NO_TUNNEL = Tunnel()

METHODS = {method: abi.ForwardingMethod[method.name] for method in ForwardingMethod}
_METHOD_NAMES = {number: method for method, number in METHODS.items()}

_TUNNEL_TYPES = {kind: abi.TunnelType[kind.name] for kind in TunnelType}
_TUNNEL_TYPE_NAMES = {number: kind for kind, number in _TUNNEL_TYPES.items()}
_CHECKSUMS = {
    TunnelChecksum.NONE: abi.TunnelChecksum.NOCSUM,
    TunnelChecksum.CSUM: abi.TunnelChecksum.CSUM,
    TunnelChecksum.REMOTE: abi.TunnelChecksum.REMCSUM,
}
_CHECKSUM_NAMES = {number: checksum for checksum, number in _CHECKSUMS.items()}


def pack_address(address: IPAddress) -> bytes:
    """16 bytes; IPv4 as ::ffff:a.b.c.d."""
    return IPV4_MAPPED + address.packed if address.version == 4 else address.packed


def unpack_address(raw: abi.Address | bytes) -> IPAddress:
    """The address of a structure."""
    data = bytes(raw)
    return IPv4Address(data[12:]) if data.startswith(IPV4_MAPPED) else IPv6Address(data)


def pack_key(id: ServiceId) -> bytes:
    """The key of a service. A mark is an address of its family there, with neither port nor protocol."""
    if isinstance(id, FirewallMark):
        return pack_address(IPv4Address(id.mark) if id.family == 4 else IPv6Address(id.mark)) + bytes(8)
    return pack_address(id.endpoint.address) + id.endpoint.port.to_bytes(2, "big") + bytes([id.protocol]) + bytes(5)


def unpack_key(key: abi.ServiceKey) -> ServiceId:
    """The identity that a key stands for."""
    address = unpack_address(key.vip)
    if not key.protocol:
        return FirewallMark(int(address), address.version)
    return VirtualAddress(Protocol(key.protocol), Endpoint(address, key.port))


def pack_netmask(service: VirtualService) -> bytes:
    """16 bytes that are laid over clients: an IPv4 mask in the last word, an IPv6 prefix, or all ones for none."""
    match service.netmask:
        case None:
            mask = _ALL_ONES
        case int(prefix):
            mask = _ALL_ONES << 128 - prefix & _ALL_ONES
        case address:
            mask = _ALL_ONES << 32 & _ALL_ONES | int(address)
    return mask.to_bytes(16, "big")


def unpack_netmask(raw: abi.Address, family: int) -> IPAddress | int | None:
    """As `VirtualService` has it."""
    mask = int.from_bytes(bytes(raw), "big")
    if mask == _ALL_ONES:
        return None
    return mask.bit_count() if family == 6 else IPv4Address(mask % 2**32)


def unpack_service(raw: abi.Service, scheduler: str, local_addresses: Sequence[IPAddress]) -> VirtualService:
    """The service of a structure; what it may only be understood to use is given."""
    id = unpack_key(raw.key)
    engine: bytes = raw.engine
    return VirtualService(
        id,
        scheduler,
        raw.scheduler_flags,
        raw.persistence // abi.TICKS_A_SECOND or None,
        unpack_netmask(raw.netmask, id.family),
        engine.decode(),
        bool(raw.one_packet),
        tuple(local_addresses),
    )


def pack_tunnel(tunnel: Tunnel) -> abi.Tunnel:
    """How a TUN server's packets are wrapped."""
    return abi.Tunnel(type=_TUNNEL_TYPES[tunnel.type], checksum=_CHECKSUMS[tunnel.checksum], port=tunnel.port)


def _unpack_tunnel(raw: abi.Tunnel) -> Tunnel:
    if not (raw.type or raw.checksum or raw.port):
        return _NO_TUNNEL
    kind, checksum = abi.TunnelType(raw.type), abi.TunnelChecksum(raw.checksum)
    return Tunnel(_TUNNEL_TYPE_NAMES[kind], raw.port, _CHECKSUM_NAMES[checksum])


def unpack_server(raw: abi.Server) -> RealServer:
    """The real server of a structure."""
    return RealServer(
        Endpoint(unpack_address(raw.address), raw.port),
        _METHOD_NAMES[abi.ForwardingMethod(raw.method)],
        raw.weight,
        raw.upper_threshold,
        raw.lower_threshold,
        _unpack_tunnel(raw.tunnel),
    )


def unpack_rate(raw: abi.Rate) -> Counters:
    """Per second, rounded as IPVS does."""
    rate = raw.rate
    return Counters(
        _rounded(rate.connections),
        _rounded(rate.in_packets),
        _rounded(rate.out_packets),
        rate.in_bytes + (1 << abi.RATE_BYTE_SHIFT - 1) - 1 >> abi.RATE_BYTE_SHIFT,
        rate.out_bytes + (1 << abi.RATE_BYTE_SHIFT - 1) - 1 >> abi.RATE_BYTE_SHIFT,
    )


def _rounded(count: int) -> int:
    return count + (1 << abi.RATE_COUNT_SHIFT - 1) - 1 >> abi.RATE_COUNT_SHIFT


def counters_since(totals: tuple[int, ...], zero: abi.Statistics) -> Counters:
    """Totals in the order of `struct statistics`, less what they were when they were set to zero."""
    return Counters(
        totals[0] - zero.connections,
        totals[1] - zero.in_packets,
        totals[2] - zero.out_packets,
        totals[3] - zero.in_bytes,
        totals[4] - zero.out_bytes,
    )
