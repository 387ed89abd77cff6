"""A copy of a director to try changes on: it refuses what that director would refuse, and nothing happens there."""

from __future__ import annotations

from pylvs.desired import state_of
from pylvs.director.memory import MemoryDirector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.desired import State
    from pylvs.director.port import Director
    from pylvs.model import RealServer, ServiceId, VirtualService


class Preview(MemoryDirector):
    """Its table is the director's, or empty; its timeouts and knobs are the director's in both cases."""

    def __init__(self, director: Director, *, empty: bool = False) -> None:
        super().__init__()
        self._director = director
        self.before: State = state_of(director)
        self.take_over(self.before, empty=empty)

    def judge_service(self, service: VirtualService) -> None:
        """As the director."""
        self._director.judge_service(service)

    def judge_server(self, id: ServiceId, server: RealServer, *, new: bool) -> None:
        """As the director."""
        self._director.judge_server(id, server, new=new)
