"""How drops are shown: first what happened most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.reason import MANUAL
from pylvs.views.drops import as_fields, show

if TYPE_CHECKING:
    import pytest

COUNTS = dict.fromkeys(MANUAL, 0) | {"no_server": 7, "too_big": 70_000}


def test_the_manual_has_every_reason() -> None:
    assert list(MANUAL) == [reason.name.lower() for reason in abi.DropReason][:-1]


def test_in_a_pipe_each_line_begins_with_reason_and_count(capsys: pytest.CaptureFixture[str]) -> None:
    show(COUNTS, everything=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["too_big", "70000"], ["no_server", "7"]]
    assert all("; ".join(MANUAL[line.split()[0]]) in line for line in lines)


def test_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    show(COUNTS, everything=True)
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == set(MANUAL)
    assert lines[0].startswith("too_big ")


def test_nothing_dropped_is_said_aside(capsys: pytest.CaptureFixture[str]) -> None:
    show(dict.fromkeys(MANUAL, 0), everything=False)
    assert capsys.readouterr() == ("", "no packet was dropped\n")


def test_json_has_all_of_them() -> None:
    fields = as_fields(COUNTS)
    assert fields.keys() == set(MANUAL)
    assert fields["no_server"] == {"count": 7, "cause": MANUAL["no_server"][0], "remedy": MANUAL["no_server"][1]}
