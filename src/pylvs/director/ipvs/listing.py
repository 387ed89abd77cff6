"""The connections that the kernel tells of in /proc/net/ip_vs_conn."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from pylvs.errors import PylvsError
from pylvs.model import Connection, Endpoint, EngineConnection, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pylvs.model import IPAddress

PATH = "/proc/net/ip_vs_conn"
_PROTOCOLS: dict[str, Protocol | None] = {"IP": None, **{protocol.name: protocol for protocol in Protocol}}


def connections() -> Iterator[Connection]:
    """Every connection, in the order of the kernel's table."""
    try:
        with open(PATH) as lines:
            next(lines, None)  # the names of the columns
            yield from parsed(lines)
    except OSError as error:
        raise PylvsError(f"{PATH}: {error.strerror}") from None


def parsed(lines: Iterable[str]) -> Iterator[Connection]:
    """A connection for each line; some end with what a persistence engine knows them by."""
    for line in lines:
        protocol, client, cport, virtual, vport, server, dport, state, expires, *engine = line.split(None, 10)
        ends = (_endpoint(client, cport), _endpoint(virtual, vport), _endpoint(server, dport))
        known = (_PROTOCOLS[protocol], *ends, state, int(expires))
        yield EngineConnection(*known, engine[0], engine[1].rstrip("\n")) if len(engine) == 2 else Connection(*known)


def _endpoint(address: str, port: str) -> Endpoint:
    return Endpoint(_address(address), int(port, 16))


def _address(text: str) -> IPAddress:
    """Eight digits, or an IPv6 address in full."""
    return IPv6Address(text) if ":" in text else IPv4Address(int(text, 16))
