"""pylvs realserver: this host as a real server, with the words and exit codes of the tutorials' init scripts."""

from __future__ import annotations

import click

from pylvs.model import ForwardingMethod
from pylvs.role import asked as asking
from pylvs.role import realserver as role
from pylvs.views import realserver as view

_METHODS = [ForwardingMethod.TUN.value, ForwardingMethod.DR.value]


@click.group()
def realserver() -> None:
    """Make this host a real server of LVS-DR or LVS-TUN, look at it, and put everything back as it was."""


@realserver.command()
@click.option("--method", type=click.Choice(_METHODS), required=True, help="How the director sends.")
@click.option("--vip", "vips", metavar="VIP", multiple=True, required=True, help="A virtual service's address.")
@click.option("--interface", "interfaces", metavar="IF", multiple=True, help="Where the director's packets come in.")
@click.option("--tun-type", "types", type=click.Choice(asking.TUNNELS), multiple=True, help="TUN: which to take. [all]")
@click.option("--tun-port", "ports", type=click.IntRange(1, 65535), multiple=True, help="GUE's port. [6080]")
@click.option("--director", "directors", metavar="DIP", multiple=True, help="TUN: take no others' tunnels. [anybody's]")
@click.option(
    "--arp", type=click.Choice(asking.ARP), default="sysctl", show_default=True, help="What keeps ARP silent."
)
@click.option("--mss-overhead", type=click.IntRange(0, 1000), help="TUN: bytes around a packet. [by --tun-type]")
def up(
    *,
    method: str,
    vips: tuple[str, ...],
    interfaces: tuple[str, ...],
    types: tuple[str, ...],
    ports: tuple[int, ...],
    directors: tuple[str, ...],
    arp: str,
    mss_overhead: int | None,
) -> None:
    """Put the VIPs on lo, keep silent about them, and take what the director sends.

    All options but --method, --vip and --arp may be left out; those with values may be given several times. Doing it
    again is no error: what has changed meanwhile is put right. `down` restores what was there before the first `up`.
    """
    role.up(
        asking.asked(
            ForwardingMethod(method),
            vips,
            interfaces=interfaces,
            types=types,
            ports=ports,
            directors=directors,
            arp=arp,
            mss_overhead=mss_overhead,
        )
    )
    view.show(role.status())


@realserver.command()
def down() -> None:
    """Put everything back as it was before `up`, also when that was cut short."""
    role.down()
    view.show(role.status())


@realserver.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def status(as_json: bool) -> int:
    """Running (exit code 0), Stopped (3) or Degraded (1), and why; with what was counted."""
    found = role.status()
    if as_json:
        import json

        click.echo(json.dumps(view.as_fields(found)))
    else:
        view.show(found)
    return found.state.value
