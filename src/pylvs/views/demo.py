"""How a demonstration is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.rule import Rule

from pylvs.lab.demo import Demonstration
from pylvs.lab.service import realserver, rules, url
from pylvs.lab.topology import Topology
from pylvs.views.hop import hop_table
from pylvs.views.lab import drawing

if TYPE_CHECKING:
    from rich.console import Console


def show_lab(topology: Topology, out: Console) -> None:
    """The network, and what its director was told."""
    lab = topology.lab
    out.print(Rule(f"LVS-{lab.method.upper()}, hook {lab.hook}", characters="="))
    _section("the network", drawing(topology), out)
    if words := realserver(topology):
        _section("each real server", f"# pylvs realserver {' '.join(words)}", out)
    _section("the director", "\n".join(f"# pylvs ipvsadm {' '.join(rule)}" for rule in rules(topology)), out)


def show(topology: Topology, seen: Demonstration, out: Console) -> None:
    """What was seen, and the verdict on it."""
    _section("pylvs ipvsadm -Ln, before", seen.before, out)
    _section(f"{len(seen.answers)} requests to {url(seen.vip)}", "\n".join(map(str.strip, seen.answers)), out)
    _section("pylvs ipvsadm -Ln, after", seen.after, out)
    _section("pylvs ipvsadm -Lnc", seen.connections, out)
    _section("the way of the last request, and of its reply", "", out)
    out.print(hop_table(seen.hops, topology.names_of_macs, out))
    for complaint in seen.complaints:
        out.print(f"wrong: {complaint}", style="red", markup=False)
    if not seen.complaints:
        out.print(f"LVS-{topology.lab.method.upper()}: every answer as expected", style="green")


def _section(title: str, text: str, out: Console) -> None:
    out.print()
    out.print(title, style="bold")
    if text:
        out.print(text.rstrip("\n"), markup=False, no_wrap=True, crop=False, overflow="ignore")
