"""Between the model's values and the C structures of the maps: one pair of functions for each."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from pylvs.director.ebpf import abi
from pylvs.model import Counters, Endpoint, FirewallMark, ForwardingMethod, Protocol, RealServer, VirtualAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.model import IPAddress, ServiceId

_IPV4_MAPPED = bytes(10) + b"\xff\xff"

METHODS = {ForwardingMethod.NAT: abi.ForwardingMethod.NAT, ForwardingMethod.DR: abi.ForwardingMethod.DR}
"""The methods that the data plane has."""

_METHOD_NAMES = {number: method for method, number in METHODS.items()}


def pack_address(address: IPAddress) -> bytes:
    """16 bytes; IPv4 as ::ffff:a.b.c.d."""
    return _IPV4_MAPPED + address.packed if address.version == 4 else address.packed


def unpack_address(raw: abi.Address) -> IPAddress:
    """The address of a structure."""
    data = bytes(raw)
    return IPv4Address(data[12:]) if data.startswith(_IPV4_MAPPED) else IPv6Address(data)


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


def unpack_server(raw: abi.Server) -> RealServer:
    """The real server of a structure."""
    return RealServer(
        Endpoint(unpack_address(raw.address), raw.port),
        _METHOD_NAMES[abi.ForwardingMethod(raw.method)],
        raw.weight,
        raw.upper_threshold,
        raw.lower_threshold,
    )


def counters_since(totals: tuple[int, ...], zero: abi.Statistics) -> Counters:
    """Totals in the order of `struct statistics`, less what they were when they were set to zero."""
    return Counters(
        totals[0] - zero.connections,
        totals[1] - zero.in_packets,
        totals[2] - zero.out_packets,
        totals[3] - zero.in_bytes,
        totals[4] - zero.out_bytes,
    )
