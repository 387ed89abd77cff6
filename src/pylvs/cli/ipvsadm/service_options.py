"""The options that say which virtual service, and how it schedules."""

from __future__ import annotations

from pylvs.cli.ipvsadm.address import address, endpoint, ipv4_or_host
from pylvs.cli.ipvsadm.number import leading_number, number_within
from pylvs.errors import UsageError
from pylvs.model import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.cli.ipvsadm.names import Names
    from pylvs.cli.ipvsadm.request import Request

LONGEST_TIMEOUT = 31 * 24 * 60 * 60
DEFAULT_PERSISTENCE = 6 * 60
_FULL_MASK = 2**32 - 1


def _address(request: Request, protocol: Protocol, text: str, names: Names) -> None:
    request.protocol = protocol
    found = endpoint(text, protocol, names)
    if found is None:
        raise UsageError("illegal virtual server address[:port] specified")
    request.address, port = found
    request.port = port or 0
    if request.address.version == 6:
        request.netmask = None


def tcp_service(request: Request, text: str, names: Names) -> None:
    """`-t host[:port]`"""
    _address(request, Protocol.TCP, text, names)


def udp_service(request: Request, text: str, names: Names) -> None:
    """`-u host[:port]`"""
    _address(request, Protocol.UDP, text, names)


def sctp_service(request: Request, text: str, names: Names) -> None:
    """`--sctp-service host[:port]`"""
    _address(request, Protocol.SCTP, text, names)


def fwmark_service(request: Request, text: str, _: Names) -> None:
    """`-f mark`: the ports of its servers may be given by their TCP names."""
    mark = number_within(text, 1, 2**32 - 1)
    if mark is None:
        raise UsageError(f"invalid fwmark value `{text}' specified")
    request.protocol = Protocol.TCP
    request.mark = mark


def ipv6(request: Request, _: str, __: Names) -> None:
    """`-6`, after `-f`"""
    if not request.mark:
        raise UsageError("-6 used before -f\n")
    request.mark_family = 6
    request.netmask = None


def scheduler(request: Request, text: str, _: Names) -> None:
    """`-s name`"""
    request.scheduler = text


def persistent(request: Request, text: str | None, _: Names) -> None:
    """`-p [seconds]`"""
    request.persistence = DEFAULT_PERSISTENCE if text is None else timeout(text, lowest=1)


def timeout(text: str, *, lowest: int) -> int:
    """Seconds, up to 31 days."""
    seconds = number_within(text, lowest, LONGEST_TIMEOUT)
    if seconds is None:
        raise UsageError(f"invalid timeout value `{text}' specified")
    return seconds


def netmask(request: Request, text: str, names: Names) -> None:
    """`-M mask`: a prefix length if the service is known to be one of IPv6."""
    if request.family == 6:
        length = leading_number(text)
        if not 1 <= length <= 128:
            raise UsageError("illegal ipv6 netmask specified")
        request.netmask = None if length == 128 else length
        return
    mask = ipv4_or_host(text, names)
    if mask is None:
        raise UsageError("illegal virtual server persistent mask specified")
    request.netmask = None if int(mask) == _FULL_MASK else mask


def persistence_engine(request: Request, text: str, _: Names) -> None:
    """`--pe name`"""
    request.persistence_engine = text


def local_addresses(request: Request, text: str, names: Names) -> None:
    """`--local-address A[,B...]`"""
    found = [address(one, names) for one in text.split(",")]
    if None in found:
        raise UsageError("illegal local address specified")
    request.local_addresses = tuple(dict.fromkeys(filter(None, found)))


def sched_flags(request: Request, text: str, _: Names) -> None:
    """`-b flag,flag`: understood once the scheduler is known."""
    request.flag_names = text
