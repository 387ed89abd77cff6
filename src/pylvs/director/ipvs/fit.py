"""What of a table the kernel's IPVS has not: asked before anything is written."""

from __future__ import annotations

import os
from functools import cache

from pylvs.director.ipvs import limit
from pylvs.director.ipvs.family import MODPROBE
from pylvs.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pylvs.model import ServiceSnapshot, VirtualService

NAME = "the kernel's IPVS"


def lacks(services: Iterable[ServiceSnapshot]) -> Iterator[str]:
    """A line for each thing."""
    for snapshot in services:
        id = snapshot.service.id
        try:
            limit.check_service(snapshot.service)
        except Refused as error:
            yield f"{id}: {error}"
        yield from (f"{id}: {NAME} has no {what}" for what in _missing(snapshot.service))
        for each in snapshot.servers:
            try:
                limit.check_server(each.server)
            except Refused as error:
                yield f"{id} -> {each.server.endpoint}: {error}"


def _missing(service: VirtualService) -> Iterator[str]:
    if service.scheduler != "none" and not _has_module(f"ip_vs_{service.scheduler}"):
        yield f"scheduler {service.scheduler}"
    if service.persistence_engine and not _has_module(f"ip_vs_pe_{service.persistence_engine}"):
        yield f"persistence engine {service.persistence_engine}"


@cache
def _has_module(name: str) -> bool:
    """Whether it is loaded, or would be when it is needed."""
    if os.path.exists(f"/sys/module/{name}"):
        return True
    import subprocess

    try:
        return subprocess.run([MODPROBE, "-n", "-q", "--", name], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:  # all that there is, is built in
        return True
