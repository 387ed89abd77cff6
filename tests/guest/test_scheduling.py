"""The schedulers against the kernel itself, in scenarios that are new each time."""

from __future__ import annotations

import json
import secrets

import pytest

from tests.golden.scheduling import SCHEDULERS, Replay, drawn
from tests.guest.machine import Guest

pytestmark = pytest.mark.slowest

COUNT = 2
"""Scenarios of each scheduler."""


def test_choose_as_the_kernel_in_new_scenarios(guest: Guest) -> None:
    seed = secrets.token_hex(4)
    command = ["unshare", "-n", "python3", "-m", "tests.guest.scheduled", seed, str(COUNT), *SCHEDULERS]
    done = guest.run(command, seconds=300)
    assert (done.returncode, done.stderr) == (0, "")
    scenarios = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(scenarios) == COUNT * len(SCHEDULERS)
    for number, scenario in enumerate(scenarios):
        replay = Replay()
        try:
            for step in drawn(scenario):
                replay.take(step)
        except AssertionError as wrong:
            pytest.fail(f"seed {seed}, scenario {number}: {json.dumps(scenario)}: {wrong}")
