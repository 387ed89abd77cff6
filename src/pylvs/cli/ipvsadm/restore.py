"""The lines of --restore as words. There is no quoting and there are no comments."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LONGEST_WORD = 4096
_BLANKS = str.maketrans("\t\r\n", "   ")


def command_lines(text: Iterable[str]) -> Iterator[list[str]]:
    """The words of each line that has any. `ipvsadm` does not count as one, wherever it stands."""
    return (words for _, words in numbered_lines(text))


def numbered_lines(text: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The same with the numbers of the lines, from 1."""
    for number, line in enumerate(text, 1):
        words = [word for word in line.translate(_BLANKS).split(" ") if word and word != "ipvsadm"]
        if "\0" in line:
            words = [word.partition("\0")[0] for word in words]
        if len(line) > _LONGEST_WORD:
            words = [piece for word in words for piece in _pieces(word)]
        if words:
            yield number, words


def _pieces(word: str) -> Iterator[str]:
    """A word that does not fit is taken as several."""
    for start in range(0, len(word), _LONGEST_WORD):
        yield word[start : start + _LONGEST_WORD]
