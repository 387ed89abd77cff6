"""The same transcripts over the eBPF director on live maps, as far as it has what they use: byte for byte, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.golden.test_transcripts import EXCLUDED, WITHOUT_MODULE, Step, _cases, _recorded, _set_apart
from tests.ipvsadm import Outcome, ipvsadm
from tests.packets.plane import Plane
from tests.packets.space import ip

REFUSALS = ("not supported", "Scheduler or persistence engine not found")
"""How this director says that it lacks something."""

SUITABLE = 0.73
"""At least this share of the cases needs nothing that is refused; raise it with every feature."""


@pytest.fixture(scope="module")
def machine(loaded: Plane) -> Iterator[Plane]:
    """With the address that the recorded machine had."""
    ip("address add 192.0.2.1/24 dev eth0")
    yield loaded
    ip("address delete 192.0.2.1/24 dev eth0")


def _lacks(outcome: Outcome, recorded: Outcome) -> bool:
    return outcome != recorded and any(text in outcome.stderr for text in REFUSALS)


def _replay(plane: Plane, steps: list[Step]) -> Iterator[tuple[str, Outcome]]:
    plane.reset()
    for step in steps:
        yield " ".join(step["argv"]), ipvsadm(step["argv"][1:], plane.director, step["stdin"] or "")


def _until_refused(plane: Plane, steps: list[Step]) -> tuple[list[tuple[str, Outcome]], bool]:
    """The steps up to the first that needs what the director lacks, and whether there was such a one."""
    replayed: list[tuple[str, Outcome]] = []
    for step, recorded in zip(_replay(plane, steps), _recorded(steps), strict=True):
        if _lacks(step[1], recorded[1]):
            return replayed, True
        replayed.append(step)
    return replayed, False


def _usable() -> list[Any]:
    return [
        parameters
        for parameters in _cases()
        if parameters.values[0] != WITHOUT_MODULE
        and (parameters.values[0], parameters.values[1]["name"]) not in EXCLUDED
    ]


@pytest.mark.parametrize(("file", "case"), _usable())
def test_transcript(machine: Plane, file: str, case: dict[str, Any]) -> None:
    del file
    replayed, _ = _until_refused(machine, case["steps"])
    assert _set_apart(replayed) == _set_apart(_recorded(case["steps"])[: len(replayed)])


def test_most_of_what_it_claims_is_tested_to_the_end(machine: Plane) -> None:
    cases = [parameters.values[1]["steps"] for parameters in _usable()]
    whole = sum(not _until_refused(machine, steps)[1] for steps in cases)
    assert whole / len(cases) >= SUITABLE
