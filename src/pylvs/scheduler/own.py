"""Schedulers of the user's own: a Python function from real servers to the turns that they get.

It comes from an entry point or a file, and is asked in a process of its own. So whatever it does, the director
lives on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time

from pylvs.errors import SchedulerNotFound, SchedulerRefused
from pylvs.scheduler.ring import HASHING, Ring, Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pylvs.model import RealServer

    Function = Callable[[Sequence[RealServer]], Sequence[RealServer]]

ENTRY_POINTS = "pylvs.schedulers"
FILE_VARIABLE = "PYLVS_SCHEDULER_FILE"
MOST_TURNS = 65536
LIMIT_SECONDS = 2.0
"""A function that takes longer is refused."""

_SELECTIONS = {
    "turns": Selection.TURNS,
    "source": Selection.SOURCE,
    "destination": Selection.DESTINATION,
    "maglev": Selection.MAGLEV,
}


class _Wrong(Exception):
    """What the user's code answered is no schedule; the message goes on after the scheduler's name."""


def ask(name: str, file: str, servers: Sequence[RealServer]) -> tuple[Selection, Ring]:
    """Lay out a ring by the scheduler of that name, from a file or ("") the entry points.

    Raises `SchedulerNotFound`, or `SchedulerRefused` where there is something wrong with it.
    """
    answer = _in_another_process(lambda: _answer(_load(name, file), servers), name)
    if "missing" in answer:
        raise SchedulerNotFound
    if "wrong" in answer:
        raise SchedulerRefused(f"scheduler {name} {answer['wrong']}; nothing was changed")
    selection = Selection(answer["selection"])
    turns = [turn for turn in answer["turns"] if selection in HASHING or servers[turn].weight]
    if not turns and any(server.weight for server in servers):
        raise SchedulerRefused(f"scheduler {name} gave no server a turn; nothing was changed")
    return selection, Ring(tuple(turns))


def _load(name: str, file: str) -> Function:
    function: Function | None = _from_file(name, file) if file else _from_entry_points(name)
    if not callable(function):
        raise _Wrong(f"is no function but {_kind(function)}")
    return function


def _from_file(name: str, file: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "pylvs_scheduler_file", "__file__": file}
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - pathlib would cost more to import
            source = opened.read()
    except OSError as error:
        raise _Wrong(f"can't be read from {file} ({error.strerror}): put it back, or choose another with -E") from None
    try:
        exec(compile(source, file, "exec"), namespace)  # noqa: S102 - root's own code, as with any plugin
    except Exception as error:
        raise _Wrong(f"can't be loaded from {file}: {_told(error)}") from None
    if name.replace("-", "_") not in namespace:
        raise _Wrong(f"is not in {file}: there must be a function {name.replace('-', '_')}")
    return namespace[name.replace("-", "_")]


def _from_entry_points(name: str) -> Any:
    from importlib.metadata import entry_points

    for found in entry_points(group=ENTRY_POINTS, name=name):
        try:
            return found.load()
        except Exception as error:
            raise _Wrong(f"can't be loaded from {found.value}: {_told(error)}") from None
    raise SchedulerNotFound


def _answer(function: Function, servers: Sequence[RealServer]) -> dict[str, Any]:
    asked = getattr(function, "selection", "turns")
    if asked not in _SELECTIONS:
        raise _Wrong(f"has the selection {asked!r}, which is none of {', '.join(_SELECTIONS)}")
    if not any(server.weight for server in servers):
        return {"selection": _SELECTIONS[asked], "turns": []}
    try:
        turns = function(tuple(servers))
    except Exception as error:
        raise _Wrong(f"failed: {_told(error)}") from None
    return {"selection": _SELECTIONS[asked], "turns": _checked(turns, servers)}


def _checked(turns: object, servers: Sequence[RealServer]) -> list[int]:
    if not isinstance(turns, list | tuple):
        raise _Wrong(f"returned {_kind(turns)}, not a list of servers")
    if len(turns) > MOST_TURNS:
        raise _Wrong(f"returned {len(turns)} turns; there may be {MOST_TURNS}")
    places = {server: place for place, server in enumerate(servers)}
    for one in turns:
        if type(one) is not type(servers[0]) or one not in places:
            raise _Wrong(f"returned {_shortened(repr(one))}, which is none of the servers that it was given")
    return [places[one] for one in turns]


def _told(error: BaseException) -> str:
    return _shortened(" ".join(f"{type(error).__name__}: {error}".split()))


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _in_another_process(work: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    read, write = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.close(read)
            _tell(write, work)
        finally:
            os._exit(0)
    os.close(write)
    try:
        told = _hear(read)
    finally:
        os.close(read)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    if told is None:
        raise SchedulerRefused(f"scheduler {name} took more than {LIMIT_SECONDS:g} seconds; nothing was changed")
    try:
        answer: dict[str, Any] = json.loads(told)
    except ValueError:
        raise SchedulerRefused(f"scheduler {name} ended its process; nothing was changed") from None
    return answer


def _tell(write: int, work: Callable[[], dict[str, Any]]) -> None:
    try:
        answer = work()
    except _Wrong as wrong:
        answer = {"wrong": str(wrong)}
    except SchedulerNotFound:
        answer = {"missing": True}
    except BaseException as error:
        answer = {"wrong": f"failed: {_told(error)}"}
    with open(write, "w") as pipe:
        json.dump(answer, pipe)


def _hear(read: int) -> bytes | None:
    """All that the other process says; None if it takes too long."""
    heard, until = b"", time.monotonic() + LIMIT_SECONDS
    while select.select([read], [], [], max(0, until - time.monotonic()))[0]:
        part = os.read(read, 1 << 16)
        if not part:
            return heard
        heard += part
    return None
