"""What is said when a lab can't be built."""

from __future__ import annotations

import subprocess

import pytest

from pylvs.lab import command, node
from pylvs.lab.errors import LabError
from pylvs.lab.topology import Hook, Lab, topology
from pylvs.model import ForwardingMethod


def test_a_command_that_takes_forever_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*argv: object, **_: object) -> None:
        raise subprocess.TimeoutExpired(str(argv), 600)

    monkeypatch.setattr(node, "run", never)
    with pytest.raises(LabError, match="director: pylvs attach: not done after 600 seconds"):
        command._on(topology(Lab("a", ForwardingMethod.NAT, Hook.TC)), "director", (*node.PYLVS, "attach"))
