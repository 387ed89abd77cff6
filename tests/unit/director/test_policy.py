"""The steps that lead marks: safe at every moment, from every half-done state, and they leave others' rules alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylvs.director.ebpf.policy import GOTO, LOCAL_TABLE, TABLE, Add, Rule, Step, conflict, plan, wanted
from pylvs.errors import DataPlaneError

KERNEL = 2
DEVICE = "pylvs0"
LOCAL = Rule(0, table=LOCAL_TABLE, protocol=KERNEL)
MAIN = Rule(32766, table=254, protocol=KERNEL)
FRESH = [LOCAL, MAIN]
TUNNEL = Rule(0, table=51820, mark=0xCA6C, protocol=0, inverted=True)
"""What `wg-quick` adds, without a priority: it comes right behind the local table's rule."""

marks = st.sets(st.integers(1, 2**32 - 1) | st.integers(1, 4), max_size=4)
foreign = st.builds(
    Rule,
    st.sampled_from([1, 2, 100, 32765]),
    table=st.sampled_from([100, 254]),
    mark=st.none() | st.just(2**31),
    protocol=st.sampled_from([0, 3]),
    complex=st.booleans(),
)


def carry_out(rules: list[Rule], step: Step) -> list[Rule]:
    """As the kernel does: a rule goes behind all of its priority; of equals the first is deleted."""
    if isinstance(step, Add):
        place = sum(rule.priority <= step.rule.priority for rule in rules)
        return [*rules[:place], step.rule, *rules[place:]]
    place = rules.index(step.rule)
    return [*rules[:place], *rules[place + 1 :]]


def states(rules: list[Rule], wanted_marks: set[int]) -> list[list[Rule]]:
    """What the kernel holds before the first step, and after each."""
    found = [rules]
    for step in plan(rules, wanted_marks, DEVICE):
        found.append(carry_out(found[-1], step))
    return found


def without_ours(rules: list[Rule]) -> list[Rule]:
    return [rule for rule in rules if not rule.ours]


def hosts(others: list[Rule]) -> list[Rule]:
    return sorted([*FRESH, *others], key=lambda rule: rule.priority)


def test_a_mark() -> None:
    assert states(FRESH, {10})[-1] == [
        Rule(0, GOTO, interface=DEVICE, goto=1),
        Rule(0, table=TABLE, mark=10),
        LOCAL,
        Rule(1, table=LOCAL_TABLE, interface=DEVICE),
        MAIN,
    ]


@given(st.lists(foreign, max_size=4), st.lists(marks, max_size=4))
def test_whatever_marks_come_and_go(others: list[Rule], turns: list[set[int]]) -> None:
    host = rules = hosts(others)
    for turn in (*turns, set[int]()):
        passed = states(rules, turn)
        rules = passed[-1]
        for state in passed:
            first = without_ours(state)[0]
            assert first == LOCAL, "somebody else's rule came before the local table"
        assert without_ours(rules) == host
        assert {rule for rule in rules if rule.ours} == set(wanted(turn, 0, DEVICE))
        assert all(rules.index(rule) < rules.index(LOCAL) for rule in rules if rule.ours and not rule.priority)
        assert plan(rules, turn, DEVICE) == []
    assert rules == host


@given(st.lists(foreign, max_size=3), marks, marks, marks, st.data())
def test_a_command_that_was_cut_short_is_mended(
    others: list[Rule], before: set[int], aim: set[int], after: set[int], data: st.DataObject
) -> None:
    host = hosts(others)
    cut = data.draw(st.sampled_from(states(states(host, before)[-1], aim)))
    assert sorted(map(repr, states(cut, after)[-1])) == sorted(map(repr, states(host, after)[-1]))
    assert states(cut, set())[-1] == host


def test_a_rule_right_behind_the_local_one_is_in_the_way_of_new_marks_only() -> None:
    rules = states(FRESH, {10})[-1]
    rules.insert(rules.index(LOCAL) + 1, TUNNEL)
    with pytest.raises(DataPlaneError, match="in the way: 0: not from all fwmark 0xca6c lookup 51820"):
        plan(rules, {10, 11}, DEVICE)
    assert plan(rules, {10}, DEVICE) == []
    assert states(rules, set())[-1] == [LOCAL, TUNNEL, MAIN]


def test_a_rule_right_behind_the_local_one_is_in_the_way_of_the_first_mark() -> None:
    with pytest.raises(DataPlaneError, match="in the way"):
        plan([LOCAL, TUNNEL, MAIN], {10}, DEVICE)
    assert plan([LOCAL, TUNNEL, MAIN], set(), DEVICE) == []


def test_where_the_local_rule_was_moved() -> None:
    moved, other = (
        Rule(100, table=LOCAL_TABLE, protocol=KERNEL),
        Rule(9, table=2004, mark=0x200, mask=0xF00, protocol=2),
    )
    assert states([other, moved, MAIN], {10})[-1] == [
        other,
        Rule(100, GOTO, interface=DEVICE, goto=101),
        Rule(100, table=TABLE, mark=10),
        moved,
        Rule(101, table=LOCAL_TABLE, interface=DEVICE),
        MAIN,
    ]


def test_without_a_local_rule() -> None:
    with pytest.raises(DataPlaneError, match="no rule that looks up the local table"):
        plan([MAIN], {10}, DEVICE)
    assert states([Rule(0, table=TABLE, mark=10), MAIN], set())[-1] == [MAIN]


@pytest.mark.parametrize(
    ("rule", "mark", "found"),
    [
        (Rule(5, table=100, mark=10, protocol=0), 10, True),
        (Rule(5, table=100, mark=10, protocol=0), 11, False),
        (Rule(5, table=100, mark=0x200, mask=0xF00, protocol=0), 0x234, True),
        (Rule(5, table=100, mark=0x200, mask=0xF00, protocol=0), 0x334, False),
        (Rule(5, table=100, mark=10, protocol=0, complex=True), 10, True),
        (Rule(5, table=100, mark=10, protocol=0, inverted=True), 10, False),
        (Rule(0, table=TABLE, mark=10), 10, False),
        (MAIN, 10, False),
    ],
    ids=str,
)
def test_who_routes_a_mark(rule: Rule, mark: int, found: bool) -> None:
    assert conflict([LOCAL, rule], mark) == (rule if found else None)
