"""What was changed on this machine and how it was before, written down before each change.

One file per role and network namespace. It is replaced whole, so a killed command leaves the old or the new one; what
stands in it may not have been done yet, and undoing that does nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pylvs.errors import PylvsError
from pylvs.host.change import Change


class Journal:
    """The changes that are to be undone, oldest first."""

    def __init__(self, path: Path, kinds: Mapping[str, Callable[..., Change]]) -> None:
        self._path = path
        self._kinds = kinds
        self.changes: list[Change] = []
        self.asked: dict[str, Any] = {}
        self.whole = False
        self.exists = path.exists()
        if self.exists:
            self._read()

    def _read(self) -> None:
        try:
            content = json.loads(self._path.read_text())
            self.asked, self.whole = content["asked"], content["whole"]
            self.changes = [self._kinds[kind](**fields) for kind, fields in content["changes"]]
        except (ValueError, KeyError, TypeError) as error:
            raise PylvsError(
                f"{self._path} can't be read: {error}",
                hint="another version of pylvs wrote it: undo with that one; or undo by hand and remove the file",
            ) from error

    def find(self, like: Change) -> Change | None:
        """The change of the same thing, if there was one."""
        return next((one for one in self.changes if one.what == like.what), None)

    def record(self, change: Change) -> None:
        """To be called before it is made."""
        self.changes.append(change)
        self.write()

    def forget(self, change: Change) -> None:
        """To be called after it was undone."""
        self.changes.remove(change)
        self.write()

    def write(self) -> None:
        """Replace the file by what is known now."""
        names = {kind: name for name, kind in self._kinds.items()}
        changes = [[names[type(change)], vars(change)] for change in self.changes]
        content = {"whole": self.whole, "asked": self.asked, "changes": changes}
        self._fresh.write_text(json.dumps(content, indent=1))
        self._fresh.replace(self._path)
        self.exists = True

    def remove(self) -> None:
        """Nothing is left to undo."""
        for path in (self._path, self._fresh):
            path.unlink(missing_ok=True)
        self.exists = False

    @property
    def _fresh(self) -> Path:
        return self._path.with_suffix(".new")


def files_of(directory: Path, role: str) -> Iterator[tuple[int, Path]]:
    """Every file that a role keeps in a directory, with the network namespace (by its cookie) that it is of."""
    for path in directory.glob(f"{role}-*.*"):
        cookie = path.stem.removeprefix(f"{role}-")
        if cookie.isdigit():
            yield int(cookie), path
