"""ICMP errors changed at random: no checksum gets worse on the way, and the table stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.packets.plane import PASS, SENT, Outcome, Plane
from tests.packets.test_fuzz import NAMES, change, mutated
from tests.packets.test_fuzz import error as error_of
from tests.packets.test_icmp import CASES, STRANGE, director, standing
from tests.packets.wire import RIP1, RIP3, VIP, word

pytestmark = pytest.mark.root

__all__ = ["director", "standing"]
ETHERNET, IP_HEADER = 14, 20
VALID = [bytes(case.frame) for case in CASES.values()] + [bytes(frame) for frame in STRANGE.values()]
frames = st.builds(
    lambda frame, changes, cut, fixed: right(mutated(frame, changes, cut), fixed),
    st.sampled_from(VALID),
    st.lists(change, max_size=4),
    st.one_of(st.just(0), st.integers(0, 60)),
    st.booleans(),
)


def right(frame: bytes, fixed: bool) -> bytes:
    """The same with a right ICMP checksum, or as it is: most wrong ones end there."""
    start, end = icmp_of(frame)
    if not fixed or end - start < 8 or end > len(frame):
        return frame
    blank = frame[start : start + 2] + bytes(2) + frame[start + 4 : end]
    check = (0xFFFF - error_of(blank)) or 0xFFFF
    return frame[: start + 2] + check.to_bytes(2, "big") + frame[start + 4 :]


def icmp_of(frame: bytes) -> tuple[int, int]:
    return ETHERNET + (frame[14] & 0xF) * 4, ETHERNET + int.from_bytes(frame[16:18], "big")


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_random_errors(hook: str, director: Plane) -> None:
    table = director.table.connections.memory[:]

    @settings(max_examples=1500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(frames)
    def run(frame: bytes) -> None:
        if frame[23] != 1:
            return
        outcome = director.run(hook, frame)
        judge(frame, outcome)
        assert director.table.connections.memory[:] == table

    run()


def judge(frame: bytes, outcome: Outcome) -> None:
    if outcome.verdict == PASS:
        assert outcome.frame == frame
    elif outcome.verdict != SENT:
        assert outcome.verdict in NAMES
    else:
        judge_sent(frame, outcome.frame)


def judge_sent(before: bytes, after: bytes) -> None:
    """What may differ is the addresses, the ports and what depends on them; every checksum is as far off as it was."""
    start, end = icmp_of(before)
    quote = start + 8
    l4 = quote + (before[quote] & 0xF) * 4
    assert len(after) == len(before)
    assert after[22] == before[22] - 1
    assert error_of(after[ETHERNET:start]) == error_of(before[ETHERNET:start])
    assert error_of(after[start:end]) == error_of(before[start:end])
    assert error_of(after[quote:l4]) == error_of(before[quote:l4])
    check = l4 + (6 if before[quote + 9] == 17 else 16)
    same = bytearray(after)
    for at, size in ((22, 1), (24, 10), (start + 2, 2), (quote + 10, 10), (l4, 4), (check, 2)):
        if at + size <= len(same):
            same[at : at + size] = before[at : at + size]
    assert bytes(same) == before
    assert after[26:30] == word(VIP) or after[30:34] in {word(VIP), word(RIP1), word(RIP3)}
