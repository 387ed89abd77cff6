"""What `pylvs realserver` prints."""

from __future__ import annotations

from typing import Any

import click

from pylvs.role.state import Status


def as_fields(status: Status) -> dict[str, Any]:
    """For JSON."""
    return {
        "state": status.state.name.lower(),
        **(status.asked.as_fields() if status.asked else {}),
        "problems": list(status.problems),
        "mss": dict(zip(("ipv4", "ipv6"), status.mss, strict=True)) if status.mss else {},
        "counters": dict(status.counters),
    }


def show(status: Status) -> None:
    """The tutorials' line first, then what there is to say."""
    click.echo("\n".join(lines(status)))


def lines(status: Status) -> list[str]:
    """The text."""
    name = f"LVS-{status.asked.method.value.upper()}" if status.asked else "LVS"
    found = [f"{name} real server {status.state.name.capitalize()}."]
    found += [f"  problem: {problem}" for problem in status.problems]
    if status.asked:
        found += [f"  {label}: {value}" for label, value in _rows(status) if value]
    found += [f"  {name:<14} {count}" for name, count in status.counters.items() if count]
    return found


def _rows(status: Status) -> list[tuple[str, str]]:
    asked = status.asked
    if asked is None:
        return []
    ports = f" (GUE on {', '.join(map(str, asked.ports))})" if asked.ports else ""
    mss = f"{status.mss[0]} over IPv4, {status.mss[1]} over IPv6" if status.mss else ""
    return [
        ("vip", ", ".join(map(str, asked.vips))),
        ("interface", ", ".join(asked.interfaces)),
        ("tunnels", ", ".join(asked.tunnels) + ports),
        ("mss", mss),
    ]
