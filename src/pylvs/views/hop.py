"""How the way of a request is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pylvs.lab.hop import REQUEST, Hop
from pylvs.views.lab import table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_COLUMNS = ("", "us", "Where", "Source MAC > destination MAC", "Source > destination", "TTL")
_WIDE = 130


def hop_table(hops: Sequence[Hop], names_of_macs: Mapping[str, str], out: Console) -> Table:
    """One row per place where the request or its reply was seen, and one more for what was wrapped there."""
    begun = min((hop.at for hop in hops), default=0)
    towards = " > " if out.width >= _WIDE else " >\n"
    return table(_COLUMNS, [row for hop in hops for row in _rows(hop, begun, names_of_macs, towards)], out)


def where(hop: Hop) -> str:
    """The tap that saw it. On the switch, leaving means towards the director."""
    if hop.port.node == "switch":
        return "switch, to director" if hop.outgoing else "switch, from director"
    return f"{hop.port.node} {hop.port.interface} {'out' if hop.outgoing else 'in'}"


def _rows(hop: Hop, begun: int, names_of_macs: Mapping[str, str], towards: str) -> Iterator[tuple[str, ...]]:
    packet, outer = hop.packet, hop.packet.outer
    source, destination = (
        f"{mac} {names_of_macs.get(mac, '?')}" for mac in (packet.source_mac, packet.destination_mac)
    )
    place = (
        "request" if packet.payload.startswith(REQUEST) else "reply",
        str((hop.at - begun) // 1000),
        where(hop),
        f"{source}{towards}{destination}",
    )
    ends, ttl = f"{packet.source}{towards}{packet.destination}", str(packet.ttl)
    if outer:
        yield *place, f"{outer.source}{towards}{outer.destination} {outer.type}", str(outer.ttl)
        yield "", "", "", "", f"  in it: {ends}", ttl
    else:
        yield *place, ends, ttl
