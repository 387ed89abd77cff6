"""What the kernel's IPVS would refuse, and what pylvs has and it lacks, without asking it to change anything."""

from __future__ import annotations

import os
from functools import cache

from pylvs.director import rules
from pylvs.errors import FullnatRefused, InvalidOperation, SchedulerNotFound
from pylvs.model import FirewallMark, ForwardingMethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.model import RealServer, ServiceId, VirtualService

MODPROBE = "/sbin/modprobe"


def check_service(service: VirtualService) -> None:
    """What the kernel can't even be told. Raises `FullnatRefused`, `InvalidOperation`."""
    if service.local_addresses:
        raise FullnatRefused("the kernel's IPVS has no FULLNAT, and so no local addresses: leave out --local-address")
    if isinstance(service.id, FirewallMark) and not 1 <= service.id.mark < 2**32:
        raise InvalidOperation


def check_server(server: RealServer) -> None:
    """What the kernel can't even be told. Raises `FullnatRefused`."""
    if server.method is ForwardingMethod.FULLNAT:
        raise FullnatRefused("the kernel's IPVS has no FULLNAT: use -m, -g or -i")


def judge_service(service: VirtualService) -> None:
    """Raises what adding it would."""
    check_service(service)
    rules.check_service(service, [service.scheduler])
    engine = service.persistence_engine
    if service.scheduler != "none" and not _has_module(f"ip_vs_{service.scheduler}"):
        raise SchedulerNotFound
    if engine and not _has_module(f"ip_vs_pe_{engine}"):
        raise SchedulerNotFound


def judge_server(id: ServiceId, server: RealServer, *, new: bool) -> None:
    """Raises what adding it, or making another one so, would."""
    from pylvs.director.ebpf.route import Lookups

    check_server(server)
    rules.check_server(id, server)
    address = server.endpoint.address
    way = Lookups().way(address) if new else None
    if way and (address.is_unspecified or not way.local):
        rules.check_unicast(address)
    if way and way.broadcast:
        raise InvalidOperation


@cache
def _has_module(name: str) -> bool:
    """Whether it is loaded, or would be when it is needed."""
    if os.path.exists(f"/sys/module/{name}"):
        return True
    import subprocess

    try:
        return subprocess.run([MODPROBE, "-n", "-q", "--", name], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:  # without modules all is built in
        return True
