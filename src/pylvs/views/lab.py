"""How labs are shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from pylvs.lab.service import url
from pylvs.lab.status import LabStatus, NodeStatus
from pylvs.lab.topology import Interface, Node, Topology

_PLAIN_WIDTH = 160
_NAME_WIDTH = 16


def console() -> Console:
    """A terminal as it is; for a pipe or a file, lines long enough not to be broken."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], out: Console) -> Table:
    """Ruled on a terminal, plain columns elsewhere."""
    made = Table(box=box.SIMPLE_HEAD if out.is_terminal else None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def announcement(topology: Topology) -> str:
    """What `lab up` says when it is done."""
    lab = topology.lab
    nodes = " ".join(node.name for node in topology.nodes if not node.is_switch)
    asked = topology.vips if lab.service else [topology.servers[0].address]
    tries = "".join(f"\ntry: pylvs lab exec --name {lab.name} client -- curl {url(address)}" for address in asked)
    return f"lab {lab.name} is up: {nodes}{tries}"


def drawing(topology: Topology) -> str:
    """The network as a tree of text, as the client sees it, with each node's addresses and MACs."""
    rows = list(_tree(topology, topology.node("client")))
    width = max(_NAME_WIDTH, *(len(name) + 2 for name, _ in rows))
    return "\n".join(f"{name:<{width}}{text}".rstrip() for name, text in rows)


def _tree(topology: Topology, node: Node, first: str = "", more: str = "") -> Iterator[tuple[str, str]]:
    """A node, and what lies behind it: the only one below it, several as branches."""
    behind = [topology.node(link.right.node) for link in topology.links if link.left.node == node.name]
    for number, text in enumerate(_texts(topology, node) or [""]):
        yield (f"{first}{node.name}" if number == 0 else more), text
    if len(behind) == 1:
        yield f"{more}  |", ""
        yield from _tree(topology, behind[0], more, more)
    for number, each in enumerate(behind if len(behind) > 1 else []):
        last = number == len(behind) - 1
        branch, below = ("  `-- ", "      ") if last else ("  |-- ", "  |   ")
        yield from _tree(topology, each, more + branch, more + below)


def as_fields(status: LabStatus) -> dict[str, object]:
    """A lab's status for JSON."""
    lab = status.lab
    return {
        "name": status.name,
        "method": lab.method if lab else None,
        "hook": lab.hook if lab else None,
        "scheduler": lab.scheduler if lab else None,
        "service": lab.service if lab else None,
        "whole": status.whole,
        "nodes": [_node_fields(node) for node in status.nodes],
    }


def show(labs: Sequence[LabStatus]) -> None:
    """Every lab as a table."""
    out = console()
    if not labs:
        out.print("no lab is up")
    for status in labs:
        out.print(_headline(status), style="bold", markup=False)
        out.print(table(("Node", "Interface", "MAC", "Addresses", "Processes"), _rows(status), out))


def _headline(status: LabStatus) -> str:
    health = "up" if status.whole else "not whole: pylvs lab down removes what is left of it"
    if not status.lab:
        return f"lab {status.name}: {health}"
    lab = status.lab
    service = f"scheduler {lab.scheduler}, hook {lab.hook}" if lab.service else "no service"
    return f"lab {lab.name}: {lab.method}, {service}: {health}"


def _rows(status: LabStatus) -> Iterator[tuple[str, ...]]:
    for node in status.nodes:
        processes = " ".join(map(str, node.processes)) if node.present else "missing"
        interfaces = node.node.interfaces if node.node and not node.node.is_switch else (Interface(""),)
        for number, interface in enumerate(interfaces):
            first = (node.name, processes) if number == 0 else ("", "")
            yield first[0], interface.name, interface.mac, _addresses(interface), first[1]


def _node_fields(status: NodeStatus) -> dict[str, object]:
    node = status.node
    return {
        "name": status.name,
        "present": status.present,
        "processes": list(status.processes),
        "gateways": [str(gateway) for gateway in (node.gateways if node else ())],
        "interfaces": [
            {"name": each.name, "mac": each.mac, "addresses": [str(address) for address in each.addresses]}
            for each in (node.interfaces if node else ())
        ],
    }


def _addresses(interface: Interface) -> str:
    return " ".join(map(str, interface.addresses))


def _texts(topology: Topology, node: Node) -> list[str]:
    """A line for each interface and family."""
    texts = []
    for interface in () if node.is_switch else node.interfaces:
        for number, family in enumerate(topology.lab.every_family):
            mine = [address for address in interface.addresses if address.version == family]
            if mine:
                words = f"{interface.name:<6}{interface.mac:<19}" if number == 0 else " " * 25
                texts.append(words + ", ".join(f"{address}{_role(topology, node, address.ip)}" for address in mine))
                texts[-1] += _gateway(node, interface, family)
    return texts


def _gateway(node: Node, interface: Interface, family: int) -> str:
    ways = [gateway for gateway in node.gateways if gateway.version == family and interface is node.interfaces[0]]
    return "".join(f", gateway {gateway}" for gateway in ways)


def _role(topology: Topology, node: Node, address: object) -> str:
    if address in topology.vips:
        return " VIP"
    names = {"client": "CIP", "director": "DIP"}
    return f" {names[node.name]}" if node.name in names else " RIP" if node.is_server else ""
