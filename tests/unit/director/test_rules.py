"""What is one machine's address depends on the director's own."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_interface

import pytest

from pylvs.director.knob import defaults
from pylvs.director.rules import LOCAL_PORTS, check_timeouts, check_unicast
from pylvs.errors import InvalidOperation
from pylvs.model import Timeouts, parse_address

OWN: list[IPv4Interface | IPv6Interface] = [
    ip_interface(own) for own in ("192.0.2.1/24", "10.1.1.1/31", "10.3.3.255/24", "fe80::5/64")
]


@pytest.mark.parametrize(
    "address",
    ["192.0.2.0", "192.0.2.1", "10.1.1.0", "10.3.3.255", "240.0.0.1", "0.0.0.1", "127.0.0.1", "::1", "::2", "fe80::5"],
)
def test_takes_one_machine(address: str) -> None:
    check_unicast(parse_address(address), OWN)


@pytest.mark.parametrize("address", ["192.0.2.255", "255.255.255.255", "224.0.0.1", "::", "fe80::6", "ff02::1"])
def test_refuses_none_or_many(address: str) -> None:
    with pytest.raises(InvalidOperation):
        check_unicast(parse_address(address), OWN)


def test_takes_for_broadcast_only_what_it_knows_of() -> None:
    check_unicast(parse_address("192.0.2.255"))


@pytest.mark.parametrize("seconds", [-1, 8_589_935])
def test_refuses_timeouts_beyond_the_clock(seconds: int) -> None:
    with pytest.raises(InvalidOperation):
        check_timeouts(Timeouts(tcp=seconds))


def test_the_ports_of_local_addresses_are_those_of_the_knobs() -> None:
    known = defaults()
    assert (LOCAL_PORTS[0], LOCAL_PORTS[-1]) == (known["local_port_first"], known["local_port_last"])
