"""Where the knobs are: each has 32 bits of the settings."""

from __future__ import annotations

from pylvs.director import knob
from pylvs.director.ebpf import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylvs.director.knob import KnobValue


def read(settings: abi.Settings) -> dict[str, KnobValue]:
    """What every knob is set to."""
    return {name: _unpack(knob.KNOBS[name], settings.knob[_place(name)]) for name in knob.KNOBS}


def number(settings: abi.Settings, which: abi.Knob) -> int:
    """What one of them is set to; of two numbers, the second."""
    value = _unpack(knob.KNOBS[which.name.lower()], settings.knob[which])
    return value if isinstance(value, int) else value[1]


def write(settings: abi.Settings, values: Mapping[str, KnobValue]) -> None:
    """Set some; they hold from the next packet on."""
    for name, value in values.items():
        settings.knob[_place(name)] = _pack(value)


def _place(name: str) -> abi.Knob:
    return abi.Knob[name.upper()]


def _pack(value: KnobValue) -> int:
    """Of two numbers, the first is the low half."""
    return value[0] | value[1] << 16 if isinstance(value, tuple) else value & 0xFFFFFFFF


def _unpack(which: knob.Knob, word: int) -> KnobValue:
    if isinstance(which.default, tuple):
        return word & 0xFFFF, word >> 16
    return word - (1 << 32) if word > which.range[1] else word
