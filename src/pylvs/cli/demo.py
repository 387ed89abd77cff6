"""pylvs demo: LVS-NAT and LVS-DR at work, in a lab that is gone afterwards."""

from __future__ import annotations

import os

import click

from pylvs.lab import command, interruption
from pylvs.lab.demo import demonstrate
from pylvs.lab.errors import LabError
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from pylvs.views import demo as view
from pylvs.views.lab import console

_METHODS = [ForwardingMethod.NAT.value, ForwardingMethod.DR.value]
_HOOKS = [hook.value for hook in Hook]


@click.command()
@click.argument("methods", metavar="[nat|dr]...", nargs=-1, type=click.Choice(_METHODS))
@click.option("--hook", type=click.Choice(_HOOKS), default=Hook.AUTO.value, help="Where the director's program runs.")
def demo(methods: tuple[str, ...], hook: str) -> None:
    """Balance ten requests with each forwarding method, and show the way that one of them took.

    It ends with 0 only when every answer was the one expected.
    """
    wrong = [method for method in methods or _METHODS if not _demonstrate(method, Hook(hook))]
    if wrong:
        raise LabError(f"not as expected: {', '.join(wrong)}", hint="what was wrong is said above")


def _demonstrate(method: str, hook: Hook) -> bool:
    out = console()
    lab = Lab(f"demo-{method}-{os.getpid()}", ForwardingMethod(method), hook)
    with interruption.raised():
        try:
            network = command.up(lab)
            view.show_lab(network, out)
            seen = demonstrate(network)
            view.show(network, seen, out)
        finally:
            if lab.name in command.present():
                command.down(lab.name)
    return not seen.complaints
