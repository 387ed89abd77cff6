"""What every director refuses, as the kernel's IPVS does. Pure: the answer depends on the arguments only."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Network

from pylvs.errors import FullnatRefused, InvalidOperation, OutOfRange, SchedulerNotFound
from pylvs.model import FirewallMark, ForwardingMethod, SyncRole, TunnelType, VirtualAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv6Interface

    from pylvs.model import IPAddress, RealServer, ServiceId, ServiceSnapshot, SyncDaemon, Timeouts, VirtualService

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos", "none")
"""Every scheduler name of IPVS; `none` never chooses a server."""

PERSISTENCE_ENGINES = ("sip",)

HIGHEST = 2**31 - 1
"""Weights, thresholds and timeouts are signed 32-bit numbers in IPVS."""

MOST_LOCAL_ADDRESSES = 31
"""Of one service."""

LOCAL_PORTS = range(1024, 32768)
"""The ports that FULLNAT uses of a local address, unless the knobs local_port_first and local_port_last say others."""

USUAL_TABLE_SIZE = 4096
"""Of the kernel's connection table, which every listing tells."""

_TICKS_PER_SECOND = 250

_ETHERNET, _LARGEST_DATAGRAM, _LEAST_OF_BACKUP = 1500, 65535, 1024
_HEADERS_OF_DATAGRAM = {4: 20 + 8, 6: 40 + 8}

_LOOPBACK = IPv4Interface("127.0.0.1/8")
_LINK_LOCAL = IPv6Network("fe80::/10")


def check_service(service: VirtualService, schedulers: Collection[str] = SCHEDULERS) -> None:
    """Refuse a service that no table could hold, whatever else is in it."""
    if service.scheduler not in schedulers:
        raise SchedulerNotFound
    if service.persistence_engine and service.persistence_engine not in PERSISTENCE_ENGINES:
        raise SchedulerNotFound
    if isinstance(service.id, FirewallMark) and not 1 <= service.id.mark < 2**32:
        raise InvalidOperation
    if not _mask_fits(service):
        raise InvalidOperation
    if len(service.local_addresses) > MOST_LOCAL_ADDRESSES:
        raise FullnatRefused(
            f"a service may have {MOST_LOCAL_ADDRESSES} local addresses, not {len(service.local_addresses)}"
        )


def _mask_fits(service: VirtualService) -> bool:
    match service.netmask:
        case None:
            return True
        case int(prefix):
            return service.id.family == 6 and 1 <= prefix <= 128
        case mask:
            return service.id.family == 4 and mask.version == 4


def check_server(id: ServiceId, server: RealServer) -> None:
    """Refuse a server that cannot be added to this service, nor edited to be so."""
    if server.endpoint.address.version != id.family and not server.method.crosses_families:
        raise InvalidOperation
    if not 0 <= server.weight <= HIGHEST:
        raise OutOfRange
    if not 0 <= server.lower_threshold <= server.upper_threshold <= HIGHEST:
        raise OutOfRange
    if server.tunnel.type is TunnelType.GUE and server.tunnel.port == 0:
        raise InvalidOperation


def check_unicast(address: IPAddress, interfaces: Iterable[IPv4Interface | IPv6Interface] = ()) -> None:
    """Refuse a new server on an address that is not one machine's; `interfaces` are the director's own addresses."""
    own = tuple(interfaces)
    if any(address == interface.ip for interface in own):
        return
    if isinstance(address, IPv4Address):
        single = _is_single_v4(address, [i for i in own if isinstance(i, IPv4Interface)])
    else:
        single = _is_single_v6(address)
    if not single:
        raise InvalidOperation


def _is_single_v4(address: IPv4Address, own: Iterable[IPv4Interface]) -> bool:
    if address.is_unspecified or address.is_multicast or int(address) == 2**32 - 1:
        return False
    return not any(
        address == interface.network.broadcast_address
        for interface in (_LOOPBACK, *own)
        if interface.network.prefixlen < 31
    )


def _is_single_v6(address: IPv6Address) -> bool:
    return not (
        address.is_unspecified or address.is_multicast or address.ipv4_mapped is not None or address in _LINK_LOCAL
    )


def check_fullnat(service: VirtualService, servers: Iterable[RealServer]) -> None:
    """Refuse FULLNAT servers where no connection is kept: nothing would know whose an answer is."""
    if service.one_packet and any(server.method is ForwardingMethod.FULLNAT for server in servers):
        raise FullnatRefused("one-packet scheduling (-o) keeps no connections, and FULLNAT needs them: leave out one")


def check_owned(service: VirtualService, own: Collection[IPAddress]) -> None:
    """Refuse local addresses to which no server's answer would come back; `own` are the director's addresses."""
    for address in service.local_addresses:
        if address not in own or address.is_loopback:
            raise FullnatRefused(
                f"local address {address} is not the director's own: assign it to an interface first (ip address add)"
            )


def check_overlap(
    service: VirtualService, others: Iterable[VirtualService], ports: Collection[int] = LOCAL_PORTS
) -> None:
    """Refuse a local address that is a VIP as well, if FULLNAT could use the port of its service."""
    for other in (service, *others):
        _check_pool(service, other.id, ports)
        _check_pool(other, service.id, ports)


def _check_pool(service: VirtualService, id: ServiceId, ports: Collection[int]) -> None:
    if not isinstance(id, VirtualAddress) or id.endpoint.address not in service.local_addresses:
        return
    same_protocol = isinstance(service.id, FirewallMark) or service.id.protocol is id.protocol
    if same_protocol and (id.endpoint.port == 0 or id.endpoint.port in ports):
        raise FullnatRefused(
            f"local address {id.endpoint.address} is the VIP of {id.protocol.name} service {id.endpoint}: take another"
        )


def check_timeouts(timeouts: Timeouts) -> None:
    """Refuse a timeout that the kernel could not count in its clock ticks."""
    if any(not 0 <= t <= HIGHEST // _TICKS_PER_SECOND for t in (timeouts.tcp, timeouts.tcp_fin, timeouts.udp)):
        raise InvalidOperation


def crosses_families(id: ServiceId, server: RealServer) -> bool:
    """The sync protocol has no word for a connection whose server is of the other family."""
    return server.endpoint.address.version != id.family


def check_families(services: Iterable[ServiceSnapshot]) -> None:
    """Refuse a sync daemon where a server is of another family than its service."""
    if any(crosses_families(one.service.id, each.server) for one in services for each in one.servers):
        raise InvalidOperation


def settled(daemon: SyncDaemon, mtu: int) -> SyncDaemon:
    """A sync daemon with the length that its messages have on an interface of this MTU, as the kernel works it out."""
    headers = _HEADERS_OF_DATAGRAM[daemon.group.version]
    backup = daemon.role is SyncRole.BACKUP
    if daemon.maxlen:
        least = _LEAST_OF_BACKUP if backup else 1
        return daemon.replace(maxlen=min(max(daemon.maxlen, least), _LARGEST_DATAGRAM - headers))
    usual = min(max(mtu, _ETHERNET), _LARGEST_DATAGRAM) if backup else _ETHERNET
    return daemon.replace(maxlen=usual - headers)
