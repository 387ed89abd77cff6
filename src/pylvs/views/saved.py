"""`ipvsadm -S`: the table as the commands that make it again. Thresholds and timeouts are lost, as in ipvsadm."""

from __future__ import annotations

from pylvs.model import FirewallMark, ForwardingMethod, Protocol, TunnelType
from pylvs.views.flag import flag_names
from pylvs.views.listing import local_addresses, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pylvs.model import RealServer, ServiceId, ServiceSnapshot, Tunnel, VirtualService
    from pylvs.views.endpoint import Name

_SERVICE_OPTIONS = {Protocol.TCP: "-t", Protocol.UDP: "-u", Protocol.SCTP: "--sctp-service"}
_METHOD_OPTIONS = {
    ForwardingMethod.NAT: "-m",
    ForwardingMethod.DR: "-g",
    ForwardingMethod.TUN: "-i",
    ForwardingMethod.FULLNAT: "--fullnat",
}


def saved(services: Iterable[ServiceSnapshot], name: Name) -> str:
    """A line for each service, followed by one for each of its servers."""
    lines = []
    for snapshot in services:
        service = snapshot.service
        which = _which(service.id, name)
        protocol = None if isinstance(service.id, FirewallMark) else service.id.protocol
        lines.append(f"-A {which} {_scheduling(service)}\n")
        for server in snapshot.servers:
            who = name(server.server.endpoint, protocol)
            lines.append(f"-a {which} -r {who} {_forwarding(server.server)}\n")
    return "".join(lines)


def _which(id: ServiceId, name: Name) -> str:
    if isinstance(id, FirewallMark):
        return f"-f {signed(id.mark)}" + (" -6" if id.family == 6 else "")
    return f"{_SERVICE_OPTIONS[id.protocol]} {name(id.endpoint, id.protocol)}"


def _scheduling(service: VirtualService) -> str:
    words = [f"-s {service.scheduler}"]
    if service.persistence is not None:
        words.append(f"-p {service.persistence}")
        if service.netmask is not None:
            words.append(f"-M {service.netmask}")
    if service.persistence_engine:
        words.append(f"--pe {service.persistence_engine}")
    if service.one_packet:
        words.append("-o")
    if service.flags:
        words.append(f"-b {flag_names(service.scheduler, service.flags)}")
    if service.local_addresses:
        words.append(f"--local-address {local_addresses(service)}")
    return " ".join(words)


def _forwarding(server: RealServer) -> str:
    words = f"{_METHOD_OPTIONS[server.method]} -w {server.weight}"
    return f"{words} {_tunnel(server.tunnel)}" if server.method is ForwardingMethod.TUN else words


def _tunnel(tunnel: Tunnel) -> str:
    words = f"--tun-type {tunnel.type}"
    if tunnel.type is TunnelType.IPIP:
        return words
    if tunnel.type is TunnelType.GUE:
        words += f" --tun-port {tunnel.port}"
    return f"{words} --tun-{tunnel.checksum}"
