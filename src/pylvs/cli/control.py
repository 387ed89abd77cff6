"""The data plane by hand: attach, detach, upgrade."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.attach import HOOKS
from pylvs.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., object])


def _capacity(name: str, default: int, what: str) -> Callable[[_Command], _Command]:
    return click.option(name, type=click.IntRange(1, 1 << 28), help=f"{what} [default: {default}]")


@click.command()
@click.argument("interfaces", nargs=-1, metavar="[INTERFACE]...")
@click.option("--hook", type=click.Choice(HOOKS), default="auto", show_default=True, help="tc, or XDP before tc.")
@_capacity("--connections", abi.DEFAULT_BUCKETS * abi.SLOTS, "Slots of the connection table (NAT takes two each).")
@_capacity("--services", abi.DEFAULT_SERVICES, "Virtual services.")
@_capacity("--servers", abi.DEFAULT_SERVERS, "Real servers of all services.")
def attach(
    interfaces: tuple[str, ...], hook: str, connections: int | None, services: int | None, servers: int | None
) -> None:
    """Load the data plane if it isn't, and attach it to INTERFACEs.

    Without any: to every Ethernet interface that is up and has an IP address. `auto` takes XDP where a NIC's driver
    runs it, and tc everywhere. Capacities are for a data plane that isn't loaded yet.
    """
    from pylvs.director.ebpf import control
    from pylvs.director.ebpf.capacity import Capacity

    asked = {"connections": connections, "services": services, "servers": servers}
    given = {name: number for name, number in asked.items() if number is not None}
    control.attach(interfaces, hook, Capacity(**given) if given else None)


@click.command()
@click.argument("interfaces", nargs=-1, metavar="[INTERFACE]...")
def detach(interfaces: tuple[str, ...]) -> None:
    """Take the data plane off INTERFACEs; without any, off all of them, and unload it with its services."""
    from pylvs.director.ebpf import control

    control.detach(interfaces)


@click.command()
def upgrade() -> None:
    """Put this pylvs's programs in place of the running ones. Services and connections stay; no packet is lost."""
    from pylvs.director.ebpf import control

    control.upgrade()


@click.command(add_help_option=False)
def ipvsadm() -> None:
    """It is run without click; this only stands in the list of commands."""
    raise UsageError("ipvsadm, ipvsadm-save and ipvsadm-restore must be the first word after pylvs")
