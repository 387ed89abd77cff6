"""Listings with numbers in them: the transcripts have the rest."""

from __future__ import annotations

from pylvs.model import (
    Counters,
    Endpoint,
    ForwardingMethod,
    Protocol,
    RealServer,
    ServerSnapshot,
    ServiceSnapshot,
    VirtualAddress,
    VirtualService,
    parse_address,
)
from pylvs.views.endpoint import address_text, numeric
from pylvs.views.listing import FORMS, listing
from pylvs.views.saved import saved

BUSY = ServiceSnapshot(
    VirtualService(VirtualAddress(Protocol.TCP, Endpoint(parse_address("192.0.2.10"), 80)), "sh", 0x18, 360),
    (
        ServerSnapshot(
            RealServer(Endpoint(parse_address("10.0.0.1"), 80), ForwardingMethod.DR, 1, 100, 50),
            active=12,
            inactive=34,
            persistent=5,
            counters=Counters(123456, 2345678, 100_000_000, 345_678_000, 0),
        ),
    ),
    Counters(1234567, 98765432, 87654321, 123_456_000, 9_876_000_000),
)


def text(form: str, *, exact: bool = False) -> list[str]:
    return listing([BUSY], FORMS[form], numeric, exact=exact).splitlines()[2:]


def test_counts() -> None:
    assert text("stats") == [
        "TCP  192.0.2.10:80                 1234567 98765432 87654321  123456K    9876M",
        "  -> 10.0.0.1:80                    123456  2345678  100000K  345678K        0",
    ]


def test_counts_exactly() -> None:
    assert text("stats", exact=True) == [
        "TCP  192.0.2.10:80                 1234567 98765432 87654321 123456000 9876000000",
        "  -> 10.0.0.1:80                    123456  2345678 100000000 345678000        0",
    ]


def test_never_shortens_the_packet_rates_of_a_server() -> None:
    assert text("rate")[1] == "  -> 10.0.0.1:80                    123456  2345678 100000000  345678K        0"


def test_lists_connections_of_servers() -> None:
    assert text("") == [
        "TCP  192.0.2.10:80 sh (sh-fallback,sh-port) persistent 360",
        "  -> 10.0.0.1:80                  Route   1      12         34        ",
    ]
    assert text("thresholds")[1] == "  -> 10.0.0.1:80                  100        50         12         34        "
    assert text("persistent-conn")[1] == "  -> 10.0.0.1:80                  1         5           12         34        "


def test_loses_thresholds_when_saving() -> None:
    assert saved([BUSY], numeric).splitlines() == [
        "-A -t 192.0.2.10:80 -s sh -p 360 -b sh-fallback,sh-port",
        "-a -t 192.0.2.10:80 -r 10.0.0.1:80 -g -w 1",
    ]


def test_dots_the_ipv4_inside_ipv6() -> None:
    assert address_text(parse_address("::ffff:1.2.3.4")) == "::ffff:1.2.3.4"
    assert address_text(parse_address("::1.2.3.4")) == "::1.2.3.4"
    assert address_text(parse_address("64:ff9b::1.2.3.4")) == "64:ff9b::102:304"
