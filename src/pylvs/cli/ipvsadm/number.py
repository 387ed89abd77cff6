"""Numbers as the C library reads them: blanks and one sign may go before, ASCII digits only, decimal only."""

from __future__ import annotations

_BLANKS = " \t\n\v\f\r"
_LONG = 2**63


def number(text: str) -> int | None:
    """The number that is the whole of `text`, if it fits a C long."""
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    digits = text.lstrip(_BLANKS)
    if digits[:1] in ("+", "-"):
        digits = digits[1:]
    if not (digits.isascii() and digits.isdigit()):
        return None
    value = int(text) if len(digits.lstrip("0")) < 20 else _LONG
    return value if -_LONG <= value < _LONG else None


def number_within(text: str, lowest: int, highest: int) -> int | None:
    """The number that is the whole of `text`, if it is in that range."""
    value = number(text)
    return value if value is not None and lowest <= value <= highest else None


def leading_number(text: str) -> int:
    """The number that `text` begins with, 0 if none, wrapped to a C int."""
    text = text.lstrip(_BLANKS)
    sign = text[:1] if text[:1] in ("+", "-") else ""
    rest = text[len(sign) :]
    length = next((i for i, c in enumerate(rest) if c not in "0123456789"), len(rest))
    value = max(-_LONG, min(_LONG - 1, int(sign + rest[:length]))) if length else 0
    return (value + 2**31) % 2**32 - 2**31
