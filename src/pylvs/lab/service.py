"""What a lab's director is told: the words that an operator would give to ipvsadm."""

from __future__ import annotations

from pylvs.lab.topology import Topology
from pylvs.model import ForwardingMethod

PORT = 80
_LETTER = {ForwardingMethod.NAT: "-m", ForwardingMethod.DR: "-g"}
_PROTOCOLS = ("-t", "-u")


def rules(topology: Topology) -> list[list[str]]:
    """The arguments of one ipvsadm after another.

    Servers are added from the last to the first, because the one added last is listed and tried first.
    """
    lab = topology.lab
    rows: list[list[str]] = []
    for protocol in _PROTOCOLS:
        service = [protocol, f"{topology.vip}:{PORT}"]
        rows.append(["-A", *service, "-s", lab.scheduler])
        rows += (
            ["-a", *service, "-r", f"{server.address}:{PORT}", _LETTER[lab.method]]
            for server in reversed(topology.servers)
        )
    return rows
