"""Which director a command is for: pylvs's own over eBPF, or the kernel's IPVS."""

from __future__ import annotations

import os

from pylvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pylvs.director.ebpf.director import EbpfDirector
    from pylvs.director.ipvs.director import IpvsDirector

EBPF, IPVS = "ebpf", "ipvs"
BACKENDS = (EBPF, IPVS)
NAMES = {EBPF: "the eBPF director", IPVS: "the kernel's IPVS"}
OPTION = "--backend"
VARIABLE = "PYLVS_BACKEND"


def open_director(backend: str, scheduler_file: str = "") -> EbpfDirector | IpvsDirector:
    """The one of this network namespace; raises `PylvsError` where there can be none.

    `scheduler_file` is where a scheduler that is neither IPVS's nor installed is to be looked for.
    """
    if backend == IPVS:
        from pylvs.director.ipvs.director import IpvsDirector

        return IpvsDirector()
    from pylvs.director.ebpf.director import EbpfDirector

    return EbpfDirector(scheduler_file=scheduler_file)


def chosen(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The backend that a command line begins with, or else the environment's; and what follows. Raises `UsageError`."""
    word, separator, name = (arguments[0] if arguments else "").partition("=")
    if word != OPTION:
        return _checked(os.environ.get(VARIABLE) or EBPF, VARIABLE), arguments
    if separator:
        return _checked(name, OPTION), arguments[1:]
    if len(arguments) < 2:
        raise UsageError(f"{OPTION} lacks its argument", hint=f"{OPTION} {'|'.join(BACKENDS)}")
    return _checked(arguments[1], OPTION), arguments[2:]


def _checked(name: str, where: str) -> str:
    if name not in BACKENDS:
        raise UsageError(f"{where}: there is no backend {name!r}", hint=f"there are: {', '.join(BACKENDS)}")
    return name
