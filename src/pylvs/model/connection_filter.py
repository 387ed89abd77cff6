"""Which connections are meant."""

from __future__ import annotations

from pylvs.model.connection import Connection
from pylvs.model.pattern import Pattern
from pylvs.model.service import Protocol
from pylvs.model.value import Value


class ConnectionFilter(Value):
    """Those of which all of this is true; None stands for any."""

    protocol: Protocol | None = None
    client: Pattern | None = None
    virtual: Pattern | None = None
    server: Pattern | None = None
    state: str | None = None

    def matches(self, connection: Connection) -> bool:
        """Whether it is one of them."""
        ends = ((self.client, connection.client), (self.virtual, connection.virtual), (self.server, connection.server))
        return (
            self.protocol in (None, connection.protocol)
            and self.state in (None, connection.state)
            and all(pattern is None or pattern.matches(end) for pattern, end in ends)
        )

    @property
    def whole(self) -> bool:
        """Whether every connection is one of them."""
        return self == ConnectionFilter()
