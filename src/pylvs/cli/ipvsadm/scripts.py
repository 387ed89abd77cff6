"""`ipvsadm-save` and `ipvsadm-restore`: what the scripts of these names that come with ipvsadm do."""

from __future__ import annotations

import io

from pylvs.cli.ipvsadm import run, take_bytes_as_they_are
from pylvs.errors import PylvsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    from pylvs.cli.ipvsadm.names import Names
    from pylvs.director.port import Director

_USAGE = """\
ipvsadm-save: Script to save the IPVS table to stdout.
   With the -n option, prints out the table in numeric format.
"""


def save(
    argv: Sequence[str],
    open_director: Callable[[], Director],
    *,
    stdin: TextIO,
    stdout: TextIO,
    stderr: TextIO,
    names: Names | None = None,
) -> int:
    """`ipvsadm -S`; of options there is `-n` only, and what is no option counts for nothing."""
    if any(word.startswith("-") and word != "-n" for word in argv):
        stderr.write(_USAGE)
        return 1
    words = ["-S", "-n"] if "-n" in argv else ["-S"]
    return run(words, open_director, stdin=stdin, stdout=stdout, stderr=stderr, names=names)


def restore(
    _: Sequence[str],
    open_director: Callable[[], Director],
    *,
    stdin: TextIO,
    stdout: TextIO,
    stderr: TextIO,
    names: Names | None = None,
) -> int:
    """`ipvsadm -C`, then `ipvsadm -R` with what is no comment; what stands behind the command counts for nothing."""
    take_bytes_as_they_are(stdin)
    opened = _once(open_director)
    rules = io.StringIO(without_comments(stdin), newline="\n")
    run(["-C"], opened, stdin=io.StringIO(), stdout=stdout, stderr=stderr)
    return run(["-R"], opened, stdin=rules, stdout=stdout, stderr=stderr, names=names)


def without_comments(lines: Iterable[str]) -> str:
    """The lines that do not begin with `#`."""
    return "".join(line for line in lines if not line.startswith("#"))


def _once(open_director: Callable[[], Director]) -> Callable[[], Director]:
    """Both commands speak to the same director: each of its own would wait for the other's lock."""
    held: list[Director | PylvsError] = []

    def opened() -> Director:
        if not held:
            try:
                held.append(open_director())
            except PylvsError as error:
                held.append(error)
        if isinstance(held[0], PylvsError):
            raise held[0]
        return held[0]

    return opened
