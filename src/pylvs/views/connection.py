"""`ipvsadm -L -c`: a line for each connection, in the order of the table."""

from __future__ import annotations

from pylvs.model import EngineConnection
from pylvs.views.endpoint import numeric

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pylvs.model import Connection
    from pylvs.views.endpoint import Name

    Row = tuple[str, int, str, str, str, str]
    """Protocol, seconds left, state, client, virtual address, server."""

_TITLE = "IPVS connection entries\n"
_COLUMNS = f"pro expire {'state':11} {'source':18} {'virtual':18} "
_ROW = "%-3s %02d:%02d  %-11s %-18s %-18s %s\n"
_HEADER = f"{_COLUMNS}destination\n"
_HEADER_WITH_ENGINE = f"{_COLUMNS}{'destination':18} {'pe name':16} pe_data\n"


def connections(entries: Iterable[Connection], name: Name, *, persistence_engine: bool = False) -> Iterator[str]:
    """Text piece by piece, for there may be millions; if asked for, with what persistence engines know them by, beside
    the header's columns as in ipvsadm.
    """
    yield _TITLE + (_HEADER_WITH_ENGINE if persistence_engine else _HEADER)
    for entry in entries:
        if persistence_engine and isinstance(entry, EngineConnection):
            yield f"{_columns(entry, name, 16)} {entry.engine:18} {entry.engine_data}\n"
        else:
            yield f"{_columns(entry, name)}\n"


def numeric_connections(entries: Iterable[Connection]) -> Iterator[str]:
    """The same in numbers."""
    return connections(entries, numeric)


def numeric_lines(rows: Iterable[Row], *, persistence_engine: bool = False) -> Iterator[str]:
    """The same out of what is text already."""
    yield _TITLE + (_HEADER_WITH_ENGINE if persistence_engine else _HEADER)
    for protocol, expires, state, client, virtual, server in rows:
        yield _ROW % (protocol, expires // 60, expires % 60, state, client, virtual, server)


def _columns(entry: Connection, name: Name, server_width: int = 0) -> str:
    minutes, seconds = divmod(entry.expires, 60)
    client, virtual, server = (name(end, entry.protocol) for end in (entry.client, entry.virtual, entry.server))
    protocol = entry.protocol.name if entry.protocol else "IP"
    ends = f"{client:18} {virtual:18} {server.ljust(server_width)}"
    return f"{protocol:3} {minutes:02}:{seconds:02}  {entry.state:11} {ends}"
