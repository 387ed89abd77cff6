"""Real requests through a whole network on the oldest kernel."""

from __future__ import annotations

import pytest

from tests.guest.machine import Guest

pytestmark = [pytest.mark.slow, pytest.mark.lab]


@pytest.mark.parametrize(
    "method", ["nat", *(pytest.param(other, marks=pytest.mark.slowest) for other in ("dr", "tun", "fullnat"))]
)
def test_requests_are_balanced_in_a_lab(guest: Guest, method: str) -> None:
    up = guest.run(["pylvs", "lab", "up", method])
    assert (up.returncode, up.stderr) == (0, ""), up.stdout
    vip = guest.run(["pylvs", "lab", "exec", "director", "--", "pylvs", "ipvsadm", "-Sn"]).stdout.split()[2]
    ask = [
        "pylvs",
        "lab",
        "exec",
        "client",
        "--",
        "curl",
        "-sS",
        "-m",
        "20",
        "-H",
        "Connection: close",
        *[f"http://{vip}/"] * 4,
    ]
    answers = guest.run(ask).stdout.splitlines()
    assert len(answers) == 4
    assert answers[:2] == answers[2:]
    assert len({*answers}) == 2
    down = guest.run(["pylvs", "lab", "down"])
    assert (down.returncode, down.stderr) == (0, "")
    assert guest.run(["ip", "netns", "list"]).stdout == ""
