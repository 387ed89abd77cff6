"""The far ends of a director's interfaces, at which frames are sent and received as they are."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from tests.packets.plane import Plane
from tests.packets.space import inside
from tests.packets.wire import DIRECTOR_MAC2, INTERFACES

ETH_P_IP, OUTGOING, SO_RCVBUFFORCE, GROUP = 0x0800, 4, 33, 1
PATIENCE, SILENCE = 10.0, 0.1
ENTRANCES = {"eth0": "both hooks", "eth2": "tc alone"}


class Wires:
    """The far ends of a director's interfaces."""

    def __init__(self, plane: Plane, far: int, kind: int = ETH_P_IP) -> None:
        self.plane, self.kind = plane, kind
        with inside(far):
            self.ends = {name: self._end(f"far-{name}") for name in INTERFACES}

    def _end(self, name: str) -> socket.socket:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.kind))
        end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        end.bind((name, self.kind))
        return end

    def close(self) -> None:
        for end in self.ends.values():
            end.close()

    def send(self, frames: Sequence[Any], entrance: str = "eth0") -> None:
        """They come in by this interface of the director."""
        for frame in frames:
            self.ends[entrance].send(toward(frame, entrance))

    def receive(self, count: int, end: str = "eth0") -> list[bytes]:
        """The frames that the director sent out of an interface; at least so many, or as many as come."""
        found: list[bytes] = []
        while True:
            self.ends[end].settimeout(SILENCE if len(found) >= count else PATIENCE)
            try:
                frame, where = self.ends[end].recvfrom(65535)
            except TimeoutError:
                return found
            if where[2] != OUTGOING and not frame[0] & GROUP:
                found.append(frame)


def toward(frame: Any, entrance: str) -> bytes:
    raw = bytes(frame)
    return raw if entrance == "eth0" else bytes.fromhex(DIRECTOR_MAC2.replace(":", "")) + raw[6:]
