"""What a director holds, or is to hold, as one value."""

from __future__ import annotations

from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylvs.director.knob import KnobValue
    from pylvs.director.port import Director
    from pylvs.model import RealServer, Timeouts, VirtualService


class Held(Value):
    """A service with its servers in scheduling order: the one added last comes first."""

    service: VirtualService
    servers: tuple[RealServer, ...] = ()


class State(Value):
    """`timeouts` and `knobs` say only what matters: None, and what is not named, may be as it is."""

    services: tuple[Held, ...] = ()
    timeouts: Timeouts | None = None
    knobs: Mapping[str, KnobValue] = {}


def state_of(director: Director) -> State:
    """All that a director holds now."""
    services = tuple(
        Held(snapshot.service, tuple(server.server for server in snapshot.servers)) for snapshot in director.services()
    )
    return State(services, director.timeouts(), director.knobs())
