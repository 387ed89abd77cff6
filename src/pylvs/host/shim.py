"""`ipvsadm`, `ipvsadm-save` and `ipvsadm-restore` as programs of these names, for scripts that know no other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pylvs.errors import PylvsError
from pylvs.host import program

NAMES = ("ipvsadm", "ipvsadm-save", "ipvsadm-restore")
DEFAULT = Path("/usr/local/sbin")


def install(directory: Path) -> list[Path]:
    """All three of them; raises `PylvsError`, with nothing written, where one is there that is not ours."""
    if not directory.is_dir():
        raise PylvsError(f"{directory} is not a directory", hint="make it first, or name another")
    paths = [directory / name for name in NAMES]
    for path in paths:
        program.refuse_others(path, "remove it, or name another directory: pylvs shim install DIR")
    for path in paths:
        program.write(path, _script(path.name), 0o755)
    return paths


def _script(name: str) -> str:
    return (
        f'#!/bin/sh\n# {program.MARK}: `pylvs shim remove` takes it away\nexec {program.quick_invocation(name)} "$@"\n'
    )


def remove(directory: Path) -> list[Path]:
    """Those that are ours; returns them."""
    ours = [path for path in (directory / name for name in NAMES) if program.is_ours(path)]
    for path in ours:
        try:
            path.unlink()
        except OSError as error:
            raise PylvsError(f"{path}: {error.strerror}", hint=f"{directory} must be writable") from error
    return ours


def found(name: str) -> Path | None:
    """What a shell would run by this name."""
    path = shutil.which(name, path=os.environ.get("PATH", os.defpath))
    return Path(path) if path else None
