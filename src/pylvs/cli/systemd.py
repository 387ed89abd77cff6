"""pylvs systemd: a director that is there after every boot."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click

from pylvs.errors import PylvsError
from pylvs.host import unit

_root = click.option(
    "--root",
    default=Path("/"),
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The root of the system to install into (an image, say).",
)


@click.group()
def systemd() -> None:
    """A unit that attaches the director at boot and loads /etc/sysconfig/ipvsadm or /etc/ipvsadm.rules."""


@systemd.command()
@_root
def install(root: Path) -> None:
    """Write pylvs.service, and /etc/default/pylvs (interfaces, hook, capacities, rules) unless there is one."""
    for path in unit.install(root):
        click.echo(f"wrote {path}")
    click.echo("now: systemctl enable --now pylvs")


@systemd.command()
@_root
def remove(root: Path) -> None:
    """Take the unit away, and its settings if nobody has changed them. (First: systemctl disable --now pylvs)"""
    for path in unit.remove(root):
        click.echo(f"removed {path}")


@systemd.command()
@click.option("--atomic", is_flag=True, help="All or nothing, and without a gap: what `systemctl reload` does.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
def load(file: Path | None, *, atomic: bool) -> int:
    """Make the table what FILE says; this is what the unit runs.

    Without FILE it is /etc/sysconfig/ipvsadm or else /etc/ipvsadm.rules; where there is neither, nothing happens.
    """
    path = file or unit.rules()
    if path is None:
        click.echo(f"no rules: there is neither {' nor '.join(f'/{rules}' for rules in unit.RULES)}")
        return 0
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError as error:
        raise PylvsError(f"{path}: {error.strerror}", hint="see RULES in /etc/default/pylvs") from error
    return _load(text, atomic=atomic)


def _load(text: str, *, atomic: bool) -> int:
    from pylvs.cli.ipvsadm import run, scripts
    from pylvs.director.ebpf.director import EbpfDirector

    rules = io.StringIO(text, newline="\n")
    if atomic:
        return run(["-R", "--atomic"], EbpfDirector, stdin=rules, stdout=sys.stdout, stderr=sys.stderr)
    return scripts.restore((), EbpfDirector, stdin=rules, stdout=sys.stdout, stderr=sys.stderr)
