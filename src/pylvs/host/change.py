"""What every change of a machine can do. A journal keeps its fields, so they must be texts and numbers."""

from __future__ import annotations

from typing import Protocol


class Change(Protocol):
    """One thing to be changed, and what it was before."""

    @property
    def what(self) -> tuple[object, ...]:
        """Two changes of the same thing have the same."""

    @property
    def holds(self) -> bool:
        """Whether the machine is as it shall be."""

    @property
    def problem(self) -> str:
        """What to say when it is not."""

    def apply(self) -> None:
        """Make it so; nothing happens when it is."""

    def undo(self) -> None:
        """Put back what was there; nothing happens when somebody else has changed it since."""
