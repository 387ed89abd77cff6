"""The table of the knobs, and what may be asked of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pylvs.director import knob
from pylvs.director.ebpf import abi, knobs
from pylvs.director.memory import MemoryDirector
from pylvs.errors import InvalidKnob

ROOT = Path(__file__).parents[3]


def test_the_table_says_which_knobs_are_read() -> None:
    sources = [path for path in (ROOT / "bpf").glob("*.[ch]") if path.name != "director.h"]
    sources += (ROOT / "src/pylvs").rglob("*.py")
    read = {name.lower() for path in sources for name in re.findall(r"\bK(?:NOB_|nob\.)([A-Z_]+)", path.read_text())}
    read &= knob.KNOBS.keys()
    effective = {name for name, each in knob.KNOBS.items() if not each.without_effect}
    assert not read - effective, "they are read: empty their `without_effect`"
    assert not effective - read, "nothing reads them"


@pytest.mark.parametrize(
    "text",
    [
        "drop_entry",
        "net.ipv4.vs.drop_entry",
        "net/ipv4/vs/drop_entry",
        " drop_entry ",
        "/proc/sys/net/ipv4/vs/drop_entry",
    ],
)
def test_a_name_is_known_in_every_spelling(text: str) -> None:
    assert knob.named(text).name == "drop_entry"


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("drop_entri", "drop_entry"),
        ("net.ipv4.vs.conn_reuse", "conn_reuse_mode"),
        ("expire_quiescent", "expire_quiescent_template"),
    ],
)
def test_an_unknown_name_gets_the_nearest(text: str, near: str) -> None:
    with pytest.raises(InvalidKnob, match=f"there is no knob {text!r}") as error:
        knob.named(text)
    assert f"the nearest is {near};" in error.value.hint


def test_the_most_foreign_name_gets_an_answer() -> None:
    for text in ("", "x", "a=b", "\0"):
        with pytest.raises(InvalidKnob, match="there is no knob") as error:
            knob.named(text)
        assert "the nearest is " in error.value.hint


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"drop_entry": 4}, "drop_entry can't be '4'"),
        ({"drop_entry": (1, 2)}, "drop_entry can't be"),
        ({"sync_threshold": 3}, "sync_threshold can't be '3'"),
        ({"sync_threshold": (50, 3)}, "sync_threshold can't be"),
        ({"sync_threshold": (3, 65536)}, "sync_threshold can't be"),
        ({"est_nice": -21}, "est_nice can't be '-21'"),
        ({"sync_ports": 0}, "sync_ports can't be '0'"),
        ({"local_port_first": 0}, "local_port_first can't be '0'"),
        ({"local_port_last": 65536}, "local_port_last can't be '65536'"),
        ({"local_port_first": 32768}, "local_port_first can't be '32768'"),
        ({"local_port_last": 1023}, "local_port_last can't be '1023'"),
        ({"local_port_first": 5001, "local_port_last": 5000}, "local_port_first can't be '5001'"),
        ({"conntrack": 1, "nothing": 1}, "there is no knob 'nothing'"),
    ],
)
def test_refuses_what_cannot_be(changes: dict[str, knob.KnobValue], why: str) -> None:
    director = MemoryDirector()
    with pytest.raises(InvalidKnob, match=re.escape(why)) as error:
        director.set_knobs(changes)
    assert error.value.hint
    assert director.knobs() == knob.defaults(), "nothing half set"


def test_both_ports_move_at_once() -> None:
    director = MemoryDirector()
    director.set_knobs({"local_port_first": 40000, "local_port_last": 40000})
    assert director.knobs()["local_port_first"] == 40000


@pytest.mark.parametrize("name", knob.KNOBS)
def test_extremes_survive_the_settings(name: str) -> None:
    """32 bits, with or without a sign, hold what each knob may be."""
    settings = abi.Settings()
    low, high = knob.KNOBS[name].range
    pair = isinstance(knob.KNOBS[name].default, tuple)
    for value in (low, high, max(low, -1), 1):
        wanted: knob.KnobValue = (value, 7) if pair else value
        knobs.write(settings, {name: wanted})
        assert knobs.read(settings)[name] == wanted


def test_each_knob_has_a_place_of_its_own() -> None:
    settings = abi.Settings()
    knobs.write(settings, knob.defaults())
    assert knobs.read(settings) == knob.defaults()
