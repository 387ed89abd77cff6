"""From words to a `Request`: every option in turn, then what they mean together."""

from __future__ import annotations

from pylvs.cli.ipvsadm import daemon_options as daemon
from pylvs.cli.ipvsadm import server_options as server
from pylvs.cli.ipvsadm import service_options as service
from pylvs.cli.ipvsadm.check import check
from pylvs.cli.ipvsadm.failure import TryHelp, UnreadableOption
from pylvs.cli.ipvsadm.grammar import Command
from pylvs.cli.ipvsadm.popt import Words
from pylvs.cli.ipvsadm.request import Request
from pylvs.errors import UsageError
from pylvs.model import Timeouts
from pylvs.views.flag import flag_bits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pylvs.cli.ipvsadm.grammar import Option
    from pylvs.cli.ipvsadm.names import Names

_READERS: dict[str, Callable[[Request, Any, Names], None]] = {
    "tcp-service": service.tcp_service,
    "udp-service": service.udp_service,
    "sctp-service": service.sctp_service,
    "fwmark-service": service.fwmark_service,
    "ipv6": service.ipv6,
    "scheduler": service.scheduler,
    "persistent": service.persistent,
    "netmask": service.netmask,
    "pe": service.persistence_engine,
    "sched-flags": service.sched_flags,
    "local-address": service.local_addresses,
    "real-server": server.real_server,
    "masquerading": server.masquerading,
    "ipip": server.ipip,
    "gatewaying": server.gatewaying,
    "fullnat": server.fullnat,
    "weight": server.weight,
    "u-threshold": server.u_threshold,
    "l-threshold": server.l_threshold,
    "tun-type": server.tun_type,
    "tun-port": server.tun_port,
    "tun-nocsum": server.tun_nocsum,
    "tun-csum": server.tun_csum,
    "tun-remcsum": server.tun_remcsum,
    "syncid": daemon.syncid,
    "mcast-interface": daemon.mcast_interface,
    "mcast-group": daemon.mcast_group,
    "mcast-port": daemon.mcast_port,
    "mcast-ttl": daemon.mcast_ttl,
    "sync-maxlen": daemon.sync_maxlen,
}
"""What an option does beyond being given."""

_ROLES = {"start-daemon": daemon.start_role, "stop-daemon": daemon.stop_role}

AT_ONCE = ("help", "version")
"""Commands that look at nothing after them."""


def read(line: Sequence[str], names: Names) -> Request:
    """Understand a command line (without the program's name); raises `UsageError`."""
    words = Words(line)
    options = words.options()
    try:
        command, role = next(options, (None, None))
    except UnreadableOption:
        raise TryHelp from None
    if not isinstance(command, Command):
        raise TryHelp
    request = Request(command.word)
    if command.word in AT_ONCE:
        return request
    if command.word == "sysctl":
        request.knob = role or ""
    if command.word in _ROLES:
        request.daemon = request.daemon.replace(role=_ROLES[command.word](role or ""))
    for option, argument in options:
        if isinstance(option, Command):
            raise UsageError(f"invalid option `{words.latest}'")
        _take(request, option, argument, names)
    _take_arguments(request, words.arguments)
    if request.flag_names:
        request.flags = flag_bits(request.flag_names, request.scheduler or "wlc")
    check(request)
    return request


def _take(request: Request, option: Option, argument: str | None, names: Names) -> None:
    if option.word:
        if option.word in request.given:
            raise UsageError(f"multiple '{option.word}' options specified")
        request.given.add(option.word)
    reader = _READERS.get(option.long)
    if reader is not None:
        reader(request, argument, names)


def _take_arguments(request: Request, arguments: Sequence[str]) -> None:
    """Only --set has any: its three timeouts."""
    rest = arguments
    if request.command == "set":
        if len(arguments) < 3:
            raise UsageError("--set option requires 3 timeout values")
        request.timeouts = Timeouts(*(service.timeout(text, lowest=0) for text in arguments[:3]))
        rest = arguments[3:]
    if rest:
        raise UsageError(f"unexpected argument {rest[0]}")
