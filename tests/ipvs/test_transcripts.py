"""The transcripts of the real ipvsadm, replayed by pylvs's on a real kernel: byte for byte."""

from __future__ import annotations

from typing import Any

import pytest

from tests.golden.test_transcripts import EXCLUDED, WITHOUT_MODULE, _cases, _recorded, _set_apart
from tests.ipvs.kernel import Kernel
from tests.ipvsadm import ipvsadm

HASH_ORDER = {("more-address", f"addresses {option}") for option in ("-t", "-u", "--sctp-service")}
"""More of them: with the real ipvsadm these come out as test_agreement.py says, in the order of this kernel's table."""


def _repeatable() -> list[Any]:
    left_out = EXCLUDED.keys() | HASH_ORDER
    return [one for one in _cases() if one.values[0] != WITHOUT_MODULE and _named(one) not in left_out]


def _named(parameters: Any) -> tuple[str, str]:
    file, case = parameters.values
    return file, case["name"]


@pytest.mark.parametrize(("file", "case"), _repeatable())
def test_transcript(own: Kernel, file: str, case: dict[str, Any]) -> None:
    del file
    replayed = [
        (" ".join(step["argv"]), ipvsadm(step["argv"][1:], own.director, step["stdin"] or "")) for step in case["steps"]
    ]
    assert _set_apart(replayed) == _set_apart(_recorded(case["steps"]))
