"""docs/ipvsadm.md says what grammar.py says."""

from __future__ import annotations

from pathlib import Path

from pylvs.cli.ipvsadm.grammar import COMMANDS, LEGAL, LEGAL_IN_TUNNEL, OPTIONS, WORDS
from pylvs.cli.ipvsadm.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "ipvsadm.md"


def test_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "python -m pylvs.cli.ipvsadm.reference > docs/ipvsadm.md"


def test_tables_speak_of_the_same_words() -> None:
    assert {option.word for option in OPTIONS} - {""} == set(WORDS)
    assert LEGAL.keys() == {command.word for command in COMMANDS} - {"help", "version"}
    for legal in (*LEGAL.values(), *LEGAL_IN_TUNNEL.values()):
        marked = (*legal.needs, *legal.may, *legal.one_of)
        assert len(marked) == len(set(marked)), "an option cannot be two of needed, allowed and exclusive"
        assert set(marked) <= set(WORDS)
