"""pylvs connections: those that the director keeps, and an end to some of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps

import click

from pylvs.cli.pattern import pattern
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.errors import UsageError
from pylvs.model import Connection, Protocol
from pylvs.model.connection_filter import ConnectionFilter
from pylvs.model.pattern import Pattern
from pylvs.views.as_json import connections_json
from pylvs.views.connection import numeric_connections


def _selecting(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which connections; the command gets them as `which`."""

    @wraps(command)
    def selected(
        *,
        protocol: str | None = None,
        client: Pattern | None = None,
        vip: Pattern | None = None,
        server: Pattern | None = None,
        state: str | None = None,
        **rest: bool,
    ) -> None:
        number = Protocol[protocol.upper()] if protocol else None
        command(which=ConnectionFilter(number, client, vip, server, state.upper() if state else None), **rest)

    selected = click.option("--state", help="Only in this state, as `ipvsadm -Lc` names it.")(selected)
    for name, whose in (("--server", "real server"), ("--vip", "virtual address"), ("--client", "client")):
        what = f"Only with this {whose}: ADDRESS[/LENGTH][:PORT]."
        selected = click.option(name, callback=pattern, metavar="ENDPOINT", help=what)(selected)
    protocols = click.Choice([protocol.name.lower() for protocol in Protocol])
    return click.option("--protocol", type=protocols, help="Only with this protocol.")(selected)


class _Listing(click.Group):
    """Without a command it is `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = args and args[0] in (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if known else ["list", *args])


@click.group(cls=_Listing)
def connections() -> None:
    """Show the connections (`list`, which may be left out), or end some of them."""


@connections.command("list")
@_selecting
@click.option("--json", "as_json", is_flag=True, help="As JSON; see docs/ipvsadm.schema.json.")
def show(*, which: ConnectionFilter, as_json: bool) -> None:
    """Show the connections of which all that is asked for is true, in numbers."""
    director = EbpfDirector()
    _print(filter(which.matches, director.connections()), as_json=as_json)


def _print(found: Iterable[Connection], *, as_json: bool = False) -> None:
    sys.stdout.writelines(connections_json(found) if as_json else numeric_connections(found))
    sys.stdout.flush()


@connections.command()
@_selecting
@click.option("--all", "everything", is_flag=True, help="Every connection: needed if nothing else is asked for.")
@click.option("--dry-run", is_flag=True, help="Show which would be ended, and end none.")
def delete(*, which: ConnectionFilter, everything: bool, dry_run: bool) -> None:
    """End the connections of which all that is asked for is true; says how many there were.

    The next packet of such a connection belongs to none: TCP's is answered by a reset, unless it is a SYN. A template
    of persistence goes when no connection of it is left.
    """
    if which.whole and not everything:
        raise UsageError("which connections?", hint="name a --client, --vip, --server, ... or say --all")
    director = EbpfDirector()
    try:
        if dry_run:
            _print(filter(which.matches, director.connections()))
        else:
            click.echo(f"ended: {director.end_connections(which)}")
    finally:
        director.close()
