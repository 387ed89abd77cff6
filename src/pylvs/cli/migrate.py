"""pylvs migrate: the same table in the other director."""

from __future__ import annotations

import importlib

import click

from pylvs.director import migration
from pylvs.director.backend import BACKENDS, EBPF, IPVS, OPTION, open_director
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.director.ipvs.director import IpvsDirector
from pylvs.director.migration import Plan, Table
from pylvs.errors import PylvsError
from pylvs.views import migration as view

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
            _migrate((source, old), (target, new), dry_run=dry_run, keep=keep)
        finally:
            new.close()
    finally:
        old.close()


def _migrate(source: tuple[str, _Director], target: tuple[str, _Director], *, dry_run: bool, keep: bool) -> None:
    table = migration.table_of(source[1])
    if not table.services:
        raise PylvsError(f"{_name(source[0])} has no services, so there is nothing to take over")
    plan = _planned(table, source, target)
    if dry_run:
        click.echo(view.commands(plan), nl=False)
    if plan.obstacles:
        for line in plan.obstacles:
            click.echo(line, err=True)
        raise PylvsError(f"{_name(target[0])} can't take the table over, and nothing was changed: see above why")
    if not dry_run:
        _carry_out(plan, target)
        left = "kept" if keep else _retire(table, source, target[0])
        click.echo(view.done(plan, _name(source[0]), _name(target[0]), left))


def _name(backend: str) -> str:
    name: str = importlib.import_module(f"pylvs.director.{backend}.fit").NAME
    return name


def _planned(table: Table, source: tuple[str, _Director], target: tuple[str, _Director]) -> Plan:
    plan = migration.plan(table, migration.table_of(target[1]))
    lacks = importlib.import_module(f"pylvs.director.{target[0]}.fit").lacks(table.services)
    running = source[1].daemons() if isinstance(source[1], IpvsDirector) else ()
    daemons = [f"the {each.role} sync daemon on {each.interface} has to be stopped first" for each in running]
    return plan.replace(obstacles=(*plan.obstacles, *lacks, *daemons))


def _carry_out(plan: Plan, target: tuple[str, _Director]) -> None:
    backend, director = target
    fresh = isinstance(director, EbpfDirector) and director.table is None
    try:
        migration.carry_out(plan, director)
    except BaseException as error:
        if fresh:
            _unload(director)
        if isinstance(error, PylvsError):
            raise PylvsError(f"{_name(backend)} refused: {error}; all was left as it was", hint=error.hint) from error
        raise


def _retire(table: Table, source: tuple[str, _Director], target: str) -> str:
    """Flush the table that was taken over, unless it has become another one meanwhile."""
    backend, director = source
    if isinstance(director, EbpfDirector):
        director.loaded()  # from here on nobody else changes it
    if not table.same_rules(migration.table_of(director)):
        raise PylvsError(
            f"the table of {_name(backend)} was changed meanwhile, so it was not flushed",
            hint=f"pylvs {OPTION} {target} ipvsadm -C, and migrate again",
        )
    director.flush()
    if backend == EBPF:
        _unload(director)
        return "flushed, and its data plane unloaded"
    return "flushed"


def _unload(director: _Director) -> None:
    """With nothing to balance it would only be in the way of the packets."""
    from pylvs.director.ebpf import control

    director.close()
    control.detach(())
