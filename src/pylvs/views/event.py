"""How events are shown: a line each, for people or as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pylvs.model import Endpoint
from pylvs.model.event import Event
from pylvs.views.endpoint import numeric

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}


def line(event: Event) -> str:
    """`TIME KIND PROTOCOL CLIENT > VIRTUAL > SERVER METHOD STATE`, by the clock on the wall; a drop ends with why."""
    ends = " > ".join(_text(end) for end in (event.client, event.virtual, event.server) if end)
    at = _moment(event).astimezone().strftime("%H:%M:%S.%f")
    words = (at, f"{event.kind:9}", protocol(event), ends, event.method, event.reason or event.state)
    return " ".join(filter(None, words))


def json_line(event: Event) -> str:
    """The same fields for every kind; what is unknown or does not apply is null."""
    fields = {
        "time": _moment(event).isoformat(timespec="microseconds"),
        "event": event.kind,
        "protocol": protocol(event),
        "client": _text(event.client),
        "virtual": _text(event.virtual),
        "server": _text(event.server) if event.server else None,
        "method": event.method,
        "state": event.state,
        "reason": event.reason,
    }
    return json.dumps(fields)


def _moment(event: Event) -> datetime:
    seconds, nanoseconds = divmod(event.at, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)


def _text(endpoint: Endpoint) -> str:
    return numeric(endpoint, None)


def lost_line(count: int) -> str:
    """What a reader has to know of the lines that are missing."""
    return f"-- {count} events were lost here: they came faster than they were read"


def lost_json(count: int) -> str:
    """The same for programs."""
    return json.dumps({"event": "lost", "count": count})


def protocol(event: Event) -> str:
    """Its name, or its number."""
    return _PROTOCOLS.get(event.protocol, str(event.protocol))
