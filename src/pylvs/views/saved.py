"""`ipvsadm -S`: the table as the commands that make it again. Thresholds and timeouts are lost, as in ipvsadm.

`whole`: as `-S --full` has it. Then nothing is lost.
"""

from __future__ import annotations

from pylvs.model import FirewallMark, ForwardingMethod, Protocol, TunnelType
from pylvs.views.flag import all_flag_names, flag_names
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


def saved(services: Iterable[ServiceSnapshot], name: Name, *, whole: bool = False) -> str:
    """A line for each service, followed by one for each of its servers."""
    lines = []
    for snapshot in services:
        service = snapshot.service
        which = which_service(service.id, name, whole=whole)
        protocol = None if isinstance(service.id, FirewallMark) else service.id.protocol
        lines.append(f"-A {which} {service_words(service, whole=whole)}\n")
        for server in snapshot.servers:
            who = name(server.server.endpoint, protocol)
            more = limits(server.server) if whole else ""
            lines.append(f"-a {which} -r {who} {server_words(server.server)}{more}\n")
    return "".join(lines)


def which_service(id: ServiceId, name: Name, *, whole: bool = False) -> str:
    """The option that says which; ipvsadm writes high marks as negative numbers, which it does not read again."""
    if isinstance(id, FirewallMark):
        return f"-f {id.mark if whole else signed(id.mark)}" + (" -6" if id.family == 6 else "")
    return f"{_SERVICE_OPTIONS[id.protocol]} {name(id.endpoint, id.protocol)}"


def service_words(service: VirtualService, *, whole: bool = False) -> str:
    """All that is said of a service."""
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
        names = all_flag_names if whole else flag_names
        words.append(f"-b {names(service.scheduler, service.flags)}")
    if service.local_addresses:
        words.append(f"--local-address {local_addresses(service)}")
    return " ".join(words)


def server_words(server: RealServer) -> str:
    """How it is reached, and its weight."""
    words = f"{_METHOD_OPTIONS[server.method]} -w {server.weight}"
    return f"{words} {_tunnel(server.tunnel)}" if server.method is ForwardingMethod.TUN else words


def limits(server: RealServer) -> str:
    """The thresholds, behind a blank; nothing where there are none."""
    upper = f" -x {server.upper_threshold}" if server.upper_threshold else ""
    lower = f" -y {server.lower_threshold}" if server.lower_threshold else ""
    return upper + lower


def _tunnel(tunnel: Tunnel) -> str:
    words = f"--tun-type {tunnel.type}"
    if tunnel.type is TunnelType.IPIP:
        return words
    if tunnel.type is TunnelType.GUE:
        words += f" --tun-port {tunnel.port}"
    return f"{words} --tun-{tunnel.checksum}"
