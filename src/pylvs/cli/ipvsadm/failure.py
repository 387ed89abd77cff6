"""How a command line can end early. A plain `UsageError` ends everything, a --restore too, with exit status 2."""

from __future__ import annotations

from pylvs.errors import PylvsError, Refused, UsageError


class TryHelp(UsageError):
    """There is no command, or not one that is known. It ends a --restore as well."""

    exit_code = 255

    def __init__(self) -> None:
        super().__init__("Try `ipvsadm -h' or 'ipvsadm --help' for more information.")


class UnreadableOption(UsageError):
    """A word is no option, or lacks its argument. A --restore goes on with its next line."""

    exit_code = 255


class NothingToList(UsageError):
    """The one service that was to be listed is not there. It ends a --restore as well."""

    exit_code = 1


class WrongLine(UsageError):
    """A line of what is restored as a whole; so nothing is."""

    def __init__(self, number: int, error: PylvsError) -> None:
        super().__init__(f"line {number}: {str(error).strip()}; nothing was changed", hint=error.hint)
        self.exit_code = error.exit_code if isinstance(error, (UsageError, Refused)) else Refused.exit_code


class Answered(Exception):
    """Help or the version was printed: nothing after it is looked at, not even the rest of a --restore."""
