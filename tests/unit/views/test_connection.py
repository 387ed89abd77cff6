"""The list of connections, as a real kernel's looked."""

from __future__ import annotations

from pylvs.model import Connection, Endpoint, Protocol, parse_address
from pylvs.views.connection import connections
from pylvs.views.endpoint import numeric


def endpoint(address: str, port: int) -> Endpoint:
    return Endpoint(parse_address(address), port)


HALF_OPEN = Connection(
    Protocol.TCP,
    endpoint("10.10.0.2", 20001),
    endpoint("10.20.0.100", 80),
    endpoint("10.30.0.11", 80),
    "SYN_RECV",
    59,
)
OLD = HALF_OPEN.replace(state="ESTABLISHED", expires=60 * 100 + 1, client=endpoint("203.0.113.255", 54321))
SIX = HALF_OPEN.replace(protocol=Protocol.UDP, client=endpoint("fd00::2", 53), state="UDP", expires=299)


def test_lists_connections() -> None:
    assert "".join(connections([HALF_OPEN, OLD, SIX], numeric)) == (
        "IPVS connection entries\n"
        "pro expire state       source             virtual            destination\n"
        "TCP 00:59  SYN_RECV    10.10.0.2:20001    10.20.0.100:80     10.30.0.11:80\n"
        "TCP 100:01  ESTABLISHED 203.0.113.255:54321 10.20.0.100:80     10.30.0.11:80\n"
        "UDP 04:59  UDP         [fd00::2]:53       10.20.0.100:80     10.30.0.11:80\n"
    )
