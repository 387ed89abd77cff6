"""Frozen values. `dataclasses` would do, but importing it costs more than a whole `pylvs ipvsadm` may take to start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Value:
    """Base of every value: fields are the annotations, in order; equality and hash by content; cannot be changed.

    A subclass may define `__post_init__` to refuse what cannot be (it raises `ValueError`).
    """

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = tuple(
            name
            for name, kind in cls.__dict__.get("__annotations__", {}).items()
            if not str(kind).startswith("ClassVar") and name not in cls._fields
        )
        cls._fields = cls._fields + own

    def __init__(self, *args: Any, **named: Any) -> None:
        fields = self._fields
        if len(args) > len(fields):
            raise TypeError(f"{type(self).__name__} takes {len(fields)} fields, {len(args)} given")
        values = self.__dict__
        values.update(zip(fields, args, strict=False))
        for name in fields[len(args) :]:
            if name in named:
                values[name] = named.pop(name)
            elif hasattr(type(self), name):
                values[name] = getattr(type(self), name)
            else:
                raise TypeError(f"{type(self).__name__} lacks {name}")
        if named:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(named)}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Refuse with `ValueError` what cannot be."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: use replace({name}=...)")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})
