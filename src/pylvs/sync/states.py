"""The states of a connection, as the sync protocol numbers them: each protocol's own, from 0."""

from __future__ import annotations

from pylvs.director.ebpf.abi import ConnectionState as State
from pylvs.model import Protocol

FIRST = {Protocol.TCP: State.NONE, Protocol.UDP: State.UDP, Protocol.SCTP: State.SCTP_NONE}
"""The state that is 0 on the wire."""

_NUMBERS = {
    Protocol.TCP: range(State.SYNACK + 1),
    Protocol.UDP: range(1),
    Protocol.SCTP: range(State.SCTP_CLOSED - State.SCTP_NONE + 1),
}

TOLD = frozenset(
    {
        *(State.ESTABLISHED, State.FIN_WAIT, State.TIME_WAIT, State.CLOSE, State.CLOSE_WAIT, State.UDP),
        *(State.SCTP_ESTABLISHED, State.SCTP_CLOSED),
        *(State.SCTP_SHUTDOWN_SENT, State.SCTP_SHUTDOWN_RECEIVED, State.SCTP_SHUTDOWN_ACK_SENT),
    }
)
"""The states in which a backup is told of a connection, as the kernel's master does it."""

ACTIVE = frozenset({State.ESTABLISHED, State.SYN_SENT, State.SYN_RECV, State.SYNACK, State.SCTP_ESTABLISHED})
"""Those that count as ActiveConn."""


_FROM_WIRE = {
    (int(protocol), number): State(first + number) for protocol, first in FIRST.items() for number in _NUMBERS[protocol]
}


def from_wire(protocol: int, number: int) -> State | None:
    """The state of a number; None where there is none."""
    return _FROM_WIRE.get((protocol, number))
