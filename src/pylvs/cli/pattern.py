"""Options that say which endpoints are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pylvs.errors import UsageError
from pylvs.model.pattern import Pattern, parse_pattern

if TYPE_CHECKING:
    from click import Context, Parameter


def pattern(_context: Context, option: Parameter, text: str | None) -> Pattern | None:
    """The callback of such an option; raises `UsageError`."""
    try:
        return None if text is None else parse_pattern(text)
    except ValueError as error:
        raise UsageError(
            f"--{option.name} {text}: {error}", hint="it takes ADDRESS[/LENGTH][:PORT], [IPV6][:PORT] or :PORT"
        ) from None
