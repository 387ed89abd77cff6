"""`pylvs`: the command. Errors end here, as one line and a hint."""

from __future__ import annotations

import io
import os
import sys

from pylvs.director.backend import chosen, open_director
from pylvs.errors import NotPermitted, PylvsError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pylvs.director.port import Director


_IPVSADM = ("ipvsadm", "ipvsadm-save", "ipvsadm-restore")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments: Sequence[str] = list(sys.argv[1:] if argv is None else argv)
    _provide_streams()
    try:
        backend, scheduler_file, arguments = _before_the_command(arguments)
        if arguments and arguments[0] in _IPVSADM:
            return _ipvsadm(arguments[0], arguments[1:], backend, scheduler_file)
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


def _before_the_command(arguments: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """`--backend` and `--scheduler-file`, in either order, or what the environment says; and the command."""
    first, arguments = _scheduler_file(arguments)
    backend, arguments = chosen(arguments)
    second, arguments = _scheduler_file(arguments)
    given = second or first or os.environ.get("PYLVS_SCHEDULER_FILE", "")
    return backend, os.path.abspath(given) if given else "", arguments


def _scheduler_file(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    if arguments[:1] != ["--scheduler-file"]:
        return "", arguments
    if len(arguments) < 2:
        raise UsageError("--scheduler-file needs a file with a scheduler (docs/schedulers.md shows one)")
    return arguments[1], arguments[2:]


def _ipvsadm(name: str, arguments: Sequence[str], backend: str, scheduler_file: str) -> int:
    """Without a detour: scripts call it by the thousand."""
    program = _program(name)

    def director() -> Director:
        return open_director(backend, scheduler_file)

    return program(arguments, director, stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr)


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
