"""pylvs connections: what is asked for, before any director is."""

from __future__ import annotations

import pytest

from pylvs.__main__ import main
from pylvs.model import Connection, Endpoint, Protocol, parse_address
from pylvs.model.connection_filter import ConnectionFilter
from pylvs.model.pattern import parse_pattern


def _end(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    return Endpoint(parse_address(address), int(port))


FLOW = Connection(
    Protocol.TCP, _end("203.0.113.5:5000"), _end("192.0.2.80:80"), _end("10.0.0.1:8080"), "ESTABLISHED", 9
)
TEMPLATE = FLOW.replace(client=_end("203.0.113.0:0"), state="ASSURED")


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (ConnectionFilter(), True),
        (ConnectionFilter(Protocol.TCP), True),
        (ConnectionFilter(Protocol.UDP), False),
        (ConnectionFilter(client=parse_pattern("203.0.113.5")), True),
        (ConnectionFilter(client=parse_pattern("203.0.113.5:5001")), False),
        (ConnectionFilter(client=parse_pattern("203.0.113.0/24:5000")), True),
        (ConnectionFilter(virtual=parse_pattern(":80"), server=parse_pattern("10.0.0.1:8080")), True),
        (ConnectionFilter(virtual=parse_pattern(":80"), server=parse_pattern("10.0.0.2")), False),
        (ConnectionFilter(state="ESTABLISHED"), True),
        (ConnectionFilter(state="FIN_WAIT"), False),
        (ConnectionFilter(client=parse_pattern("fd00::/8")), False),
    ],
)
def test_all_that_is_asked_for_must_be_true(selection: ConnectionFilter, selected: bool) -> None:
    assert selection.matches(FLOW) is selected
    assert selection.whole == (selection == ConnectionFilter())


def test_templates() -> None:
    assert TEMPLATE.is_template
    assert not FLOW.is_template


BAD = {
    "delete": "which connections?",
    "delete --client 1.2.3": "--client 1.2.3: '1.2.3' does not appear to be an IPv4 or IPv6 network",
    "delete --vip 1.2.3.4:x": "--vip 1.2.3.4:x: 'x' is not a port",
    "delete --server [::1": "--server [::1: a bracket is missing, or a colon behind it",
    "list --protocol icmp": "Invalid value for '--protocol': 'icmp' is not one of 'tcp', 'udp', 'sctp'.",
    "end": "Got unexpected extra argument (end)",
    "--state": "Option '--state' requires an argument.",
}


@pytest.mark.parametrize(("words", "message"), BAD.items())
def test_bad_input(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connections", *words.split()]) == 2
    first, *hint = capsys.readouterr().err.splitlines()
    assert first == f"pylvs: {message}"
    assert [line.split(":")[0] for line in hint] == ["hint"]
