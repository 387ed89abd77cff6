"""`pylvs sysctl` over a director in memory."""

from __future__ import annotations

import json
import re

import pytest

from pylvs.cli import sysctl
from pylvs.cli.app import run
from pylvs.director import knob
from pylvs.director.memory import MemoryDirector
from pylvs.errors import InvalidKnob, UsageError


class Closing(MemoryDirector):
    """As the command wants it."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def director(monkeypatch: pytest.MonkeyPatch) -> Closing:
    made = Closing()
    monkeypatch.setattr(sysctl, "open_director", lambda _: made)
    return made


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("drop_entry", "net.ipv4.vs.drop_entry = 0\n"),
        ("net.ipv4.vs.drop_entry", "net.ipv4.vs.drop_entry = 0\n"),
        ("net/ipv4/vs/conn_reuse_mode=0", "net.ipv4.vs.conn_reuse_mode = 0\n"),
        ("-w conn_reuse_mode=0x2", "net.ipv4.vs.conn_reuse_mode = 2\n"),
        ("drop_entry=3 drop_entry", "net.ipv4.vs.drop_entry = 3\n"),
        ("sync_threshold", "net.ipv4.vs.sync_threshold = 3\t50\n"),
        ("sync_threshold=7", "net.ipv4.vs.sync_threshold = 7\t50\n"),
        ("sync_threshold=3 sync_retries=2", "net.ipv4.vs.sync_threshold = 3\t50\nnet.ipv4.vs.sync_retries = 2\n"),
        (
            "local_port_first=40000 local_port_last=50000",
            "net.ipv4.vs.local_port_first = 40000\nnet.ipv4.vs.local_port_last = 50000\n",
        ),
    ],
)
def test_prints_as_sysctl_does(words: str, output: str, director: Closing, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sysctl", *words.split()]) == 0
    assert capsys.readouterr().out == output
    for line in output.splitlines():
        name, _, value = line.removeprefix(knob.PREFIX).partition(" = ")
        assert knob.text(director.knobs()[name]) == value


def test_takes_back_the_lines_that_it_prints(director: Closing, capsys: pytest.CaptureFixture[str]) -> None:
    director.set_knobs({"drop_entry": 3, "sync_threshold": (7, 0), "amemthresh": -5})
    changed = director.knobs()
    assert run(["sysctl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(knob.KNOBS)
    director.set_knobs(knob.defaults())
    assert run(["sysctl", *lines]) == 0
    assert director.knobs() == changed


def test_json(director: Closing, capsys: pytest.CaptureFixture[str]) -> None:
    director.set_knobs({"drop_entry": 3})
    assert run(["sysctl", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields.keys() == knob.KNOBS.keys()
    assert (fields["drop_entry"]["value"], fields["drop_entry"]["default"]) == (3, 0)
    assert fields["sync_threshold"]["value"] == [3, 50]
    assert fields["drop_entry"]["has_effect"]
    assert fields["conntrack"] == {
        "value": 0,
        "default": 0,
        "meaning": knob.KNOBS["conntrack"].meaning,
        "has_effect": False,
        "why_not": knob.KNOBS["conntrack"].without_effect,
    }
    assert run(["sysctl", "--json", "drop_entry"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["drop_entry"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["drop_entri"], "there is no knob 'drop_entri'"),
        (["drop_entri=1"], "there is no knob 'drop_entri'"),
        ([""], "there is no knob ''"),
        (["=1"], "there is no knob ''"),
        (["drop_entry="], "drop_entry: '' is not a number"),
        (["drop_entry=yes"], "drop_entry: 'yes' is not a number"),
        (["drop_entry=1 2"], "drop_entry: '1 2' is not a number"),
        (["drop_entry=1.5"], "drop_entry: '1.5' is not a number"),
        (["drop_entry=\uff11"], "drop_entry: '\uff11' is not a number"),
        (["drop_entry=08"], "drop_entry: '08' is not a number"),
        (["drop_entry=" + "9" * 5000], "drop_entry: "),
        (["drop_entry=4"], "drop_entry can't be '4'"),
        (["sync_threshold=1 2 3"], "sync_threshold: '1 2 3' is not two numbers"),
        (["sync_threshold=50 3"], r"sync_threshold can't be '50\t3'"),
        (["local_port_first=32768"], "local_port_first can't be '32768'"),
        (["drop_packet=1", "drop_entry=4"], "drop_entry can't be '4'"),
        (["drop_packet=1", "nonsense"], "there is no knob 'nonsense'"),
    ],
)
def test_bad_input_changes_nothing(words: list[str], message: str, director: Closing) -> None:
    with pytest.raises(InvalidKnob, match=re.escape(message)) as error:
        run(["sysctl", *words])
    assert error.value.hint
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    assert director.knobs() == knob.defaults()


@pytest.mark.parametrize("words", [["-w"], ["-w", "drop_entry"], ["-x"], ["-w", "drop_entry=1", "drop_packet"]])
def test_options_that_do_not_fit(words: list[str], director: Closing) -> None:
    with pytest.raises(UsageError):
        run(["sysctl", *words])
    assert director.knobs() == knob.defaults()
