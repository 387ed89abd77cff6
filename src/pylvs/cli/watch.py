"""pylvs watch: events as they happen."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import click

from pylvs.cli.pattern import pattern
from pylvs.director.ebpf import control
from pylvs.errors import UsageError
from pylvs.model.event import Event, EventKind
from pylvs.model.pattern import Pattern
from pylvs.views import event as view

_PROTOCOLS = ("tcp", "udp", "sctp")


def _kinds(_context: click.Context, _option: click.Parameter, text: str | None) -> frozenset[EventKind] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in list(EventKind):
            raise UsageError(f"--only {text}: there is no event {word!r}", hint=f"it takes {', '.join(EventKind)}")
    return frozenset(map(EventKind, words))


_Command = TypeVar("_Command", bound=Callable[..., object])


def _ends(name: str, whose: str) -> Callable[[_Command], _Command]:
    what = f"Only with this {whose}: ADDRESS[/LENGTH][:PORT]."
    return click.option(name, callback=pattern, metavar="ENDPOINT", help=what)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object on each line.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--only", callback=_kinds, metavar="KIND[,KIND]...", help=f"Of {', '.join(EventKind)}.")
@click.option("--protocol", type=click.Choice(_PROTOCOLS), help="Only with this protocol.")
@_ends("--service", "virtual address")
@_ends("--client", "client")
@_ends("--server", "real server")
def watch(
    *,
    as_json: bool,
    count: int | None,
    only: frozenset[EventKind] | None,
    protocol: str | None,
    service: Pattern | None,
    client: Pattern | None,
    server: Pattern | None,
) -> None:
    """Show connections that are scheduled, expire, are evicted or deleted, and packets that are dropped, as it happens.

    Ctrl-C ends it. While nobody watches, the data plane makes no events. One watch at a time can be at work.
    """

    def wanted(event: Event) -> bool:
        return (
            (only is None or event.kind in only)
            and protocol in {None, view.protocol(event)}
            and (service is None or service.matches(event.virtual))
            and (client is None or client.matches(event.client))
            and (server is None or server.matches(event.server))
        )

    with _interruptible() as ended:
        _show(wanted, count, ended, as_json=as_json)


def _show(wanted: Callable[[Event], bool], count: int | None, ended: Callable[[], bool], *, as_json: bool) -> None:
    line, lost_line = (view.json_line, view.lost_json) if as_json else (view.line, view.lost_line)
    with control.watching() as events:
        print("watching; Ctrl-C ends it", file=sys.stderr, flush=True)
        while not ended() and count != 0:
            chosen = list(filter(wanted, events.read()))[:count]
            count = None if count is None else count - len(chosen)
            lines = list(map(line, chosen))
            if lost := events.lost():
                lines.append(lost_line(lost))
            if lines:
                print(*lines, sep="\n", flush=True)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM are noted and end the loop: raised, they could be swallowed in a call back from libbpf."""
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)

    former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
