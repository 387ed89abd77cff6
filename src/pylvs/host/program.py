"""Files that pylvs writes for others to run or read. What somebody else wrote is never touched."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from pylvs.errors import PylvsError

MARK = "made by pylvs"
"""What a file of ours says near its beginning."""


_QUICKLY = "import sys; from pylvs.__main__ import main; sys.exit(main())"
"""`-m` would import half as much again as a listing needs."""


def invocation() -> str:
    """How to run this pylvs from anywhere; what lies in the current directory is not imported."""
    return _words(sys.executable, "-P", "-m", "pylvs")


def quick_invocation(command: str) -> str:
    """The same for a command that scripts run by the thousand."""
    return _words(sys.executable, "-P", "-c", _QUICKLY, command)


def _words(*words: str) -> str:
    return " ".join(map(shlex.quote, words))


def is_ours(path: Path) -> bool:
    """Whether pylvs made this file."""
    try:
        return MARK in path.read_text(errors="replace")[:200]
    except OSError:
        return False


def refuse_others(path: Path, hint: str) -> None:
    """Raises `PylvsError` where somebody else's file is."""
    if path.is_symlink() or (path.exists() and not is_ours(path)):
        raise PylvsError(f"{path} is there already and is not pylvs's: it is left alone", hint=hint)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Whole or not at all; `text` has to say that it is ours."""
    assert MARK in text[:200]
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text)
        fresh.chmod(mode)
        fresh.replace(path)
    except OSError as error:
        raise PylvsError(f"{path}: {error.strerror}", hint=f"{path.parent} must be there and writable") from error
    finally:
        fresh.unlink(missing_ok=True)
