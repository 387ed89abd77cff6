"""`pylvs watch` over events that are made up: what is shown of them, and when it ends."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from pylvs.cli.app import run
from pylvs.director.ebpf import control
from pylvs.errors import UsageError
from pylvs.model import Endpoint, parse_address
from pylvs.model.event import Event, EventKind
from pylvs.views.event import json_line, line


def end(address: str, port: int) -> Endpoint:
    return Endpoint(parse_address(address), port)


CIP, CIP6 = end("192.0.2.1", 40000), end("2001:db8::1", 40000)
VIP, VIP6 = end("192.0.2.80", 80), end("2001:db8::80", 443)
RIP, RIP6 = end("198.51.100.11", 8080), end("fd00::11", 8443)
AT = 1_700_000_000_123_456_789

SCHEDULED = Event(AT, EventKind.SCHEDULED, 6, CIP, VIP, RIP, "nat", "SYN_RECV")
EXPIRED = Event(AT, EventKind.EXPIRED, 17, CIP6, VIP6, RIP6, "fullnat", "UDP")
EVICTED = Event(AT, EventKind.EVICTED, 132, CIP, VIP, RIP6, "tun", "SCTP_INIT1")
DROPPED = Event(AT, EventKind.DROPPED, 6, CIP, VIP, reason="no_server")
REFUSED = Event(AT, EventKind.DROPPED, 6, CIP6, VIP6, RIP6, "dr", "ESTABLISHED", "too_big")
ALL = (SCHEDULED, EXPIRED, EVICTED, DROPPED, REFUSED)


class Made:
    """Gives the events piece by piece, then ends the command as Ctrl-C does."""

    def __init__(self, pieces: Sequence[Sequence[Event]], lost: int) -> None:
        self.pieces = list(pieces)
        self.losses = [lost]

    def read(self) -> Sequence[Event]:
        if not self.pieces:
            os.kill(os.getpid(), signal.SIGINT)
            return []
        return self.pieces.pop(0)

    def lost(self) -> int:
        return self.losses.pop() if self.losses else 0


Watched = Callable[..., list[str]]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Watched:
    """The lines of a command line."""

    def lines(*words: str, pieces: Sequence[Sequence[Event]] = (ALL,), lost: int = 0) -> list[str]:
        @contextmanager
        def watching() -> Iterator[Made]:
            yield Made(pieces, lost)

        monkeypatch.setattr(control, "watching", watching)
        assert run(["watch", *words]) == 0
        return capsys.readouterr().out.splitlines()

    return lines


TEXTS = {
    SCHEDULED: "scheduled tcp 192.0.2.1:40000 > 192.0.2.80:80 > 198.51.100.11:8080 nat SYN_RECV",
    EXPIRED: "expired   udp [2001:db8::1]:40000 > [2001:db8::80]:443 > [fd00::11]:8443 fullnat UDP",
    EVICTED: "evicted   sctp 192.0.2.1:40000 > 192.0.2.80:80 > [fd00::11]:8443 tun SCTP_INIT1",
    DROPPED: "dropped   tcp 192.0.2.1:40000 > 192.0.2.80:80 no_server",
    REFUSED: "dropped   tcp [2001:db8::1]:40000 > [2001:db8::80]:443 > [fd00::11]:8443 dr too_big",
}


def test_text(watched: Watched) -> None:
    lines = watched()
    assert all(re.match(r"\d\d:\d\d:20\.123456 ", each) for each in lines)
    assert [each.partition(" ")[2] for each in lines] == list(TEXTS.values())


def test_a_protocol_without_a_name() -> None:
    assert " 47 " in line(DROPPED.replace(protocol=47))


def test_json(watched: Watched) -> None:
    lines = [json.loads(each) for each in watched("--json")]
    assert lines[3] == {
        "time": "2023-11-14T22:13:20.123456+00:00",
        "event": "dropped",
        "protocol": "tcp",
        "client": "192.0.2.1:40000",
        "virtual": "192.0.2.80:80",
        "server": None,
        "method": None,
        "state": None,
        "reason": "no_server",
    }
    assert lines[1]["server"] == "[fd00::11]:8443"
    assert {tuple(each) for each in lines} == {tuple(lines[0])}, "every kind has the same fields"
    assert all("\n" not in json_line(event) for event in ALL)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("--only dropped", (DROPPED, REFUSED)),
        ("--only expired,evicted", (EXPIRED, EVICTED)),
        ("--protocol udp", (EXPIRED,)),
        ("--protocol sctp", (EVICTED,)),
        ("--service 192.0.2.80:80", (SCHEDULED, EVICTED, DROPPED)),
        ("--service [2001:db8::80]", (EXPIRED, REFUSED)),
        ("--service :443", (EXPIRED, REFUSED)),
        ("--client 192.0.2.0/24", (SCHEDULED, EVICTED, DROPPED)),
        ("--client 192.0.2.1:40001", ()),
        ("--server 198.51.100.11", (SCHEDULED,)),
        ("--server fd00::/16", (EXPIRED, EVICTED, REFUSED)),
        ("--server fd00::/16 --only dropped", (REFUSED,)),
    ],
)
def test_filters(words: str, shown: tuple[Event, ...], watched: Watched) -> None:
    lines = watched(*words.split())
    assert [each.partition(" ")[2] for each in lines] == [TEXTS[event] for event in shown]


def test_count_ends_it(watched: Watched) -> None:
    pieces = [[SCHEDULED, DROPPED], [DROPPED, DROPPED, SCHEDULED], [DROPPED]]
    assert len(watched("--count", "2", pieces=pieces)) == 2
    assert len(watched("--count", "3", "--only", "dropped", pieces=pieces)) == 3
    assert len(watched("--count", "9", pieces=pieces)) == 6, "Ctrl-C ended it first"


def test_what_was_lost_is_told(watched: Watched) -> None:
    lines = watched(lost=17)
    assert lines[-1] == "-- 17 events were lost here: they came faster than they were read"
    assert json.loads(watched("--json", lost=17)[-1]) == {"event": "lost", "count": 17}


def test_handlers_are_put_back(watched: Watched) -> None:
    before = signal.getsignal(signal.SIGINT)
    watched()
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--only opened", "--only opened: there is no event 'opened'"),
        ("--only dropped,", "--only dropped,: there is no event ''"),
        ("--client nowhere", "--client nowhere: 'nowhere' does not appear to be"),
        ("--client 192.0.2.1:http", "--client 192.0.2.1:http: 'http' is not a port"),
        ("--service 192.0.2.80:99999", "--service 192.0.2.80:99999: '99999' is not a port"),
        ("--server [fd00::1", "--server [fd00::1: a bracket is missing"),
        ("--server 192.0.2.0/33", "--server 192.0.2.0/33: '192.0.2.0/33' does not appear to be"),
        ("--protocol icmp", "Invalid value for '--protocol': 'icmp' is not one of"),
        ("--count 0", "Invalid value for '--count'"),
        ("--count many", "Invalid value for '--count'"),
        ("more", "Got unexpected extra argument"),
    ],
)
def test_bad_input(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        run(["watch", *words.split()])
    assert error.value.hint
