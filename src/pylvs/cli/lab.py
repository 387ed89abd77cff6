"""pylvs lab: a whole LVS network on this machine, to try things in."""

from __future__ import annotations

import json

import click

from pylvs.errors import UsageError
from pylvs.lab import command
from pylvs.lab import status as lab_status
from pylvs.lab.topology import MOST_SERVERS, Hook, Lab
from pylvs.model import ForwardingMethod, Tunnel, TunnelChecksum, TunnelType
from pylvs.views import lab as view

METHODS = [method.value for method in ForwardingMethod]
HOOKS = [hook.value for hook in Hook]
FAMILIES = {"4": (4,), "6": (6,), "both": (4, 6)}
_TUNNELS = [each.value for each in TunnelType]
_CHECKSUMS = [each.value for each in TunnelChecksum]
_GUE_PORT = 6080
_PERSISTENCE = 300
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
@click.option("--family", type=click.Choice([*FAMILIES]), default="4", help="Of the services. [4]")
@click.option(
    "--server-family", type=click.Choice(["4", "6"]), help="Of the real servers, for tun and fullnat. [the same]"
)
@click.option("--tun-type", type=click.Choice(_TUNNELS), default=_TUNNELS[0], help="How tun wraps. [ipip]")
@click.option("--tun-port", metavar="PORT", type=int, help=f"UDP port of a gue tunnel. [{_GUE_PORT}]")
@click.option("--tun-checksum", type=click.Choice(_CHECKSUMS), default=_CHECKSUMS[0], help="Of gue and gre. [nocsum]")
@click.option(
    "--persistent",
    metavar="SECONDS",
    type=int,
    is_flag=False,
    flag_value=_PERSISTENCE,
    help="Keep clients on their server. [300]",
)
@click.option(
    "--mark", metavar="MARK", type=int, help="Ports 80 and 443 as one service, by a firewall mark that nft sets."
)
def up(
    *,
    method: str,
    hook: str,
    servers: int,
    scheduler: str,
    name: str | None,
    service: bool,
    family: str,
    server_family: str | None,
    tun_type: str,
    tun_port: int | None,
    tun_checksum: str,
    persistent: int | None,
    mark: int | None,
) -> None:
    """Build a lab and start its service."""
    try:
        wanted = Lab(
            name=method if name is None else name,
            method=ForwardingMethod(method),
            hook=Hook(hook),
            servers=servers,
            scheduler=scheduler,
            service=service,
            families=FAMILIES[family],
            server_family=int(server_family) if server_family else None,
            tunnel=tunnel(tun_type, tun_port, tun_checksum),
            persistence=persistent,
            mark=mark,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    network = command.up(wanted)
    click.echo(view.drawing(network))
    click.echo(view.announcement(network))


def tunnel(kind: str, port: int | None, checksum: str) -> Tunnel:
    """What the options say; a gue tunnel has the usual port unless another is given."""
    usual = _GUE_PORT if kind == TunnelType.GUE else 0
    return Tunnel(TunnelType(kind), usual if port is None else port, TunnelChecksum(checksum))


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
