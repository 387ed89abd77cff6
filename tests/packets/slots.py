"""The connection table as it lies in memory, and the invariants that hold whenever no packet is on its way."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from pylvs.director.ebpf import abi
from tests.packets.plane import Plane

SLOT = np.dtype(
    [
        ("control", "<u8"),
        ("source", "<u8", 2),
        ("destination", "<u8", 2),
        ("source_port", ">u2"),
        ("destination_port", ">u2"),
        ("deadline", "<u4"),
        ("server", "<u4"),
        ("link", "<u4"),
        ("peer", "<u4"),
        ("overflow", "<u4"),
    ]
)
_SHIFT = abi.ControlShift
_ACTIVE = (
    abi.ConnectionState.ESTABLISHED,
    abi.ConnectionState.SYN_SENT,
    abi.ConnectionState.SYN_RECV,
    abi.ConnectionState.SYNACK,
)


class Slots:
    """A copy of all slots at one moment; arrays are indexed by slot number."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.raw: Any = np.frombuffer(plane.table.connections.memory[:], dtype=SLOT)
        control = self.raw["control"]
        self.phase = control & np.uint64(3)
        self.live = self.phase == abi.SlotPhase.LIVE
        self.server_side = self._field(_SHIFT.SIDE, 1) == abi.SlotSide.SERVER
        self.protocol = self._field(_SHIFT.PROTOCOL, 8)
        self.owners = self.live & ~self.server_side & (self.protocol & np.uint64(abi.TEMPLATE_PROTOCOL) == 0)
        self.answers = self.live & self.server_side
        self.state = self._field(_SHIFT.STATE, 8)
        self.nat = self._field(_SHIFT.METHOD, 4) == abi.ForwardingMethod.NAT
        self.away = self._field(_SHIFT.AWAY, 1) == 1
        self.told = self._field(_SHIFT.TOLD, 1) == 1
        self.hash = self._hash()

    def _field(self, shift: int, bits: int) -> Any:
        return self.raw["control"] >> np.uint64(shift) & np.uint64((1 << bits) - 1)

    def _hash(self) -> Any:
        """As place_of() makes it."""
        seed = [np.uint64(one) for one in self.plane.settings.seed]
        raw = self.raw
        ports = raw["source_port"].view("<u2").astype(np.uint64) | raw["destination_port"].view("<u2").astype(
            np.uint64
        ) << np.uint64(16)
        with np.errstate(over="ignore"):
            mixed = (
                raw["source"][:, 0] * seed[0]
                + raw["source"][:, 1] * seed[1]
                + raw["destination"][:, 0] * seed[2]
                + raw["destination"][:, 1] * seed[3]
                + (ports << np.uint64(8) | self.protocol) * seed[4]
            )
            mixed = (mixed ^ mixed >> np.uint64(32)) * seed[5]
        return mixed ^ mixed >> np.uint64(32)

    @property
    def bucket(self) -> Any:
        """The bucket that each slot is in."""
        return np.arange(len(self.raw)) // abi.SLOTS

    @property
    def home(self) -> Any:
        """The bucket where each slot's tuple belongs."""
        return self.hash & np.uint64(self.plane.settings.buckets - 1)

    def find(self, source: bytes, source_port: int) -> list[int]:
        """The numbers of the live slots of a client's connections."""
        address = np.uint64(int.from_bytes(bytes([0, 0, 255, 255]) + source, "little"))
        same = (self.raw["source"][:, 1] == address) & (self.raw["source_port"] == source_port)
        return [int(number) for number in np.flatnonzero(self.owners & same)]

    def tuples(self, which: Any) -> list[bytes]:
        """The identities of some slots."""
        return [
            one["source"].tobytes()
            + one["destination"].tobytes()
            + one[["source_port", "destination_port"]].tobytes()
            + bytes([number])
            for one, number in zip(self.raw[which], self.protocol[which], strict=True)
        ]

    def check(self) -> None:
        """Every invariant."""
        self.check_tuples()
        self.check_overflow()
        self.check_pairs()
        self.check_loads()

    def check_tuples(self) -> None:
        """No tuple is live twice, and every slot is tagged with its hash and lies where a look-up finds it."""
        tuples = self.tuples(self.live)
        assert len(set(tuples)) == len(tuples)
        assert (self.hash[self.live] >> np.uint64(48) == self._field(_SHIFT.TAG, 16)[self.live]).all()
        mask = np.uint64(self.plane.settings.buckets - 1)
        stride = self.hash >> np.uint64(32) | np.uint64(1)
        with np.errstate(over="ignore"):
            reach = [(self.home + np.uint64(probe) * stride) & mask for probe in range(abi.PROBES)]
        found = np.any([buckets == self.bucket for buckets in reach], axis=0)
        assert found[self.live].all()
        assert (self.away == (self.home != self.bucket))[self.live].all()

    def check_overflow(self) -> None:
        """A bucket counts those of its own that are elsewhere, until they are free again."""
        used = self.phase != abi.SlotPhase.FREE
        counts = np.bincount(self.home[used & self.away].astype(np.int64), minlength=self.plane.settings.buckets)
        assert (self.raw["overflow"][:: abi.SLOTS] == counts).all()

    def check_pairs(self) -> None:
        """The two slots of a NAT connection point at each other and agree; others have no second slot."""
        numbers = np.arange(len(self.raw))
        peer = self.raw["peer"].astype(np.int64) - 1
        paired = self.owners & self.nat
        assert (self.raw["peer"][self.owners & ~self.nat] == 0).all()
        assert (peer[paired] >= 0).all()
        assert self.answers[peer[paired]].all()
        assert (peer[peer[paired]] == numbers[paired]).all()
        assert self.answers.sum() == paired.sum()
        assert (self.state[peer[paired]] == self.state[paired]).all()
        assert (self.raw["server"][peer[paired]] == self.raw["server"][paired]).all()

    def check_loads(self) -> None:
        """A server counts its live connections."""
        active = np.isin(self.state, _ACTIVE)
        wanted = [
            Counter({number: int(count) for number, count in zip(*np.unique(chosen, return_counts=True), strict=True)})
            for chosen in (self.raw["server"][self.owners & active], self.raw["server"][self.owners & ~active])
        ]
        for number in range(self.plane.settings.servers_used):
            load = self.plane.table.servers[number].load
            assert (load >> 32, load & 0xFFFFFFFF) == (wanted[0][number], wanted[1][number]), f"server {number}"
