"""pylvs demo: each forwarding method at work, in a lab that is gone afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from pylvs.cli.lab import FAMILIES, HOOKS, METHODS
from pylvs.lab import command, interruption
from pylvs.lab.demo import demonstrate
from pylvs.lab.errors import LabError
from pylvs.lab.topology import Hook, Lab, Topology
from pylvs.model import ForwardingMethod, IPAddress
from pylvs.views import demo as view
from pylvs.views.lab import console

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("methods", metavar="[nat|dr|tun|fullnat]...", nargs=-1, type=click.Choice(METHODS))
@click.option("--hook", type=click.Choice(HOOKS), default=Hook.AUTO.value, help="Where the director's program runs.")
@click.option("--family", type=click.Choice([*FAMILIES]), default="4", help="Of the services. [4]")
def demo(methods: tuple[str, ...], hook: str, family: str) -> None:
    """Balance ten requests with each forwarding method, and show the way that one of them took.

    It ends with 0 only when every answer was the one expected.
    """
    wrong = [method for method in methods or METHODS if not _demonstrate(method, Hook(hook), FAMILIES[family])]
    if wrong:
        raise LabError(f"not as expected: {', '.join(wrong)}", hint="what was wrong is said above")


def _demonstrate(method: str, hook: Hook, families: tuple[int, ...]) -> bool:
    out = console()
    lab = Lab(f"demo-{method}-{os.getpid()}", ForwardingMethod(method), hook, families=families)
    with interruption.raised():
        try:
            network = command.up(lab)
            view.show_lab(network, out)
            wrong = [vip for vip in network.vips if not _show(network, vip, out)]
        finally:
            if lab.name in command.present():
                command.down(lab.name)
    return not wrong


def _show(network: Topology, vip: IPAddress, out: Console) -> bool:
    seen = demonstrate(network, vip)
    view.show(network, seen, out)
    return not seen.complaints
