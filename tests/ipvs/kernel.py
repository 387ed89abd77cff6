"""The kernel's own IPVS under test: that of a network namespace for itself."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pylvs.cli.ipvsadm import run
from pylvs.director.ipvs.director import IpvsDirector
from pylvs.model import Timeouts
from tests.ipvsadm import Outcome
from tests.packets.space import enter, here, ip, unshare

_PATIENCE = 20
_TIME = re.compile(r"\d\d:\d\d")


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
    Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")  # addresses of IPv6 can be used at once
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


LISTINGS = ("-Ln", "-Ln --stats", "-Ln --rate", "-Ln --thresholds", "-Ln --persistent-conn", "-Ln --tun-info",
            "-Lnc", "-L --timeout", "-L --daemon", "-Sn", "-Ln --nosort", "-Ln -t 192.0.2.80:80 --stats")  # fmt: skip


def ours(words: Sequence[str], director: IpvsDirector, stdin: str = "") -> Outcome:
    """By pylvs, with this machine's names."""
    stdout, stderr = io.StringIO(newline=""), io.StringIO(newline="")
    status = run(words, lambda: director, stdin=io.StringIO(stdin, newline="\n"), stdout=stdout, stderr=stderr)
    return Outcome(stdout.getvalue(), stderr.getvalue(), status)


def agree(director: IpvsDirector, listing: str) -> None:
    """Both list the same bytes. Meanwhile time goes on: figures are compared when they stand still, and what is left of
    a connection's time lies between what the real one says before and after.
    """
    words = listing.split()
    timed = words[0] == "-Lnc"
    for _ in range(_PATIENCE):
        before, told, after = real_ipvsadm(words), ours(words, director), real_ipvsadm(words)
        if timed or before == after:
            break
    if timed:
        times = [_TIME.findall(outcome.stdout) for outcome in (after, told, before)]
        assert all(low <= mine <= high for low, mine, high in zip(*times, strict=True))
        before, told, after = (each._replace(stdout=_TIME.sub("", each.stdout)) for each in (before, told, after))
    assert told == before == after, listing
