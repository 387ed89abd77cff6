"""The knobs where the kernel has them: /proc/sys/net/ipv4/vs."""

from __future__ import annotations

import os

from pylvs.director import knob
from pylvs.errors import InvalidKnob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylvs.director.knob import KnobValue

DIRECTORY = "/proc/sys/net/ipv4/vs"


def read() -> dict[str, KnobValue]:
    """What each knob is set to that this kernel has."""
    return {name: _read(name) for name in knob.KNOBS if os.path.exists(_path(name))}


def write(changes: Mapping[str, KnobValue]) -> None:
    """All of them or none; raises `InvalidKnob`."""
    before = read()
    for name in changes:
        if knob.named(name).name not in before:
            raise InvalidKnob(
                f"the kernel's IPVS has no knob {name}", hint="`pylvs --backend ipvs sysctl` lists those it has"
            )
    knob.check(changes, {**knob.defaults(), **before})
    done: list[str] = []
    try:
        for name, value in changes.items():
            _write(name, value)
            done.append(name)
    except OSError as error:
        for name in done:
            _write(name, before[name])
        raise InvalidKnob(f"{name} can't be {knob.text(changes[name])!r}: {error.strerror}") from None


def _path(name: str) -> str:
    return f"{DIRECTORY}/{name}"


def _read(name: str) -> KnobValue:
    with open(_path(name)) as file:
        numbers = [int(word) for word in file.read().split()]
    return (numbers[0], numbers[1]) if isinstance(knob.KNOBS[name].default, tuple) else numbers[0]


def _write(name: str, value: KnobValue) -> None:
    with open(_path(name), "w") as file:
        file.write(knob.text(value))
