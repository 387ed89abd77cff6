"""How knobs are shown: as sysctl(8) does, as a table for people, and for programs.

`kernel` says that they are the kernel's: there all of them have an effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pylvs.director import knob
from pylvs.director.knob import Knob, KnobValue

_COLUMNS = ("Knob", "Value", "Default", "Meaning")


def line(name: str, value: KnobValue) -> str:
    """As sysctl(8) writes it."""
    return f"{knob.PREFIX}{name} = {knob.text(value)}"


def show(values: Mapping[str, KnobValue], *, kernel: bool = False) -> None:
    """A table on a terminal; in a pipe or a file the lines of sysctl(8), which it also reads."""
    from pylvs.views.lab import console, table

    out = console()
    if out.is_terminal:
        out.print(table(_COLUMNS, rows(values, kernel=kernel), out))
        return
    for name, value in values.items():
        print(line(name, value))


def rows(values: Mapping[str, KnobValue], *, kernel: bool = False) -> Iterator[tuple[str, str, str, str]]:
    """Changed values stand out."""
    defaults = knob.defaults()
    for name, value in values.items():
        shown = knob.text(value) if value == defaults[name] else f"[bold]{knob.text(value)}[/bold]"
        yield name, shown, knob.text(defaults[name]), meaning(knob.KNOBS[name], kernel=kernel)


def meaning(each: Knob, *, kernel: bool = False) -> str:
    """One line, with why it has no effect where it has none."""
    why_not = "" if kernel else each.without_effect
    return f"{each.meaning} (no effect: {why_not})" if why_not else each.meaning


def as_fields(values: Mapping[str, KnobValue], *, kernel: bool = False) -> dict[str, dict[str, object]]:
    """For JSON, by name."""
    defaults = knob.defaults()
    return {
        name: {
            "value": value,
            "default": defaults[name],
            "meaning": knob.KNOBS[name].meaning,
            "has_effect": kernel or not knob.KNOBS[name].without_effect,
            "why_not": None if kernel else knob.KNOBS[name].without_effect or None,
        }
        for name, value in values.items()
    }
