"""Every transcript of the real ipvsadm on a real kernel, replayed over a director in memory, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pylvs.director.port import Director
from pylvs.errors import NotSupportedHere
from tests.ipvsadm import Outcome, director, ipvsadm

Step = dict[str, Any]

TRANSCRIPTS = Path(__file__).parent / "cli"
WITHOUT_MODULE = "no-module"

_HASH_ORDER = "differences that wrap make the order of services depend on the kernel's hash table, seeded at random"

EXCLUDED = {
    ("list", "sort order: differences that wrap"): _HASH_ORDER,  # tests/unit/views/test_order.py replays that sort
    **{("more-order", f"differences that wrap, table {i}"): _HASH_ORDER for i in range(1, 7)},
}
"""Cases that cannot come out the same, and why. An entry that has become unnecessary fails its test."""


def _cases() -> list[Any]:
    return [
        pytest.param(path.stem, case, id=f"{path.stem}: {case['name']}")
        for path in sorted(TRANSCRIPTS.glob("*.json"))
        for case in json.loads(path.read_text())["cases"]
    ]


def _replay(steps: list[Step]) -> list[tuple[str, Outcome]]:
    table = director()
    return [(" ".join(step["argv"]), ipvsadm(step["argv"][1:], table, step["stdin"] or "")) for step in steps]


def _recorded(steps: list[Step]) -> list[tuple[str, Outcome]]:
    return [(" ".join(step["argv"]), Outcome(step["stdout"], step["stderr"], step["rc"])) for step in steps]


def _set_apart(steps: list[tuple[str, Outcome]]) -> list[tuple[str, object]]:
    """With --nosort the order of a listing is the director's own affair: its lines are compared as a set."""
    return [
        (line, (sorted(outcome.stdout.splitlines()), *outcome[1:]) if "--nosort" in line else outcome)
        for line, outcome in steps
    ]


@pytest.mark.parametrize(("file", "case"), _cases())
def test_transcript(file: str, case: dict[str, Any]) -> None:
    steps: list[Step] = case["steps"]
    if file == WITHOUT_MODULE:
        _compare_without_director(steps)
        return
    replayed, recorded = _set_apart(_replay(steps)), _set_apart(_recorded(steps))
    if (file, case["name"]) in EXCLUDED:
        assert replayed != recorded, f"it comes out the same by now: take it off EXCLUDED in {__file__}"
        return
    assert replayed == recorded


def _compare_without_director(steps: list[Step]) -> None:
    """Without its kernel module ipvsadm says so, whatever was asked; without its data plane, so do we, in our words."""

    def nowhere() -> Director:
        raise NotSupportedHere("the kernel has no BPF", hint="boot one that has")

    for step in steps:
        assert step["stderr"].splitlines()[1].startswith("Can't initialize ipvs: ")
        outcome = ipvsadm(step["argv"][1:], nowhere, step["stdin"] or "")
        expected = "Can't initialize ipvs: the kernel has no BPF\nboot one that has\n"
        assert outcome == (step["stdout"], expected, step["rc"])


def test_every_exclusion_names_a_case() -> None:
    known = {
        (path.stem, case["name"])
        for path in TRANSCRIPTS.glob("*.json")
        for case in json.loads(path.read_text())["cases"]
    }
    assert EXCLUDED.keys() <= known
