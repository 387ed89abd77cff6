"""The states of a TCP connection, as a real kernel's were recorded."""

from __future__ import annotations

import json
from pathlib import Path

from pylvs.model import ForwardingMethod
from tests.packets.model.parse import ACK, FIN, RST, SYN

_GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "conn" / "tcp-states.json").read_text())
_EVENTS = ((RST, "R"), (SYN, "S"), (FIN, "F"), (ACK, "A"))
ACTIVE = {"ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"}
REWRITING = (ForwardingMethod.NAT, ForwardingMethod.FULLNAT)
UDP_STATE = ("UDP", 300)


def _recorded(table: str) -> dict[tuple[str, str], tuple[str, int]]:
    """(state, direction and packet) -> (state, seconds)."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for key, outcome in _GOLDEN[table]["transitions"].items():
        state, symbol = key.replace("(reply seen) ", "").rsplit(" ", 1)
        (after,) = outcome
        name, seconds = after.split()
        assert found.setdefault((state, symbol), (name, int(seconds))) == (name, int(seconds))
    return found


_BOTH_WAYS, _ONE_WAY = _recorded("nat"), _recorded("dr")
SECONDS = dict(_BOTH_WAYS.values())
FIRST = _BOTH_WAYS["NONE", "iS"]


def after(state: str, flags: int, method: ForwardingMethod, *, reply: bool) -> tuple[str, int]:
    """What a packet makes of a connection, and how long that lasts. One without any flag closes it."""
    event = next((name for bit, name in _EVENTS if flags & bit), None)
    if event is None:
        return "CLOSE", SECONDS["CLOSE"]
    symbol = ("o" if reply else "i") + ("SA" if reply and event == "S" else event)
    return (_BOTH_WAYS if method in REWRITING else _ONE_WAY)[state, symbol]
