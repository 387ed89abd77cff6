"""Which endpoints a filter of `pylvs watch` means."""

from __future__ import annotations

import pytest

from pylvs.model import Endpoint, parse_address
from pylvs.model.pattern import parse_pattern

V4 = Endpoint(parse_address("192.0.2.80"), 80)
V6 = Endpoint(parse_address("fd00::80"), 80)


@pytest.mark.parametrize(
    ("text", "four", "six"),
    [
        ("192.0.2.80", True, False),
        ("192.0.2.80:80", True, False),
        ("192.0.2.80:81", False, False),
        ("192.0.2.81", False, False),
        ("192.0.2.0/24", True, False),
        ("192.0.2.99/24:80", True, False),
        ("192.0.3.0/24", False, False),
        ("0.0.0.0/0", True, False),
        (":80", True, True),
        (":81", False, False),
        ("fd00::80", False, True),
        ("[fd00::80]", False, True),
        ("[fd00::80]:80", False, True),
        ("[fd00::80]:8", False, False),
        ("fd00::/64", False, True),
        ("[fd00::/64]:80", False, True),
        ("::/0", False, True),
    ],
)
def test_matches(text: str, four: bool, six: bool) -> None:
    pattern = parse_pattern(text)
    assert (pattern.matches(V4), pattern.matches(V6)) == (four, six)
    assert not pattern.matches(None)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "x", "192.0.2", "192.0.2.80:", "192.0.2.80:http", "192.0.2.80:65536", "192.0.2.0/33"),
        *("[fd00::80", "[::1]80", "[::1]:-1", "192.0.2.1:\uff18\uff10", "fd00:::1"),
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_pattern(text)
