"""ipvsadm-save and ipvsadm-restore."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest

from pylvs.cli.ipvsadm import scripts
from pylvs.director.port import Director
from pylvs.errors import NotPermitted
from tests.ipvsadm import Outcome, RecordedNames, director, ipvsadm

RULES = "-A -t 192.0.2.80:80 -s rr\n-a -t 192.0.2.80:80 -r 198.51.100.11:80 -m -w 1\n"


def _run(
    script: Callable[..., int], words: Sequence[str], opened: Director | Callable[[], Director], text: str = ""
) -> Outcome:
    stdout, stderr = io.StringIO(), io.StringIO()
    open_director = opened if callable(opened) else lambda: opened
    stdin = io.StringIO(text)
    rc = script(words, open_director, stdin=stdin, stdout=stdout, stderr=stderr, names=RecordedNames())
    return Outcome(stdout.getvalue(), stderr.getvalue(), rc)


def _forbidden() -> Director:
    raise NotPermitted("Permission denied (you must be root)", hint="sudo")


@pytest.mark.parametrize(
    ("words", "vip"),
    [
        ([], "vip.example.com:http"),
        (["-n"], "192.0.2.80:80"),
        (["what", "else"], "vip.example.com:http"),
        (["-n", "-n"], "192.0.2.80:80"),
    ],
)
def test_saves(words: list[str], vip: str) -> None:
    table = director()
    ipvsadm(["-R"], table, RULES)
    assert _run(scripts.save, words, table).stdout.splitlines()[0] == f"-A -t {vip} -s rr"


@pytest.mark.parametrize("words", [["-x"], ["--numeric"], ["-n", "-"], ["-"]])
def test_tells_how_it_is_used(words: list[str]) -> None:
    outcome = _run(scripts.save, words, director())
    first, second = outcome.stderr.splitlines()
    assert (outcome.stdout, outcome.rc) == ("", 1)
    assert first == "ipvsadm-save: Script to save the IPVS table to stdout."
    assert second == "   With the -n option, prints out the table in numeric format."


def test_restores_in_place_of_what_is_there() -> None:
    table = director()
    ipvsadm(["-A", "-t", "192.0.2.9:9"], table)
    assert _run(scripts.restore, ["what", "-ever"], table, f"# saved today\n{RULES}#end") == ("", "", 0)
    assert ipvsadm(["-Sn"], table).stdout == RULES


def test_a_comment_begins_a_line() -> None:
    outcome = _run(scripts.restore, [], director(), " # indented\n")
    assert outcome == ("", "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n", 255)


def test_goes_on_after_what_the_table_refuses_and_stops_at_what_it_cannot_read() -> None:
    table = director()
    outcome = _run(scripts.restore, [], table, "-D -t 192.0.2.1:1\n-A -t 192.0.2.2:2\nnonsense\n-A -t 192.0.2.3:3\n")
    assert outcome.rc == 255
    assert outcome.stderr == "No such service\nTry `ipvsadm -h' or 'ipvsadm --help' for more information.\n"
    assert ipvsadm(["-Sn"], table).stdout == "-A -t 192.0.2.2:2 -s wlc\n"


def test_both_of_its_commands_complain_without_a_director() -> None:
    complaint = "Can't initialize ipvs: Permission denied (you must be root)\nsudo\n"
    assert _run(scripts.restore, [], _forbidden, RULES) == ("", complaint * 2, 2)
    assert _run(scripts.save, [], _forbidden) == ("", complaint, 2)
