"""What the real ipvsadm sent to a real kernel (Linux 6.1), and what that kernel told, as bytes: recorded.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pylvs.director.ipvs import director as module
from pylvs.director.ipvs.abi import Attribute, Command, Info
from pylvs.director.ipvs.convert import unpack_service
from pylvs.director.ipvs.director import IpvsDirector
from pylvs.director.netlink import attributes
from tests.ipvsadm import Outcome, ipvsadm

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("recorded.json").read_text())
HEADER = 4


class Kernel:
    """Takes down what it is told, and tells what was recorded."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[int, bytes]]] = []

    def change(self, command: Command, packed: bytes = b"", meaning: object = None) -> None:
        del meaning
        self.told.append((command, attributes(packed)))

    def get(self, command: Command) -> dict[int, bytes]:
        assert command is Command.GET_INFO
        return {Info.TABLE_SIZE: (1 << 20).to_bytes(4, "little")}

    def dump(self, command: Command, packed: bytes = b"") -> list[dict[int, bytes]]:
        found = {Command.GET_SERVICE: "services", Command.GET_DAEMON: "daemons"}
        answers = RECORDED[found[command]] if command in found else RECORDED["servers"][_named(packed)]
        return [attributes(bytes.fromhex(answer)[HEADER:]) for answer in answers]


def _named(packed: bytes) -> str:
    """Which service a request is about."""
    known = {_key(bytes.fromhex(each)[HEADER:]): bytes.fromhex(each)[HEADER:] for each in RECORDED["services"]}
    return str(unpack_service(attributes(known[_key(packed)])[Attribute.SERVICE]).service.id)


def _key(packed: bytes) -> tuple[tuple[int, bytes], ...]:
    """Family, protocol, address, port and mark."""
    return tuple(
        (kind, value) for kind, value in attributes(attributes(packed)[Attribute.SERVICE]).items() if kind <= 5
    )


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(module, "Family", lambda: made)
    return made


@pytest.mark.parametrize("sent", RECORDED["sent"], ids=lambda sent: sent["line"])
def test_sends_what_ipvsadm_sends(sent: Mapping[str, str], kernel: Kernel) -> None:
    assert ipvsadm(sent["line"].split(), IpvsDirector) == Outcome("", "", 0)
    ((command, told),) = kernel.told
    request = bytes.fromhex(sent["request"])
    recorded = attributes(request[HEADER:])
    assert command == request[0]
    assert told.keys() == recorded.keys()
    for kind, value in told.items():
        if kind in {Attribute.SERVICE, Attribute.DEST, Attribute.DAEMON}:
            # Where it has only to know which one, the real one sends all it has.
            assert attributes(value).items() <= attributes(recorded[kind]).items()
        else:
            assert value == recorded[kind]


WHOLE = {"-A": Attribute.SERVICE, "-E": Attribute.SERVICE, "-a": Attribute.DEST, "-e": Attribute.DEST}


@pytest.mark.parametrize(
    "sent", [one for one in RECORDED["sent"] if one["line"][:2] in WHOLE], ids=lambda one: one["line"]
)
def test_sends_all_that_is_to_be(sent: Mapping[str, str], kernel: Kernel) -> None:
    ipvsadm(sent["line"].split(), IpvsDirector)
    which = WHOLE[sent["line"][:2]]
    recorded = attributes(bytes.fromhex(sent["request"])[HEADER:])
    assert attributes(kernel.told[0][1][which]) == attributes(recorded[which])


@pytest.mark.usefixtures("kernel")
def test_understands_what_the_kernel_tells() -> None:
    assert ipvsadm(["-Sn"], IpvsDirector).stdout == RECORDED["saved"]
    assert ipvsadm(["-L", "--daemon"], IpvsDirector).stdout == RECORDED["daemon"]


@pytest.mark.usefixtures("kernel")
def test_tells_the_size_of_the_kernels_table() -> None:
    assert ipvsadm(["-Ln"], IpvsDirector).stdout.startswith("IP Virtual Server version 1.2.1 (size=1048576)\n")
    assert ipvsadm(["-Ln", "--rate"], IpvsDirector).rc == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-A -t 192.0.2.1:80 --local-address 192.0.2.2", "no local addresses"),
        ("-a -t 192.0.2.1:80 -r 192.0.2.3 --fullnat", "no FULLNAT"),
    ],
)
def test_what_ipvs_lacks_is_never_sent(line: str, message: str, kernel: Kernel) -> None:
    outcome = ipvsadm(line.split(), IpvsDirector)
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert outcome.rc == 255
    assert kernel.told == []
