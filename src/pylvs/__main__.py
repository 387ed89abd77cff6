"""`pylvs`: the command. Errors end here, as one line and a hint."""

from __future__ import annotations

import io
import os
import sys

from pylvs.director.backend import chosen, open_director
from pylvs.errors import NotPermitted, PylvsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_IPVSADM = ("ipvsadm", "ipvsadm-save", "ipvsadm-restore")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments: Sequence[str] = list(sys.argv[1:] if argv is None else argv)
    _provide_streams()
    try:
        backend, arguments = chosen(arguments)
        if arguments and arguments[0] in _IPVSADM:
            return _ipvsadm(arguments[0], arguments[1:], backend)
        from pylvs.cli.app import run

        return run(arguments, backend)
    except PylvsError as error:
        report(error)
        return error.exit_code
    except OSError as error:
        report(NotPermitted(str(error)) if isinstance(error, PermissionError) else PylvsError(str(error)))
        return 255 if arguments and arguments[0] in _IPVSADM else 1
    except KeyboardInterrupt:
        return 130


def _provide_streams() -> None:
    """A closed stream is an empty one, and what a terminal can't show is shown escaped."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115  # open as long as the process
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _ipvsadm(name: str, arguments: Sequence[str], backend: str) -> int:
    """Without a detour: scripts call it by the thousand."""
    program = _program(name)
    return program(arguments, lambda: open_director(backend), stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr)


def _program(name: str) -> Callable[..., int]:
    if name == "ipvsadm":
        from pylvs.cli.ipvsadm import run

        return run
    from pylvs.cli.ipvsadm import scripts

    return scripts.save if name == "ipvsadm-save" else scripts.restore


def report(error: PylvsError) -> None:
    """One line of what is wrong, one of how to mend it."""
    print(f"pylvs: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
