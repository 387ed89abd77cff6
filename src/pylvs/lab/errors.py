"""What can go wrong with a lab, by what the user can do about it."""

from __future__ import annotations

from pylvs.errors import PylvsError


class LabError(PylvsError):
    """A lab could not be built or used."""


class LabExists(LabError):
    """There is a lab of that name already, whole or in pieces."""


class LabBusy(LabError):
    """Another process is building or removing the same lab."""

    hint = "wait for it to end, or give this lab another name with --name"


class NoSuchLab(LabError):
    """No lab of that name, or none at all."""

    hint = "pylvs lab up nat, or pylvs lab up dr, builds one"


class WhichLab(LabError):
    """Several labs are up and none was named."""

    hint = "name one with --name"


class NoSuchNode(LabError):
    """The lab has no node of that name."""


class NoSuchCommand(LabError):
    """What was to be run in a node is not there to be run."""

    exit_code = 127
