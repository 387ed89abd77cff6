"""The scheduler flags by name. Three bits, and a name of their own for each scheduler that gives them a meaning."""

from __future__ import annotations

from pylvs.errors import UsageError

_BITS = {"flag-1": 0x08, "flag-2": 0x10, "flag-3": 0x20}
_OWN_BITS = {
    "sh": {"sh-fallback": 0x08, "sh-port": 0x10},
    "mh": {"mh-fallback": 0x08, "mh-port": 0x10},
}


def flag_names(scheduler: str, flags: int) -> str:
    """`flag,flag`; a bit that the scheduler has no name for is left out."""
    return ",".join(name for name, bit in _OWN_BITS.get(scheduler, _BITS).items() if flags & bit)


def all_flag_names(scheduler: str, flags: int) -> str:
    """The same, with every bit: one without a name of the scheduler's has its common one."""
    names = {bit: name for name, bit in (_BITS | _OWN_BITS.get(scheduler, {})).items()}
    return ",".join(name for bit, name in names.items() if flags & bit)


def flag_bits(names: str, scheduler: str) -> int:
    """The bits of `flag,flag`; raises `UsageError` for a name unknown or of another scheduler."""
    bits = 0
    for name in filter(None, names.split(",")):
        bits |= _bit(name, scheduler)
    if not bits:
        raise UsageError(f"invalid scheduler flag `{names}'")
    return bits


def _bit(name: str, scheduler: str) -> int:
    if name in _BITS:
        return _BITS[name]
    for owner, bits in _OWN_BITS.items():
        if name in bits:
            if owner != scheduler:
                raise UsageError(f"incompatible scheduler flag `{name}'")
            return bits[name]
    raise UsageError(f"invalid scheduler flag `{name}'")
