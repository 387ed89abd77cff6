"""`pylvs`: the command. Errors end here, as one line and a hint."""

from __future__ import annotations

import io
import os
import sys

from pylvs.errors import NotPermitted, PylvsError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _provide_streams()
    try:
        scheduler_file = _take_scheduler_file(arguments)
        if arguments[:1] == ["ipvsadm"]:
            return _ipvsadm(arguments[1:], scheduler_file)
        from pylvs.cli.app import run

        return run(arguments)
    except PylvsError as error:
        report(error)
        return error.exit_code
    except OSError as error:
        report(NotPermitted(str(error)) if isinstance(error, PermissionError) else PylvsError(str(error)))
        return 255 if arguments[:1] == ["ipvsadm"] else 1
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


def _take_scheduler_file(arguments: list[str]) -> str:
    """What `--scheduler-file FILE` before the command says, or else the environment; "" for neither."""
    given = os.environ.get("PYLVS_SCHEDULER_FILE", "")
    if arguments[:1] == ["--scheduler-file"]:
        if len(arguments) < 2:
            raise UsageError("--scheduler-file needs a file with a scheduler (docs/schedulers.md shows one)")
        given = arguments[1]
        del arguments[:2]
    return os.path.abspath(given) if given else ""


def _ipvsadm(arguments: Sequence[str], scheduler_file: str) -> int:
    """Without a detour: scripts call it by the thousand."""
    from pylvs.cli.ipvsadm import run
    from pylvs.director.ebpf.director import EbpfDirector

    return run(
        arguments,
        lambda: EbpfDirector(scheduler_file=scheduler_file),
        stdin=sys.stdin,
        stdout=sys.stdout,
        stderr=sys.stderr,
    )


def report(error: PylvsError) -> None:
    """One line of what is wrong, one of how to mend it."""
    print(f"pylvs: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
