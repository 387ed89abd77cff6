"""What is tried on a copy of the table first: `--dry-run`, and `--restore --atomic`."""

from __future__ import annotations

import io

from pylvs.change import change
from pylvs.cli.ipvsadm.failure import WrongLine
from pylvs.cli.ipvsadm.read import read
from pylvs.cli.ipvsadm.restore import numbered_lines
from pylvs.desired import state_of
from pylvs.director.preview import Preview
from pylvs.errors import PylvsError, UsageError
from pylvs.plan import plan
from pylvs.views.step import step_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    from pylvs.cli.ipvsadm.command import Session
    from pylvs.cli.ipvsadm.request import Request
    from pylvs.desired import State

    Perform = Callable[[Session, Request], None]

_RULES = (
    *("add-service", "edit-service", "delete-service", "flush", "add-server", "edit-server", "delete-server"),
    *("set", "sysctl", "begin", "end"),
)
"""What may stand in a file that is taken as a whole: what it says of the table and of the settings."""
_NOT_OF_THE_TABLE = ("zero", "start-daemon", "stop-daemon")


def dry_run(line: Sequence[str], session: Session, request: Request, perform: Perform) -> None:
    """Print what a command would change, as commands; what would be refused is."""
    preview = Preview(session.director)
    if request.command != "zero" or "service-address" in request.given:
        _try(session, request, preview, perform)
    if request.command in _NOT_OF_THE_TABLE:
        session.stdout.write(" ".join(word for word in line if word != "--dry-run") + "\n")
    else:
        tell_changes(session.stdout, preview.before, state_of(preview))


def _try(session: Session, request: Request, preview: Preview, perform: Perform) -> None:
    if request.command not in ("start-daemon", "stop-daemon"):
        perform(session.replace(director=preview), request)


def tell_changes(stdout: TextIO, current: State, desired: State) -> None:
    """The steps from one to the other, a line each."""
    stdout.writelines(f"{step_text(step)}\n" for step in plan(current, desired))


def restore_dry(session: Session, restore: Callable[[Session], int]) -> int:
    """Print what the lines of standard input would change, one after the other; returns their exit status."""
    preview = Preview(session.director)
    status = restore(session.replace(director=preview))
    tell_changes(session.stdout, preview.before, state_of(preview))
    return status


def restore_whole(session: Session, perform: Perform, *, dry: bool) -> None:
    """Make the table what standard input says: all of it, or nothing; raises `WrongLine` for what is wrong there."""
    text = session.stdin.read()
    director = session.director
    director.hold()
    director.begin()
    try:
        preview = Preview(director, empty=True)
        _read_whole(text, session.replace(director=preview), perform)
        if dry:
            tell_changes(session.stdout, preview.before, state_of(preview))
        else:
            change(director, state_of(preview))
    finally:
        director.commit()


def _read_whole(text: str, session: Session, perform: Perform) -> None:
    commands = []
    number = 0
    for number, words in numbered_lines(io.StringIO(text, newline="\n")):
        if not words[0].startswith("#"):
            commands.append(_perform_line(number, words, session, perform))
    _refuse_what_was_cut_off(text, commands)


def _perform_line(number: int, words: Sequence[str], session: Session, perform: Perform) -> str:
    try:
        request = read(words, session.names)
        if request.command not in _RULES or "dry-run" in request.given:
            raise UsageError(f"{words[0]} is no rule, and --atomic takes nothing else")
        perform(session, request)
    except PylvsError as error:
        raise WrongLine(number, error) from None
    return request.command


def _refuse_what_was_cut_off(text: str, commands: Iterable[str]) -> None:
    """A file that was cut off in the middle says less than was meant, and may well make sense."""
    commands = list(commands)
    lines = text.count("\n")
    if not commands:
        raise WrongLine(lines, UsageError("there are no rules (to delete all: ipvsadm -C)"))
    if not text.endswith("\n"):
        raise WrongLine(lines + 1, UsageError("it is cut off: it has no end of line"))
    if "begin" in commands and commands[-1] != "end":
        raise WrongLine(lines, UsageError("the file is cut off: it ends without its --end"))
