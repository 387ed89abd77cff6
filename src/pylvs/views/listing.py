"""`ipvsadm -L`, in its six forms: a table of services and their servers. Columns and cuts are ipvsadm's."""

from __future__ import annotations

from pylvs.model import FirewallMark, ForwardingMethod, TunnelChecksum, TunnelType
from pylvs.model.value import Value
from pylvs.views.endpoint import address_text
from pylvs.views.flag import flag_names
from pylvs.views.number import large_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pylvs.model import Counters, ServerSnapshot, ServiceId, ServiceSnapshot, Tunnel, VirtualService
    from pylvs.views.endpoint import Name


def title(size: int) -> str:
    """The first line; `size` is that of the connection table."""
    return f"IP Virtual Server version 1.2.1 (size={size})\n"


METHODS = {
    ForwardingMethod.NAT: "Masq",
    ForwardingMethod.DR: "Route",
    ForwardingMethod.TUN: "Tunnel",
    ForwardingMethod.FULLNAT: "FullNat",
}
_CHECKSUMS = {TunnelChecksum.NONE: "-c", TunnelChecksum.CSUM: "+c", TunnelChecksum.REMOTE: "r+c"}


class Form(Value):
    """A way to list. `service` and `server` write what stands after the name, given `exact`."""

    header: str
    service: Callable[[ServiceSnapshot, bool], str]
    server: Callable[[ServerSnapshot, bool], str]
    name_width: int = 0


def _scheduling(snapshot: ServiceSnapshot, _: bool) -> str:
    return f" {scheduling(snapshot.service)}"


def scheduling(service: VirtualService) -> str:
    """The scheduler and all that modifies it."""
    words = [service.scheduler]
    if service.flags:
        words.append(f"({flag_names(service.scheduler, service.flags)})")
    if service.persistence is not None:
        words.append(f"persistent {service.persistence}")
        if service.netmask is not None:
            words.append(f"mask {service.netmask}")
        if service.persistence_engine:
            words.append(f"pe {service.persistence_engine}")
    if service.one_packet:
        words.append("ops")
    if service.local_addresses:
        words.append(f"local {local_addresses(service)}")
    return " ".join(words)


def local_addresses(service: VirtualService) -> str:
    """`A,B`"""
    return ",".join(address_text(address) for address in service.local_addresses)


def _weights(snapshot: ServerSnapshot, _: bool) -> str:
    server = snapshot.server
    return f" {METHODS[server.method]:7} {server.weight:<6} {snapshot.active:<10} {snapshot.inactive:<10}"


def _thresholds(snapshot: ServerSnapshot, _: bool) -> str:
    server = snapshot.server
    return f" {server.upper_threshold:<10} {server.lower_threshold:<10} {snapshot.active:<10} {snapshot.inactive:<10}"


def _persistent(snapshot: ServerSnapshot, _: bool) -> str:
    weight = snapshot.server.weight
    return f" {weight:<9} {snapshot.persistent:<11} {snapshot.active:<10} {snapshot.inactive:<10}"


def _tunnels(snapshot: ServerSnapshot, _: bool) -> str:
    server = snapshot.server
    tunnel = _tunnel(server.tunnel) if server.method is ForwardingMethod.TUN else "n/a"
    return f" {METHODS[server.method]:7} {tunnel:13} {server.weight:<6} {snapshot.active:<10} {snapshot.inactive:<10}"


def _tunnel(tunnel: Tunnel) -> str:
    match tunnel.type:
        case TunnelType.IPIP:
            return "ipip"
        case TunnelType.GUE:
            return f"gue:{tunnel.port}:{_CHECKSUMS[tunnel.checksum]}"
        case TunnelType.GRE:
            return f"gre:{_CHECKSUMS[tunnel.checksum]}"


def _totals(snapshot: ServiceSnapshot | ServerSnapshot, exact: bool) -> str:
    return "".join(large_number(count, exact) for count in _counts(snapshot.counters))


def _server_rates(snapshot: ServerSnapshot, exact: bool) -> str:
    """Of a server, only the bytes are ever shortened."""
    *packets, in_bytes, out_bytes = _counts(snapshot.counters)
    plain = "".join(f" {rate:8}" for rate in packets)
    return plain + large_number(in_bytes, exact) + large_number(out_bytes, exact)


def _counts(counters: Counters) -> tuple[int, ...]:
    return (counters.connections, counters.in_packets, counters.out_packets, counters.in_bytes, counters.out_bytes)


def _header(*columns: str) -> str:
    return "".join(columns) + "\n  -> RemoteAddress:Port\n"


_PLAIN = "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward "
_WIDE = "Prot LocalAddress:Port           "

FORMS = {
    "": Form(_PLAIN + "Weight ActiveConn InActConn\n", _scheduling, _weights),
    "stats": Form(_header(_WIDE, "    Conns   InPkts  OutPkts  InBytes OutBytes"), _totals, _totals, 33),
    "rate": Form(_header(_WIDE, "      CPS    InPPS   OutPPS    InBPS   OutBPS"), _totals, _server_rates, 33),
    "thresholds": Form(_header(_WIDE, " Uthreshold Lthreshold ActiveConn InActConn "), _scheduling, _thresholds),
    "persistent-conn": Form(_header(_WIDE, " Weight    PersistConn ActiveConn InActConn "), _scheduling, _persistent),
    "tun-info": Form(_PLAIN + "TunnelInfo    Weight ActiveConn InActConn\n", _scheduling, _tunnels),
}
"""By the option that asks for it."""


def listing(services: Iterable[ServiceSnapshot], form: Form, name: Name, *, exact: bool = False) -> str:
    """The header and every service with its servers, in the order given."""
    lines = [form.header]
    for service in services:
        which = service.service.id
        lines.append(f"{_service_name(which, name).ljust(form.name_width)}{form.service(service, exact)}\n")
        protocol = None if isinstance(which, FirewallMark) else which.protocol
        for server in service.servers:
            endpoint = server.server.endpoint
            text = name(endpoint, protocol)
            if endpoint.address.version == 4:
                text = text[:28]
            lines.append(f"  -> {text:28}{form.server(server, exact)}\n")
    return "".join(lines)


def _service_name(id: ServiceId, name: Name) -> str:
    if isinstance(id, FirewallMark):
        return f"FWM  {signed(id.mark)}" + (" IPv6" if id.family == 6 else "")
    text = f"{id.protocol.name:4} {name(id.endpoint, id.protocol)}"
    return text[:33] if id.family == 4 else text


def signed(mark: int) -> int:
    """A mark as ipvsadm prints it: 32 bits with a sign."""
    return mark - 2**32 if mark >= 2**31 else mark
