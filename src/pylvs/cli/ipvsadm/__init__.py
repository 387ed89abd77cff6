"""`pylvs ipvsadm`: the command line of ipvsadm 1.31, byte for byte, over any director."""

from __future__ import annotations

import io
import os

from pylvs.cli.ipvsadm.command import Session, run_line
from pylvs.cli.ipvsadm.names import SystemNames
from pylvs.errors import PylvsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from pylvs.cli.ipvsadm.names import Names
    from pylvs.director.port import Director

_NOT_INITIALISED = 2
_BROKEN_PIPE = 128 + 13  # as a shell reports a program that SIGPIPE ended


def run(
    argv: Sequence[str],
    open_director: Callable[[], Director],
    *,
    stdin: TextIO,
    stdout: TextIO,
    stderr: TextIO,
    names: Names | None = None,
) -> int:
    """Run one command line (without the program's name) and return its exit status.

    The director comes first, before the command line is even looked at: as with ipvsadm, not even --help works
    without one.
    """
    for stream in (stdin, stdout, stderr):
        take_bytes_as_they_are(stream)
    try:
        director = open_director()
    except PylvsError as error:
        stderr.write(f"Can't initialize ipvs: {error}\n" + (f"{error.hint}\n" if error.hint else ""))
        return _NOT_INITIALISED
    try:
        status = run_line(argv, Session(director, names or SystemNames(), stdin, stdout, stderr))
        stdout.flush()
    except BrokenPipeError:
        _discard(stdout)
        return _BROKEN_PIPE
    return status


def take_bytes_as_they_are(stream: TextIO) -> None:
    """A line ends at a newline only, and what is not UTF-8 comes out as it went in."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")


def _discard(stream: TextIO) -> None:
    """Nobody reads any more: let the interpreter flush what is left to nowhere when it ends, without a word."""
    if isinstance(stream, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
