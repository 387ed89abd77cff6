"""How knobs are shown to people."""

from __future__ import annotations

from pylvs.director import knob
from pylvs.views.knob import rows


def test_a_row_has_value_default_and_meaning() -> None:
    shown = {name: rest for name, *rest in rows({**knob.defaults(), "drop_entry": 3})}
    assert shown["drop_entry"] == ["[bold]3[/bold]", "0", knob.KNOBS["drop_entry"].meaning]
    assert shown["sync_threshold"][:2] == ["3\t50", "3\t50"]


def test_without_effect_it_says_why() -> None:
    for name, _, _, meaning in rows(knob.defaults()):
        why = knob.KNOBS[name].without_effect
        assert ("(no effect: " in meaning) == bool(why)
        assert why in meaning


def test_every_meaning_is_one_plain_line() -> None:
    """In a table of the terminal's and of Markdown's."""
    for each in knob.KNOBS.values():
        for text in (each.meaning, each.without_effect, each.custom):
            assert not set(text) & set("\n|[]")
