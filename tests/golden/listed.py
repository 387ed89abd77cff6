"""Comparing listings: what is random or the timers' own affair is left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.ipvsadm import Outcome

_ENTRY = re.compile(r"(?P<protocol>\w+) +(?P<minutes>\d+):(?P<seconds>\d\d) +(?P<state>[\w-]+) +(?P<ends>.*)")
LATE_SECONDS = 2
"""Both the kernel's timers and ours may be so late; no two timeouts of one protocol are as near to each other."""

Entry = tuple[str, str, str]


def agree(words: Sequence[str], seen: Outcome, recorded: Outcome) -> bool:
    """Whether two outcomes of one command line are the same, as far as they can be."""
    if seen[1:] != recorded[1:] or not _lists_connections(words):
        return seen == recorded
    return _same_entries(seen.stdout.splitlines(), recorded.stdout.splitlines())


def _lists_connections(words: Sequence[str]) -> bool:
    return "-Lnc" in words or "-Lc" in words


def _same_entries(seen: list[str], recorded: list[str]) -> bool:
    """In any order; one whose time is over may be there or not."""
    if seen[:2] != recorded[:2]:
        return False
    ours, theirs = _entries(seen[2:]), _entries(recorded[2:])
    left = dict(theirs)
    for entry, times in ours.items():
        there = left.pop(entry, [])
        if len(there) != len(times) and max(times) >= LATE_SECONDS:
            return False
        if any(abs(one - other) > LATE_SECONDS for one, other in zip(times, there, strict=False)):
            return False
    return all(time < LATE_SECONDS for times in left.values() for time in times)


def _entries(lines: list[str]) -> dict[Entry, list[int]]:
    """The seconds that each has left."""
    found: dict[Entry, list[int]] = {}
    for line in lines:
        match = _ENTRY.fullmatch(line.rstrip())
        if match is None:
            found.setdefault(("?", "?", line), []).append(LATE_SECONDS)
            continue
        entry = (match["protocol"], match["state"], " ".join(match["ends"].split()))
        found.setdefault(entry, []).append(int(match["minutes"]) * 60 + int(match["seconds"]))
    return {entry: sorted(times) for entry, times in found.items()}
