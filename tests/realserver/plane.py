"""The real server's programs, loaded but attached nowhere: frames go in, a verdict, a frame and a counter come out."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

from pylvs.director.ebpf import libbpf
from pylvs.director.ebpf.abi import AddressRole, TunnelType
from pylvs.director.ebpf.table import word
from pylvs.role import abi
from pylvs.role.program import Programs
from tests.realserver.frames import DIP, DIP6, GUE_PORT, RIP, RIP6, VIP, VIP6

LEFT, TAKEN, DROPPED, HELD, AGAIN = "left", "taken", "dropped", "held", "again"
MSS4, MSS6 = 1400, 1380
_ACTIONS = {2**32 - 1: LEFT, 0: TAKEN, 2: DROPPED, 4: HELD, 7: AGAIN}


class Outcome(NamedTuple):
    """`counted` is empty where nothing was counted."""

    action: str
    counted: str
    frame: bytes


class Plane:
    """Takes tunnels of the types given, from the directors DIP and DIP6 only if asked to."""

    def __init__(
        self,
        *types: TunnelType,
        only_directors: bool = False,
        vips: Sequence[str] = (VIP, VIP6),
        rips: Sequence[str] = (RIP, RIP6),
    ) -> None:
        settings = abi.RealserverSettings(mss_ipv4=MSS4, mss_ipv6=MSS6, only_directors=only_directors)
        settings.tunnels = sum(1 << kind for kind in types or TunnelType)
        settings.gue_port[:2] = [GUE_PORT, GUE_PORT + 1]
        roles = dict.fromkeys(map(ip_address, vips), int(AddressRole.VIP))
        roles |= dict.fromkeys(map(ip_address, rips), int(AddressRole.RIP))
        roles |= dict.fromkeys(map(ip_address, (DIP, DIP6)), abi.ADDRESS_DIRECTOR)
        self.programs = Programs(settings, roles)
        self._counters = libbpf.program_maps(self.programs.fd(libbpf.TC_INGRESS))["rs_counters"]

    def close(self) -> None:
        self.programs.close()

    def receive(self, frame: bytes) -> Outcome:
        """What becomes of a frame that comes in."""
        return self._run(libbpf.TC_INGRESS, frame)

    def send(self, frame: bytes) -> Outcome:
        """What becomes of one that goes out."""
        return self._run(libbpf.TC_EGRESS, frame)

    def _run(self, point: int, frame: bytes) -> Outcome:
        before = self._counts()
        run = libbpf.test_run(self.programs.fd(point), frame)
        fresh = [name for name, count in self._counts().items() for _ in range(count - before[name])]
        assert len(fresh) <= 1, f"one packet was counted as {fresh}"
        return Outcome(_ACTIONS[run.retval], "".join(fresh), run.data)

    def _counts(self) -> dict[str, int]:
        cpus = libbpf.possible_cpus()
        names = list(abi.RealserverCounter)[:-1]
        raw = {name: libbpf.lookup(self._counters, word(name), 8 * cpus) or b"" for name in names}
        return {name.name.lower(): sum(memoryview(value).cast("Q")) for name, value in raw.items()}
