"""The kernel's settings of this network namespace, under /proc/sys."""

from __future__ import annotations

from pathlib import Path

from pylvs.errors import NotSupportedHere
from pylvs.model.value import Value

_ROOT = Path("/proc/sys")


def read(name: str) -> str:
    """The value of `net/ipv4/conf/all/arp_ignore`; raises `FileNotFoundError`."""
    return (_ROOT / name).read_text().strip()


def write(name: str, value: str) -> None:
    """Raises `OSError`."""
    (_ROOT / name).write_text(value)


class Setting(Value):
    """A setting that shall have one of the values `enough`, and otherwise gets the value `ours`."""

    name: str
    ours: str
    enough: str  # parted by commas
    former: str

    @property
    def what(self) -> tuple[object, ...]:
        return (Setting, self.name)

    @property
    def holds(self) -> bool:
        return _read_or_none(self.name) in self.enough.split(",")

    @property
    def problem(self) -> str:
        return f"{self.name.replace('/', '.')} is {_read_or_none(self.name)}, it should be {self.ours}"

    def apply(self) -> None:
        try:
            write(self.name, self.ours)
        except OSError as error:
            raise NotSupportedHere(
                f"/proc/sys/{self.name} can't be set to {self.ours}: {error.strerror}",
                hint="in a container /proc/sys may be mounted read-only",
            ) from error

    def undo(self) -> None:
        if _read_or_none(self.name) == self.ours:
            write(self.name, self.former)


def setting(name: str, ours: str, *enough: str) -> Setting:
    """With the value that it has now as the former one; raises `FileNotFoundError`."""
    return Setting(name, ours, ",".join((ours, *enough)), read(name))


def _read_or_none(name: str) -> str | None:
    try:
        return read(name)
    except FileNotFoundError:
        return None  # the interface is gone, and its settings with it
