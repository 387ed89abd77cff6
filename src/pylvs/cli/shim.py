"""pylvs shim: ipvsadm's own names on the PATH."""

from __future__ import annotations

from pathlib import Path

import click

from pylvs.host import program
from pylvs.host import shim as host

_directory = click.argument(
    "directory", metavar="[DIR]", default=host.DEFAULT, type=click.Path(file_okay=False, path_type=Path)
)


@click.group()
def shim() -> None:
    """Scripts that call ipvsadm, ipvsadm-save and ipvsadm-restore get pylvs."""


@shim.command()
@_directory
def install(directory: Path) -> None:
    """Put the three programs into DIR (default: /usr/local/sbin). What is not pylvs's is never overwritten."""
    for path in host.install(directory.absolute()):
        click.echo(f"{path} runs pylvs {path.name}{_hidden(path)}")


@shim.command()
@_directory
def remove(directory: Path) -> None:
    """Take away from DIR what `pylvs shim install` put there, and nothing else."""
    for path in host.remove(directory):
        click.echo(f"removed {path}")


@shim.command()
@_directory
def status(directory: Path) -> int:
    """Which of the three are in DIR; exit status 1 unless all are, and a shell finds them."""
    whole = True
    for path in (directory.absolute() / name for name in host.NAMES):
        ours, hidden = program.is_ours(path), _hidden(path)
        click.echo(f"{path}: {'pylvs' if ours else 'not pylvs' if path.exists() else 'not there'}{hidden}")
        whole = whole and ours and not hidden
    return 0 if whole else 1


def _hidden(path: Path) -> str:
    """What a shell runs instead."""
    first = host.found(path.name)
    if first is None:
        return f"; but {path.parent} is not on the PATH"
    return "" if first == path else f"; but the PATH finds {first} first"
