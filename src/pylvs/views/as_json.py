"""Listings as JSON, by docs/ipvsadm.schema.json: always in numbers, and with names that stay."""

from __future__ import annotations

import json

from pylvs.model import FirewallMark, ForwardingMethod
from pylvs.views.endpoint import address_text
from pylvs.views.flag import all_flag_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from pylvs.model import (
        Connection,
        Counters,
        Endpoint,
        ServerSnapshot,
        ServiceId,
        ServiceSnapshot,
        Timeouts,
        Tunnel,
        VirtualService,
    )

FORMAT = 1
"""It only changes if something that was there changes its meaning or goes."""
_BEGINNING = f'{{"format": {FORMAT}, '


def services_json(services: Iterable[ServiceSnapshot], *, rates: bool = False) -> Iterator[str]:
    """Services with their servers, a line each; with counters, or with rates in their place."""
    counts = "rates" if rates else "counters"
    yield from _list("services", (json.dumps(_service(snapshot, counts)) for snapshot in services))


def connections_json(connections: Iterable[Connection]) -> Iterator[str]:
    """A line each, for there may be millions."""
    yield from _list("connections", map(_connection, connections))


def timeouts_json(timeouts: Timeouts) -> str:
    """The three of them, in seconds."""
    return _whole("timeouts", {"tcp": timeouts.tcp, "tcp_fin": timeouts.tcp_fin, "udp": timeouts.udp})


def daemons_json(daemons: Iterable[dict[str, Any]]) -> str:
    """The sync daemons that run."""
    return _whole("daemons", list(daemons))


def _whole(name: str, value: object) -> str:
    return f"{_BEGINNING}{json.dumps(name)}: {json.dumps(value)}}}\n"


def _list(name: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"{_BEGINNING}{json.dumps(name)}: ["
    separator = "\n"
    for line in lines:
        yield separator + line
        separator = ",\n"
    yield "\n]}\n"


def _service(snapshot: ServiceSnapshot, counts: str) -> dict[str, Any]:
    service = snapshot.service
    return {
        **_which(service.id),
        **_scheduling(service),
        counts: _counters(snapshot.counters),
        "servers": [_server(server, counts) for server in snapshot.servers],
    }


def _which(id: ServiceId) -> dict[str, Any]:
    if isinstance(id, FirewallMark):
        return {"family": id.family, "mark": id.mark, "protocol": None, "address": None, "port": None}
    return {"family": id.family, "mark": None, "protocol": id.protocol.name.lower(), **_endpoint(id.endpoint)}


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {"address": address_text(endpoint.address), "port": endpoint.port}


def _scheduling(service: VirtualService) -> dict[str, Any]:
    mask = service.netmask
    return {
        "scheduler": service.scheduler,
        "flags": all_flag_names(service.scheduler, service.flags).split(",") if service.flags else [],
        "persistence": service.persistence,
        "netmask": mask if mask is None or isinstance(mask, int) else address_text(mask),
        "persistence_engine": service.persistence_engine or None,
        "one_packet": service.one_packet,
        "local_addresses": [address_text(address) for address in service.local_addresses],
    }


def _server(snapshot: ServerSnapshot, counts: str) -> dict[str, Any]:
    server = snapshot.server
    return {
        **_endpoint(server.endpoint),
        "method": server.method.value,
        "weight": server.weight,
        "upper_threshold": server.upper_threshold,
        "lower_threshold": server.lower_threshold,
        "tunnel": _tunnel(server.tunnel) if server.method is ForwardingMethod.TUN else None,
        "connections": {"active": snapshot.active, "inactive": snapshot.inactive, "persistent": snapshot.persistent},
        counts: _counters(snapshot.counters),
    }


def _tunnel(tunnel: Tunnel) -> dict[str, Any]:
    return {"type": tunnel.type.value, "port": tunnel.port or None, "checksum": tunnel.checksum.value}


def _counters(counters: Counters) -> dict[str, int]:
    return {
        "connections": counters.connections,
        "in_packets": counters.in_packets,
        "out_packets": counters.out_packets,
        "in_bytes": counters.in_bytes,
        "out_bytes": counters.out_bytes,
    }


def _connection(connection: Connection) -> str:
    """By hand: nothing here has to be escaped, and `json.dumps` would take most of a million connections' time."""
    protocol = f'"{connection.protocol.name.lower()}"' if connection.protocol else "null"
    return (
        f'{{"protocol": {protocol}, "state": "{connection.state}", "expires": {connection.expires}, '
        f'"client": {_end(connection.client)}, "virtual": {_end(connection.virtual)}, '
        f'"server": {_end(connection.server)}}}'
    )


def _end(endpoint: Endpoint) -> str:
    return f'{{"address": "{address_text(endpoint.address)}", "port": {endpoint.port}}}'
