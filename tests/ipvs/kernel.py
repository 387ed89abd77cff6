"""The kernel's own IPVS under test: that of a network namespace for itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pylvs.director.ipvs.director import IpvsDirector
from pylvs.model import Timeouts
from tests.ipvsadm import Outcome
from tests.packets.space import enter, here, ip, unshare


def has_ipvs() -> bool:
    """Whether the kernel has it now; no module is loaded for a test."""
    return Path("/proc/net/ip_vs").exists()


class Kernel:
    """A director with nothing in it."""

    def __init__(self) -> None:
        self.director = IpvsDirector()
        self._knobs = self.director.knobs()

    def reset(self) -> None:
        """As it was at first."""
        self.director.flush()
        self.director.set_timeouts(Timeouts())
        now = self.director.knobs()
        self.director.set_knobs({name: value for name, value in self._knobs.items() if value != now[name]})
        for daemon in self.director.daemons():
            self.director.stop_daemon(daemon.role)


@contextmanager
def kernel(*addresses: str) -> Iterator[Kernel]:
    """This thread is in a fresh namespace, whose eth0 has these addresses."""
    home = here()
    unshare()
    try:
        ip(
            "link add eth0 type veth peer name far0",
            *(f"link set {name} up" for name in ("lo", "eth0", "far0")),
            *(f"address add {address} dev eth0{' nodad' if ':' in address else ''}" for address in addresses),
        )
        own = Kernel()
        yield own
        own.director.close()
    finally:
        enter(home)


def real_ipvsadm(words: Sequence[str], stdin: str = "") -> Outcome:
    """The real one, on the same table."""
    done = subprocess.run(["ipvsadm", *words], input=stdin, capture_output=True, text=True, check=False)
    return Outcome(done.stdout, done.stderr, done.returncode)
