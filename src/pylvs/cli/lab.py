"""pylvs lab: a whole LVS network on this machine, to try things in."""

from __future__ import annotations

import json

import click

from pylvs.errors import UsageError
from pylvs.lab import command
from pylvs.lab import status as lab_status
from pylvs.lab.topology import MOST_SERVERS, Hook, Lab
from pylvs.model import ForwardingMethod
from pylvs.views import lab as view

METHODS = [ForwardingMethod.NAT.value, ForwardingMethod.DR.value]
HOOKS = [hook.value for hook in Hook]
_name = click.option("--name", metavar="LAB", help="Which lab, when there are several.")


@click.group()
def lab() -> None:
    """A client, a router, a director and real servers in network namespaces of this machine.

    The host's own network stays as it is, and several labs can be up at once.
    """


@lab.command()
@click.argument("method", type=click.Choice(METHODS))
@click.option("--hook", type=click.Choice(HOOKS), default=Hook.AUTO.value, help="Where the director's program runs.")
@click.option("--servers", metavar="N", type=int, default=2, help=f"How many real servers, 1 to {MOST_SERVERS}. [2]")
@click.option("--scheduler", metavar="NAME", default="rr", help="The service's scheduler. [rr]")
@click.option("--name", metavar="LAB", help="What to call it. [the method]")
@click.option("--service/--no-service", default=True, help="Without: the network and the real servers only.")
def up(*, method: str, hook: str, servers: int, scheduler: str, name: str | None, service: bool) -> None:
    """Build a lab and start its service."""
    try:
        wanted = Lab(
            method if name is None else name, ForwardingMethod(method), Hook(hook), servers, scheduler, service
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    click.echo(view.announcement(command.up(wanted)))


@lab.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_name
@click.argument("node")
@click.argument("argv", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(name: str | None, node: str, argv: tuple[str, ...]) -> None:
    """Run a command on a node (client, router, director, rs1, rs2, ...); its exit code is this command's."""
    words = argv[1:] if argv[0] == "--" else argv
    if not words:
        raise UsageError("no command to run", hint="pylvs lab exec NODE -- COMMAND...")
    command.enter(command.chosen(name), node, words)


@lab.command()
@_name
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(name: str | None, as_json: bool) -> None:
    """Show the labs there are: nodes, addresses, processes."""
    command.need_root("looking into labs")
    labs = [lab_status.status(command.chosen(name))] if name else lab_status.everything()
    if as_json:
        click.echo(json.dumps([view.as_fields(lab) for lab in labs], indent=2))
    else:
        view.show(labs)


@lab.command()
@_name
@click.option("--all", "every", is_flag=True, help="Every lab.")
def down(name: str | None, every: bool) -> None:
    """Remove a lab, or what a crash left of it."""
    for which in command.present() if every else [command.chosen(name)]:
        command.down(which)
        click.echo(f"lab {which} is down")
