"""The options that say which real server, and how packets reach it."""

from __future__ import annotations

from pylvs.cli.ipvsadm.address import endpoint
from pylvs.cli.ipvsadm.number import number_within
from pylvs.errors import UsageError
from pylvs.model import ForwardingMethod, TunnelChecksum, TunnelType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.cli.ipvsadm.names import Names
    from pylvs.cli.ipvsadm.request import Request

_HIGHEST = 2**31 - 1


def real_server(request: Request, text: str, names: Names) -> None:
    """`-r host[:port]`: without a port it is that of the service, if that is known by now."""
    found = endpoint(text, request.protocol, names)
    if found is None:
        raise UsageError("illegal real server address[:port] specified")
    request.server_address, port = found
    request.server_port = request.port if port is None else port


def masquerading(request: Request, _: str, __: Names) -> None:
    """`-m`"""
    request.method = ForwardingMethod.NAT


def ipip(request: Request, _: str, __: Names) -> None:
    """`-i`"""
    request.method = ForwardingMethod.TUN


def gatewaying(request: Request, _: str, __: Names) -> None:
    """`-g`"""
    request.method = ForwardingMethod.DR


def fullnat(request: Request, _: str, __: Names) -> None:
    """`--fullnat`"""
    request.method = ForwardingMethod.FULLNAT


def legal_number(text: str, lowest: int, highest: int, name: str) -> int:
    """A number in that range; raises `UsageError`."""
    value = number_within(text, lowest, highest)
    if value is None:
        raise UsageError(f"illegal {name} specified")
    return value


def weight(request: Request, text: str, _: Names) -> None:
    """`-w weight`"""
    request.weight = legal_number(text, 0, _HIGHEST, "weight")


def u_threshold(request: Request, text: str, _: Names) -> None:
    """`-x connections`"""
    request.upper_threshold = legal_number(text, 0, _HIGHEST, "u_threshold")


def l_threshold(request: Request, text: str, _: Names) -> None:
    """`-y connections`"""
    request.lower_threshold = legal_number(text, 0, _HIGHEST, "l_threshold")


def tun_type(request: Request, text: str, _: Names) -> None:
    """`--tun-type ipip|gue|gre`"""
    try:
        request.tunnel_type = TunnelType(text)
    except ValueError:
        raise UsageError("illegal tunnel type specified") from None


def tun_port(request: Request, text: str, _: Names) -> None:
    """`--tun-port port`"""
    request.tunnel_port = legal_number(text, 1, 65535, "tunnel port")


def tun_nocsum(request: Request, _: str, __: Names) -> None:
    """`--tun-nocsum`"""
    request.tunnel_checksum = TunnelChecksum.NONE


def tun_csum(request: Request, _: str, __: Names) -> None:
    """`--tun-csum`"""
    request.tunnel_checksum = TunnelChecksum.CSUM


def tun_remcsum(request: Request, _: str, __: Names) -> None:
    """`--tun-remcsum`"""
    request.tunnel_checksum = TunnelChecksum.REMOTE
