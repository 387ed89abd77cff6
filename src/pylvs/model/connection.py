"""One tracked flow, as a listing shows it."""

from __future__ import annotations

from pylvs.model.address import Endpoint
from pylvs.model.service import Protocol
from pylvs.model.value import Value


class Connection(Value):
    """`state` has the kernel's name (ESTABLISHED, SYN_RECV, UDP, ...); `expires` is in whole seconds, rounded down.

    A template of a persistent service is listed, too: its client has port 0. One of a firewall mark is of no protocol,
    and its virtual address is the mark.
    """

    protocol: Protocol | None
    client: Endpoint
    virtual: Endpoint
    server: Endpoint
    state: str
    expires: int

    @property
    def is_template(self) -> bool:
        """Whether it is no connection, but what keeps a client at its server."""
        return self.state in ("NONE", "ASSURED") and not self.client.port


class EngineConnection(Connection):
    """One by which a persistence engine knows a client: the engine's name, and what it goes by (a Call-ID, say)."""

    engine: str
    engine_data: str
