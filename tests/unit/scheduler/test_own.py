"""Schedulers of the user's own: what they may answer, and what is said of each answer that they may not give."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pylvs.errors import SchedulerNotFound, SchedulerRefused
from pylvs.model import Endpoint, RealServer
from pylvs.scheduler import Ring, Selection, own


def server(number: int, weight: int = 1) -> RealServer:
    return RealServer(Endpoint(IPv4Address(f"10.30.0.{number}"), 80), weight=weight)


SERVERS = (server(1, 2), server(2), server(3, 0))


def asked(path: Path, body: str, servers: tuple[RealServer, ...] = SERVERS) -> tuple[Selection, Ring]:
    file = path / "mine.py"
    file.write_text(body)
    return own.ask("my-own", str(file), servers)


TAKEN = {
    "a turn for each": ("return list(servers)", Selection.TURNS, (0, 1)),
    "by weight": ("return [one for one in servers for _ in range(one.weight)]", Selection.TURNS, (0, 0, 1)),
    "a tuple": ("return tuple(servers[1:])", Selection.TURNS, (1,)),
    "hashed, with the quiesced one": ("return servers\nmy_own.selection = 'source'", Selection.SOURCE, (0, 1, 2)),
    "by destination": ("return servers[:1]\nmy_own.selection = 'destination'", Selection.DESTINATION, (0,)),
}


@pytest.mark.parametrize(("body", "selection", "turns"), TAKEN.values(), ids=TAKEN)
def test_what_is_taken(body: str, selection: Selection, turns: tuple[int, ...], tmp_path: Path) -> None:
    assert asked(tmp_path, f"def my_own(servers):\n    {body}\n") == (selection, Ring(turns))


REFUSED = {
    "raises": ("1 / 0", "failed: ZeroDivisionError: division by zero"),
    "ends": ("import sys; sys.exit(3)", "failed: SystemExit: 3"),
    "dies": ("import os; os._exit(0)", "ended its process"),
    "nothing": ("pass", "returned None, not a list of servers"),
    "a generator": ("return (one for one in servers)", "returned a generator, not a list of servers"),
    "numbers": ("return [0, 1]", "returned 0, which is none of the servers that it was given"),
    "an unknown server": ("return [servers[0].replace(weight=7)]", "which is none of the servers that it was given"),
    "empty": ("return []", "gave no server a turn"),
    "quiesced ones only": ("return [servers[2]]", "gave no server a turn"),
    "too long": ("return [servers[0]] * 65537", "returned 65537 turns; there may be 65536"),
    "a strange selection": ("return servers\nmy_own.selection = 'best'", "has the selection 'best', which is none of"),
}


@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(body: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SchedulerRefused) as refused:
        asked(tmp_path, f"def my_own(servers):\n    {body}\n")
    message = str(refused.value)
    assert message.startswith("scheduler my-own ")
    assert reason in message
    assert message.endswith("; nothing was changed")
    assert "\n" not in message


FILES = {
    "no such function": ("def other(servers): pass", "is not in FILE: there must be a function my_own"),
    "no function": ("my_own = 7", "is no function but a int"),
    "syntax": ("def my_own(servers", "can't be loaded from FILE: SyntaxError: "),
    "fails at once": ("raise RuntimeError('no\\nway')", "can't be loaded from FILE: RuntimeError: no way"),
}


@pytest.mark.parametrize(("text", "reason"), FILES.values(), ids=FILES)
def test_files_that_are_no_scheduler(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SchedulerRefused) as refused:
        asked(tmp_path, text)
    assert reason.replace("FILE", str(tmp_path / "mine.py")) in str(refused.value)


def test_a_file_that_is_gone() -> None:
    with pytest.raises(SchedulerRefused, match=r"can't be read from /nowhere/x.py \(No such file or directory\)"):
        own.ask("my-own", "/nowhere/x.py", SERVERS)


def test_one_that_is_too_slow_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "LIMIT_SECONDS", 0.3)
    with pytest.raises(SchedulerRefused, match=r"scheduler my-own took more than 0.3 seconds; nothing was changed"):
        asked(
            tmp_path, "def my_own(servers):\n    while True:\n        try: pass\n        except BaseException: pass\n"
        )


def test_without_servers_it_is_not_asked_for_turns(tmp_path: Path) -> None:
    body = "def my_own(servers):\n    return servers[0]\n"
    assert asked(tmp_path, body, ()) == (Selection.TURNS, Ring())
    assert asked(tmp_path, body, (server(1, 0),)) == (Selection.TURNS, Ring())


def test_no_such_entry_point() -> None:
    with pytest.raises(SchedulerNotFound):
        own.ask("nobody-has-this", "", SERVERS)


def test_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "my_package-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[pylvs.schedulers]\nmy-own = my_package:backwards\n")
    (tmp_path / "my_package.py").write_text("def backwards(servers): return servers[::-1]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert own.ask("my-own", "", SERVERS) == (Selection.TURNS, Ring((1, 0)))
