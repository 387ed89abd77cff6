"""Which packets are sent to which kind of service."""

from __future__ import annotations

from pylvs.bench.driver import Draw, Hook, Load
from pylvs.bench.result import Subject
from pylvs.model import ForwardingMethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pylvs.bench.kind import Kind

    Draws = Sequence[tuple[str, Draw, bytes]]
    Traffic = tuple[Subject, Load, bytes]


def established(kind: Kind, flows: int, draws: Draws) -> Iterator[Traffic]:
    """Packets of so many connections, hook by hook. What the director lists by itself has no list here.

    On tc the kernel wraps an skb only once, so a test that runs again and again on one can't show TUN there.
    """
    for hook in (Hook.XDP,) if kind.wrapped else tuple(Hook):
        about = Subject(kind.program, hook, kind.way, "request", flows, family=f"ipv{kind.family}")
        for name, draw, listed in draws:
            yield about.replace(draw=name), Load(flows, draw), listed
        if kind.slots == 2:
            yield from _replies(kind, about.replace(direction="reply"), flows, draws)


def _replies(kind: Kind, about: Subject, flows: int, draws: Draws) -> Iterator[Traffic]:
    load = Load(flows, reply=True)
    if kind.method is ForwardingMethod.FULLNAT:
        yield about.replace(draw="listed"), load.replace(draw=Draw.LISTED, to_locals=True), b""
        return
    for name, draw, listed in draws:
        yield about.replace(draw=name), load.replace(draw=draw), listed
