"""The systemd unit that attaches the director and loads its rules at boot."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pylvs.errors import PylvsError
from pylvs.host import program

UNIT = Path("etc/systemd/system/pylvs.service")
DEFAULTS = Path("etc/default/pylvs")
RULES = (Path("etc/sysconfig/ipvsadm"), Path("etc/ipvsadm.rules"))
"""Where ipvsadm's packages keep the rules; the first that is there is loaded. All of these are below the root."""

_TEMPLATES = Path(__file__).parent / "systemd"


def install(root: Path) -> list[Path]:
    """Write the unit, and its settings unless there are some; raises `PylvsError` for a unit that is not ours."""
    unit, defaults = root / UNIT, root / DEFAULTS
    program.refuse_others(unit, "remove it first, or write a unit of your own that runs `pylvs systemd load`")
    written = [unit] if defaults.exists() else [unit, defaults]
    try:
        for path in written:
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PylvsError(f"{error.filename}: {error.strerror}", hint="run it as root") from error
    for path in written:
        program.write(path, _text(path.name))
    _reload(root)
    return written


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text().replace("@PYLVS@", program.invocation())


def remove(root: Path) -> list[Path]:
    """Remove the unit if it is ours, and its settings if nobody has changed them; returns what was removed."""
    unit, defaults = root / UNIT, root / DEFAULTS
    gone = [unit] if program.is_ours(unit) else []
    if defaults.exists() and defaults.read_text(errors="replace") == _text(defaults.name):
        gone.append(defaults)
    for path in gone:
        path.unlink()
    _reload(root)
    return gone


def rules(root: Path = Path("/")) -> Path | None:
    """The file of rules that is there."""
    return next((root / path for path in RULES if (root / path).is_file()), None)


def _reload(root: Path) -> None:
    """Tell a systemd that runs."""
    if root == Path("/") and Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "daemon-reload"], check=False)
