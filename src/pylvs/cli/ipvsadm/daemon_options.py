"""The options of the connection sync daemon. Their values are checked, but not kept: no director runs one yet."""

from __future__ import annotations

from ipaddress import IPv4Address

from pylvs.cli.ipvsadm.address import ipv6
from pylvs.cli.ipvsadm.server_options import legal_number
from pylvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.cli.ipvsadm.names import Names
    from pylvs.cli.ipvsadm.request import Request

ROLES = ("master", "backup")


def start_role(text: str) -> str:
    """Which daemon to start; raises `UsageError`."""
    return _role(text, "illegal start-daemon parameter specified")


def stop_role(text: str) -> str:
    """Which daemon to stop; raises `UsageError`."""
    return _role(text, "illegal start_daemon specified")


def _role(text: str, message: str) -> str:
    if text not in ROLES:
        raise UsageError(message)
    return text


def syncid(_: Request, text: str, __: Names) -> None:
    """`--syncid id`"""
    legal_number(text, 0, 255, "syncid")


def mcast_interface(_: Request, __: str, ___: Names) -> None:
    """`--mcast-interface name`"""


def mcast_group(_: Request, text: str, __: Names) -> None:
    """`--mcast-group address`: one of multicast."""
    family, group = (6, ipv6(text)) if ":" in text else (4, _ipv4(text))
    if group is None or not group.is_multicast:
        raise UsageError(f"invalid IPv{family} mcast-group `{text}'")


def _ipv4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def mcast_port(_: Request, text: str, __: Names) -> None:
    """`--mcast-port port`"""
    legal_number(text, 1, 65535, "mcast-port")


def mcast_ttl(_: Request, text: str, __: Names) -> None:
    """`--mcast-ttl hops`"""
    legal_number(text, 1, 255, "mcast-ttl")


def sync_maxlen(_: Request, text: str, __: Names) -> None:
    """`--sync-maxlen bytes`"""
    legal_number(text, 1, 65507, "sync-maxlen")
