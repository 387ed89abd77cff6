"""The bounds that the design sets, and whether measurements keep them."""

from __future__ import annotations

from pylvs.bench.result import DIRECTOR, INSERT_HASH, ROOM, Budget, Row, Subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_OVER_NAT, _NOTHING = 30.0, 3.0
"""Nanoseconds. What costs nothing is seen to cost so much at times."""
_IPV6 = 1.25
_BYTES = {1: 96.0, 2: 192.0}
"""Of a connection, by the slots that it takes."""


def budgets(measured: Sequence[Row], miss: float) -> list[Budget]:
    """Those that one packet at a time can show. The smallest number of flows is the one in caches."""
    ordered = sorted(measured, key=lambda row: row.subject.flows)
    return [*_dr(ordered, miss), *_methods(ordered), *_ipv6(ordered), *_unused(ordered), *_new(ordered)]


def memory(filled: Mapping[str, tuple[int, float]]) -> list[Budget]:
    """By method: the slots that a connection takes, and the bytes that it was seen to take."""
    return [
        Budget(f"{method}: memory of a connection, a table 0.67 full", size, _BYTES[slots], "B")
        for method, (slots, size) in filled.items()
    ]


def _dr(measured: Sequence[Row], miss: float) -> Iterator[Budget]:
    rows = _established(measured, "dr")
    for flows, row in rows.items():
        hot = flows == min(rows)
        where = f"XDP, DR, {flows} flows"
        yield Budget(f"{where}: of the minimal LRU_HASH program", row.ratio or 0, 1.0 if hot else 0.5, "x")
        if not hot:
            yield Budget(f"{where}: cache misses", row.over_empty / miss, 1.5)


def _methods(measured: Sequence[Row]) -> Iterator[Budget]:
    """Each method over the simpler one. A tunnel's packets are unwrapped by the driver, which isn't its doing."""
    undone = next((row.over_empty / 2 for row in measured if row.subject.program == ROOM), 0)
    for method, base, limit in (
        ("nat", "dr", 20.0),
        ("tun ipip", "nat", _OVER_NAT),
        ("tun gue", "nat", _OVER_NAT),
        ("fullnat", "nat", _OVER_NAT),
    ):
        more, less = _established(measured, method), _established(measured, base)
        for flows in [flows for flows in more if flows in less]:
            difference = more[flows].over_empty - less[flows].over_empty - (undone if "tun" in method else 0)
            yield Budget(f"XDP, {flows} flows: {method.upper()} over {base.upper()}", difference, limit, "ns")


def _ipv6(measured: Sequence[Row]) -> Iterator[Budget]:
    over = {row.subject: row.over_empty for row in measured if row.subject.program == DIRECTOR}
    for subject, value in over.items():
        ipv4 = over.get(subject.replace(family="ipv4"))
        if subject.family == "ipv6" and subject.hook == "xdp" and ipv4:
            what = f"XDP, {subject.flows} flows: {subject.method.upper()} {subject.direction}"
            yield Budget(f"{what}: IPv6 of IPv4", value / ipv4, _IPV6, "x")


def _unused(measured: Sequence[Row]) -> Iterator[Budget]:
    """What services of other kinds add to a packet of an established connection."""
    plain = _established(measured, "dr")
    for row in measured:
        about = row.subject
        name = about.program.removeprefix(f"{DIRECTOR}, ")
        if name != about.program and about.direction == "request" and about.hook == "xdp" and about.flows in plain:
            more = row.over_empty - plain[about.flows].over_empty
            yield Budget(f"XDP, DR, {about.flows} flows: {name}, over none of it", more, _NOTHING, "ns")


def _new(measured: Sequence[Row]) -> Iterator[Budget]:
    new = {row.subject.program: row.over_empty for row in measured if row.subject.direction == "new"}
    for name, value in new.items():
        if "wlc" in name and new.get(INSERT_HASH):
            yield Budget(f"new connection, {name}: of a HASH insertion", value / new[INSERT_HASH], 0.6, "x")


def _established(measured: Sequence[Row], method: str) -> dict[int, Row]:
    wanted = Subject(DIRECTOR, "xdp", method, "request", draw="uniform")
    return {row.subject.flows: row for row in measured if row.subject.replace(flows=0) == wanted}
