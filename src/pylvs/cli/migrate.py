"""pylvs migrate: the same table in the other director."""

from __future__ import annotations

import click

from pylvs.desired import State, state_of
from pylvs.director import migration
from pylvs.director.backend import BACKENDS, EBPF, IPVS, NAMES, OPTION, open_director
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.director.ipvs.director import IpvsDirector
from pylvs.errors import PylvsError
from pylvs.plan import plan
from pylvs.views.step import step_text

_Director = EbpfDirector | IpvsDirector


@click.command()
@click.option("--to", "target", required=True, type=click.Choice(BACKENDS), help="Where the table is to be.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--keep", is_flag=True, help="Leave the table that it comes from as it is.")
def migrate(*, target: str, dry_run: bool, keep: bool) -> None:
    """Take a running table over: the kernel's IPVS into the eBPF director, or back.

    Services, real servers with weights and thresholds, timeouts and knobs are the same afterwards. First it is told
    what the target lacks; then nothing is changed, and the exit status is 1. The table that it comes from is flushed
    only when the target has all of it. Connections are not taken over: docs/backends.md says what becomes of them.
    """
    source = EBPF if target == IPVS else IPVS
    old = open_director(source)
    try:
        new = open_director(target)
        try:
            _migrate(old, new, target, dry_run=dry_run, keep=keep)
        finally:
            new.close()
    finally:
        old.close()


def _migrate(old: _Director, new: _Director, target: str, *, dry_run: bool, keep: bool) -> None:
    """Refuse by name, show, or do it."""
    source = EBPF if target == IPVS else IPVS
    if not dry_run:
        old.hold()
    table = state_of(old)
    if not table.services:
        raise PylvsError(f"{NAMES[source]} has no services, so there is nothing to take over")
    present = state_of(new)
    wanted = migration.desired(table, present)
    if dry_run:
        click.echo("".join(f"{step_text(step)}\n" for step in plan(present, wanted)), nl=False)
    _check(table, old, new, target)
    if not dry_run:
        _carry_out(wanted, new, target)
        left = "kept" if keep else _retire(table, old, target)
        click.echo(f"{NAMES[target]} has taken over {_counted(table)}; the table of {NAMES[source]} was {left}")


def _check(table: State, old: _Director, new: _Director, target: str) -> None:
    """Raises `PylvsError` after telling all that stands against it."""
    running = [
        f"the {daemon.role} sync daemon on {daemon.interface} has to be stopped first" for daemon in old.daemons()
    ]
    against = [*migration.obstacles(table, new), *running]
    for line in against:
        click.echo(line, err=True)
    if against:
        raise PylvsError(f"{NAMES[target]} can't take the table over, and nothing was changed: see above why")


def _carry_out(wanted: State, new: _Director, target: str) -> None:
    """All of it, or nothing."""
    fresh = isinstance(new, EbpfDirector) and new.table is None  # what was loaded for this is to go again
    try:
        migration.carry_out(wanted, new)
    except BaseException as error:
        if fresh and isinstance(new, EbpfDirector) and new.table is not None:
            _unload(new)
        if isinstance(error, PylvsError):
            raise PylvsError(f"{NAMES[target]} refused: {error}; all was left as it was", hint=error.hint) from error
        raise


def _retire(table: State, old: _Director, target: str) -> str:
    """Flush the table that was taken over, unless it has become another one meanwhile."""
    if not migration.is_same(table, state_of(old)):
        raise PylvsError(
            "the table that it comes from was changed meanwhile, so it was not flushed",
            hint=f"pylvs {OPTION} {target} ipvsadm -C, and migrate again",
        )
    old.flush()
    if isinstance(old, EbpfDirector):
        _unload(old)
        return "flushed, and its data plane unloaded"
    return "flushed"


def _unload(director: _Director) -> None:
    """With nothing to balance it would only be in the way of the packets."""
    from pylvs.director.ebpf import control

    director.close()
    control.detach(())


def _counted(table: State) -> str:
    services, servers = len(table.services), sum(len(held.servers) for held in table.services)
    return f"{services} service{'s'[: services != 1]} with {servers} real server{'s'[: servers != 1]}"
