"""Whatever is typed, ipvsadm answers with a message and an exit status it is known for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pylvs.cli.ipvsadm.grammar import COMMANDS, OPTIONS
from tests.ipvsadm import Outcome, director, ipvsadm

WORDS = st.sampled_from([
    *(f"--{row.long}" for row in (*COMMANDS, *OPTIONS)),
    *(f"-{letter}" for row in COMMANDS for letter in row.letters),
    *(f"-{row.letter}" for row in OPTIONS if row.letter),
    *("192.0.2.80:80", "[fd00::80]:80", "fd00::1", "vip:http", "rs1", "7", "0", "-1", "99999999999", "rr", "sh", ""),
    *("255.255.255.0", "64", "sip", "master", "gue", "sh-port,flag-1", "--", "-", "-Ln", "-tvip:80", "--weight=3"),
])  # fmt: skip
ANYTHING = st.text(st.characters(exclude_characters="\0"), max_size=20)  # what a system can pass in words
FIRST = st.sampled_from([f"-{letter}" for row in COMMANDS for letter in row.letters])
LINE = st.one_of(
    st.lists(st.one_of(WORDS, ANYTHING), max_size=8),
    st.builds(lambda first, rest: [first, *rest], FIRST, st.lists(WORDS, max_size=8)),
)


def is_known(outcome: Outcome) -> bool:
    """Success is silent on stderr; every failure says why, and in whole lines."""
    if outcome.rc == 0:
        return True
    return outcome.rc in {1, 2, 255} and outcome.stderr.endswith("\n")


@given(LINE)
@settings(deadline=None, max_examples=500)
def test_answers_any_command_line(line: list[str]) -> None:
    outcome = ipvsadm(line, director())
    assert is_known(outcome)
    if outcome.rc == 0 and line[:1] != ["-R"]:
        assert outcome.stderr == ""


@given(st.lists(st.one_of(LINE.map(" ".join), st.text(max_size=40)), max_size=6).map("\n".join))
@settings(deadline=None)
def test_answers_any_restore(text: str) -> None:
    assert is_known(ipvsadm(["-R"], director(), text))


def test_fails_where_the_real_one_crashes() -> None:
    """It reads a null pointer when flags are nothing but commas."""
    outcome = ipvsadm(["-A", "-t", "192.0.2.80:80", "-s", "sh", "-b", ","], director())
    assert outcome == ("", "invalid scheduler flag `,'\n", 2)
