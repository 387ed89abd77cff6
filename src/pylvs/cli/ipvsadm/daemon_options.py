"""The options of the connection sync daemon."""

from __future__ import annotations

from ipaddress import IPv4Address

from pylvs.cli.ipvsadm.address import ipv6
from pylvs.cli.ipvsadm.server_options import legal_number
from pylvs.errors import UsageError
from pylvs.model import SyncRole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.cli.ipvsadm.names import Names
    from pylvs.cli.ipvsadm.request import Request

_LONGEST_NAME = 15
"""Of an interface: what is longer is cut, here as in ipvsadm."""


def start_role(text: str) -> SyncRole:
    """Which daemon to start; raises `UsageError`."""
    return _role(text, "illegal start-daemon parameter specified")


def stop_role(text: str) -> SyncRole:
    """Which daemon to stop; raises `UsageError`."""
    return _role(text, "illegal start_daemon specified")


def _role(text: str, message: str) -> SyncRole:
    try:
        return SyncRole(text)
    except ValueError:
        raise UsageError(message) from None


def _set(request: Request, **options: object) -> None:
    request.daemon = request.daemon.replace(**options)


def syncid(request: Request, text: str, _: Names) -> None:
    """`--syncid id`"""
    _set(request, sync_id=legal_number(text, 0, 255, "syncid"))


def mcast_interface(request: Request, text: str, _: Names) -> None:
    """`--mcast-interface name`"""
    _set(request, interface=text[:_LONGEST_NAME])


def mcast_group(request: Request, text: str, _: Names) -> None:
    """`--mcast-group address`: one of multicast."""
    family, group = (6, ipv6(text)) if ":" in text else (4, _ipv4(text))
    if group is None or not group.is_multicast:
        raise UsageError(f"invalid IPv{family} mcast-group `{text}'")
    _set(request, group=group)


def _ipv4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def mcast_port(request: Request, text: str, _: Names) -> None:
    """`--mcast-port port`"""
    _set(request, port=legal_number(text, 1, 65535, "mcast-port"))


def mcast_ttl(request: Request, text: str, _: Names) -> None:
    """`--mcast-ttl hops`"""
    _set(request, ttl=legal_number(text, 1, 255, "mcast-ttl"))


def sync_maxlen(request: Request, text: str, _: Names) -> None:
    """`--sync-maxlen bytes`"""
    _set(request, maxlen=legal_number(text, 1, 65507, "sync-maxlen"))
