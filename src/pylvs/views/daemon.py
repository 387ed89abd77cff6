"""A connection sync daemon, as ipvsadm lists it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.model import SyncDaemon


def daemon_line(daemon: SyncDaemon) -> str:
    """One line."""
    return (
        f"{daemon.role} sync daemon (mcast={daemon.interface}, syncid={daemon.sync_id}, maxlen={daemon.maxlen}, "
        f"group={daemon.group}, port={daemon.port}, ttl={daemon.ttl})\n"
    )
