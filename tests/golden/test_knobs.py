"""What a 6.1 kernel has as its knobs (defaults.json), and what it did with odd values (writes.json: value, read back).

The writes were made one after the other from each knob's default, in the order of the file, with HZ=250.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pylvs.director import knob
from pylvs.director.ebpf import abi
from pylvs.director.memory import MemoryDirector
from pylvs.errors import InvalidKnob
from pylvs.views.knob import line

RECORDED = Path(__file__).parent / "sysctl"
WRITES: dict[str, list[tuple[str, str | None]]] = json.loads((RECORDED / "writes.json").read_text())
OURS = {"local_port_first", "local_port_last"}
NEWER = {"debug_level", "est_nice"}
"""The recorded kernel is older, or was built without it."""
OF_THE_MACHINE = "sync_qlen_max"
DEFENCES = {"drop_entry", "drop_packet", "secure_tcp"}


def test_names_and_defaults_are_the_kernels() -> None:
    recorded = json.loads((RECORDED / "defaults.json").read_text())["cases"][0]["steps"][0]["stdout"].splitlines()
    ours = {name: line(name, value) for name, value in MemoryDirector().knobs().items() if name not in OURS | NEWER}
    machine = f"{knob.PREFIX}{OF_THE_MACHINE} = "
    assert [text for text in ours.values() if not text.startswith(machine)] == [
        text for text in recorded if not text.startswith(machine)
    ]
    assert OF_THE_MACHINE in ours


def test_every_recorded_knob_is_there() -> None:
    assert WRITES.keys() | NEWER | OURS == knob.KNOBS.keys()
    assert [member.name.lower() for member in abi.Knob][:-1] == list(knob.KNOBS)


@pytest.mark.parametrize("name", WRITES)
def test_takes_what_the_kernel_takes(name: str) -> None:
    director = MemoryDirector()
    for value, read_back in WRITES[name]:
        if is_better(name, value):
            continue
        before = director.knobs()
        try:
            director.set_knobs({name: knob.parsed(knob.KNOBS[name], value, before[name])})
        except InvalidKnob:
            assert read_back is None, value
            assert director.knobs() == before
        else:
            assert read_back == shown(name, knob.text(director.knobs()[name])), value


def shown(name: str, text: str) -> str:
    """Mode 2 is what mode 1 becomes while memory is low, and reads as 1 when it isn't."""
    return "1" if name in DEFENCES and text == "2" else text.replace("\t", " ")


def is_better(name: str, value: str) -> bool:
    """Where the kernel is not followed: it ignores numbers too many. And its queue may be longer than 32 bits say."""
    wanted = 2 if name == "sync_threshold" else 1
    return len(value.split()) > wanted or (name == OF_THE_MACHINE and len(value) >= 10)
