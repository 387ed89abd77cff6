"""Options as popt(3) splits them: `-Ln`, `-t ADDRESS`, `-tADDRESS`, `-t=ADDRESS`, `--opt ARG`, `--opt=ARG`, `--`.

Nothing is abbreviated, and options and arguments may come in any order.
"""

from __future__ import annotations

from pylvs.cli.ipvsadm.failure import UnreadableOption
from pylvs.cli.ipvsadm.grammar import COMMANDS, OPTIONS, Takes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pylvs.cli.ipvsadm.grammar import Command, Option

_LONG: dict[str, Command | Option] = {row.long: row for row in (*COMMANDS, *OPTIONS)}
_SHORT: dict[str, Command | Option] = {
    **{letter: row for row in COMMANDS for letter in row.letters},
    **{row.letter: row for row in OPTIONS if row.letter},
}


class Words:
    """One pass over the words of a command line. `arguments` are those that belong to no option."""

    __slots__ = ("_next", "_words", "arguments")

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._next = 0
        self.arguments: list[str] = []

    @property
    def latest(self) -> str:
        """The word read last: the one to blame."""
        return self._words[self._next - 1]

    def options(self) -> Iterator[tuple[Command | Option, str | None]]:
        """Each option with its argument, if any; raises `UnreadableOption`."""
        words = self._words
        while self._next < len(words):
            word = words[self._next]
            self._next += 1
            if len(word) == 2 and word[0] == "-" and (option := _SHORT.get(word[1])):  # most of them, so they go first
                yield option, None if option.takes is Takes.NOTHING else self._argument(option)
            elif word[:1] != "-" or word == "-":
                self.arguments.append(word)
            elif word == "--":
                self.arguments += words[self._next :]
                self._next = len(words)
            elif word[1] == "-":
                yield self._long(word[2:])
            else:
                yield from self._cluster(word[1:])

    def _long(self, text: str) -> tuple[Command | Option, str | None]:
        name, equals, joined = text.partition("=")
        option = _LONG.get(name)
        if option is None:
            raise self._unreadable("unknown option")
        if option.takes is Takes.NOTHING:
            if equals:
                raise self._unreadable("option does not take an argument")
            return option, None
        return option, joined if equals else self._argument(option)

    def _cluster(self, letters: str) -> Iterator[tuple[Command | Option, str | None]]:
        """Letters joined in one word; the first that takes an argument has the rest of the word for it."""
        for place, letter in enumerate(letters, 1):
            option = _SHORT.get(letter)
            if option is None:
                raise self._unreadable("unknown option")
            rest = letters[place:]
            if option.takes is not Takes.NOTHING:
                yield option, rest.removeprefix("=") if rest else self._argument(option)
                return
            if rest[:1] == "=":
                raise self._unreadable("option does not take an argument")
            yield option, None

    def _argument(self, option: Command | Option) -> str | None:
        if self._next == len(self._words):
            if option.takes is Takes.MAYBE:
                return None
            raise self._unreadable("missing argument")
        word = self._words[self._next]
        if option.takes is Takes.MAYBE and word[:1] == "-":
            return None
        self._next += 1
        return word

    def _unreadable(self, why: str) -> UnreadableOption:
        return UnreadableOption(f"{self.latest}: {why}")
