"""The kernel's generic netlink family IPVS: commands go there, answers and refusals come back."""

from __future__ import annotations

import errno
import os
import struct

from pylvs.director.ipvs.abi import FAMILY, VERSION
from pylvs.director.ipvs.limit import MODPROBE
from pylvs.director.netlink import ACKNOWLEDGE, DUMP, Netlink, attribute, attributes
from pylvs.errors import InvalidOperation, NotPermitted, NotSupportedHere, OutOfRange, PylvsError, Refused, TableFull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pylvs.director.ipvs.abi import Command

_GENERIC = 16  # of netlink's subjects
_HEADER = struct.Struct("=BBH")
_CONTROL, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2

_MEANING: dict[int, type[Refused]] = {errno.EINVAL: InvalidOperation, errno.ERANGE: OutOfRange, errno.ENOMEM: TableFull}
"""Of what the kernel answers to any command."""
_NO_OTHER: Mapping[int, type[Refused]] = {}


class Family:
    """A conversation with the IPVS of the network namespace that this process is in."""

    def __init__(self) -> None:
        self._netlink = Netlink(_GENERIC)
        number = self._look_up()
        if number is None:
            _load_module()
            number = self._look_up()
        if number is None:
            self.close()
            raise NotSupportedHere(
                "the kernel has no IPVS, or its module ip_vs can't be loaded",
                hint="`modprobe ip_vs` tells why; without --backend ipvs pylvs needs no module",
            )
        self._number = number

    def close(self) -> None:
        """It is over."""
        self._netlink.close()

    def _look_up(self) -> int | None:
        request = _HEADER.pack(_GET_FAMILY, 1, 0) + attribute(_FAMILY_NAME, FAMILY.encode() + b"\0")
        try:
            answer = self._netlink.ask(_CONTROL, request)[0]
        except FileNotFoundError:
            return None
        return int.from_bytes(attributes(answer[_HEADER.size :])[_FAMILY_ID], "little")

    def change(self, command: Command, packed: bytes = b"", meaning: Mapping[int, type[Refused]] = _NO_OTHER) -> None:
        """Do it; raises what the error's number means for this command, or for any."""
        self._ask(command, packed, ACKNOWLEDGE, meaning)

    def get(
        self, command: Command, packed: bytes = b"", meaning: Mapping[int, type[Refused]] = _NO_OTHER
    ) -> dict[int, bytes]:
        """The attributes of the one answer; raises as `change`."""
        return self._ask(command, packed, 0, meaning)[0]

    def dump(self, command: Command, packed: bytes = b"") -> list[dict[int, bytes]]:
        """The attributes of each answer."""
        return self._ask(command, packed, DUMP, _NO_OTHER)

    def _ask(
        self, command: Command, packed: bytes, flags: int, meaning: Mapping[int, type[Refused]]
    ) -> list[dict[int, bytes]]:
        try:
            answers = self._netlink.ask(self._number, _HEADER.pack(command, VERSION, 0) + packed, flags)
        except InterruptedError:
            raise
        except OSError as error:
            raise _refusal(error, meaning) from None
        return [attributes(answer[_HEADER.size :]) for answer in answers]


def _refusal(error: OSError, meaning: Mapping[int, type[Refused]]) -> PylvsError:
    number = error.errno or 0
    if number == errno.EPERM:
        return NotPermitted("Permission denied (you must be root)", hint="it needs CAP_NET_ADMIN: run it with sudo")
    kind = meaning.get(number) or _MEANING.get(number)
    return kind() if kind else Refused(os.strerror(number))


def _load_module() -> None:
    """Once, as ipvsadm does."""
    import subprocess

    try:
        subprocess.run([MODPROBE, "--", "ip_vs"], check=False, capture_output=True)
    except FileNotFoundError:
        pass  # a system without modules
