"""Carrying out a plan: all of it, or nothing."""

from __future__ import annotations

from pylvs.desired import state_of
from pylvs.errors import PylvsError
from pylvs.plan import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.desired import State
    from pylvs.director.port import Director


def change(director: Director, desired: State) -> None:
    """Make a director hold what is desired; when it refuses a step, those before it are undone, and it raises."""
    director.hold()
    before = state_of(director)
    director.begin()
    try:
        _go_to(director, desired)
    except PylvsError:
        _go_to(director, before)
        raise
    finally:
        director.commit()


def _go_to(director: Director, desired: State) -> None:
    for step in plan(state_of(director), desired):
        step.apply(director)
