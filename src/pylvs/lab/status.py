"""How labs are: what is really there, next to what was asked for."""

from __future__ import annotations

from pylvs.lab import command, namespace, state
from pylvs.lab.topology import Lab, Node, namespace_of, topology
from pylvs.model import Value


class NodeStatus(Value):
    """A node that should be there or is. `node` is None when nothing is known of it but its namespace."""

    name: str
    node: Node | None
    present: bool
    processes: tuple[int, ...]


class LabStatus(Value):
    """A lab; `lab` is None when its state file is lost."""

    name: str
    lab: Lab | None
    complete: bool
    nodes: tuple[NodeStatus, ...]

    @property
    def whole(self) -> bool:
        """Everything is there, and a process runs on each real server."""
        return self.complete and all(
            node.present and (bool(node.processes) or not node.name.startswith("rs")) for node in self.nodes
        )


def status(name: str) -> LabStatus:
    """Look at one lab."""
    known = state.load(name)
    there = namespace.labs().get(name, set())
    expected = {node.name: node for node in topology(known.lab).nodes} if known else {}
    nodes = [*expected, *sorted(there - expected.keys())]
    return LabStatus(
        name=name,
        lab=known.lab if known else None,
        complete=bool(known and known.complete),
        nodes=tuple(_node(name, node, expected.get(node), node in there) for node in nodes),
    )


def everything() -> list[LabStatus]:
    """Look at every lab."""
    return [status(name) for name in command.present()]


def _node(lab: str, name: str, node: Node | None, present: bool) -> NodeStatus:
    lived_in = namespace.identities([namespace_of(lab, name)])
    return NodeStatus(name, node, present, tuple(namespace.processes(lived_in)))
