"""What of a table the eBPF data plane has not: asked before anything of it is loaded."""

from __future__ import annotations

from pylvs.director import rules
from pylvs.director.ebpf import limit
from pylvs.director.ebpf.route import Lookups
from pylvs.errors import Refused, SchedulerNotFound
from pylvs.scheduler import SCHEDULERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pylvs.model import ServiceSnapshot

NAME = "the eBPF director"


def lacks(services: Iterable[ServiceSnapshot]) -> Iterator[str]:
    """A line for each thing."""
    lookups = Lookups()
    for snapshot in services:
        id = snapshot.service.id
        try:
            limit.check_service(snapshot.service)
            rules.check_service(snapshot.service, SCHEDULERS)
        except SchedulerNotFound:
            yield f"{id}: {NAME} has no scheduler {snapshot.service.scheduler}"
        except Refused as error:
            yield f"{id}: {error}"
        for each in snapshot.servers:
            try:
                limit.check_server(id, each.server, lookups.way(each.server.endpoint.address))
            except Refused as error:
                yield f"{id} -> {each.server.endpoint}: {error}"
