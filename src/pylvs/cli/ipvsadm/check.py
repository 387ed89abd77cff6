"""What is wrong with a command line whose every option is right by itself: the tables of grammar.py, enforced."""

from __future__ import annotations

from functools import lru_cache

from pylvs.cli.ipvsadm.grammar import LEGAL, LEGAL_IN_TUNNEL, TUNNEL_WORDS, WORDS
from pylvs.errors import UsageError
from pylvs.model import ForwardingMethod, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pylvs.cli.ipvsadm.grammar import Legal
    from pylvs.cli.ipvsadm.request import Request

_CHANGING_PORTS = (ForwardingMethod.NAT, ForwardingMethod.FULLNAT)
_TOTALS = {"stats", "rate", "thresholds"}


def check(request: Request) -> None:
    """Raises `UsageError` for the first thing wrong; settles the port of servers that keep the service's."""
    _refuse(_fault_in_command(frozenset(request.given), request.command))
    match request.command:
        case "add-service" | "edit-service":
            _check_service(request)
        case "add-server" | "edit-server":
            _check_server(request)
        case "list":
            _check_list(request.given)


@lru_cache(maxsize=256)  # --restore meets the same few over and over
def _fault_in_command(given: frozenset[str], command: str) -> str:
    return _fault(given, LEGAL[command], WORDS, f"'{command}' command")


def _fault(given: Collection[str], legal: Legal, words: Sequence[str], where: str) -> str:
    """The first thing wrong with the options given, or nothing."""
    chosen = ""
    for word in words:
        if word not in given:
            if word in legal.needs:
                return f"You need to supply the '{word}' option for the {where}"
        elif word in legal.one_of:
            if chosen:
                return f"The option '{word}' conflicts with the '{chosen}' option in the {where}"
            chosen = word
        elif word not in legal.may and word not in legal.needs:
            return f"Illegal '{word}' option with the {where}"
    return ""


def _refuse(fault: str) -> None:
    if fault:
        raise UsageError(fault)


def _check_service(request: Request) -> None:
    if request.mark:
        return
    if request.port == 0 and request.persistence is None:
        raise UsageError("Zero port specified for non-persistent service")
    if "ops" in request.given and request.protocol is not Protocol.UDP:
        raise UsageError("One-Packet Scheduling is only for UDP virtual services")


def _check_server(request: Request) -> None:
    """Only NAT and FULLNAT can change the port; so DR and TUN have the service's, whatever was asked for."""
    if not request.mark and request.method not in _CHANGING_PORTS:
        request.server_port = request.port
    tunnelled = request.method is ForwardingMethod.TUN
    if request.server_address.version != request.family and not request.method.crosses_families:
        raise UsageError("Different address family is allowed only for tunneling servers")
    if tunnelled:
        kind = request.tunnel_type
        _refuse(_fault(request.given, LEGAL_IN_TUNNEL[kind], TUNNEL_WORDS[1:], f"'{kind}' tunnel type"))
    elif not request.given.isdisjoint(TUNNEL_WORDS):
        raise UsageError("Tunnel options conflict with forward method")


def _check_list(given: Collection[str]) -> None:
    apart = {"connection", "timeout", "daemon"}.intersection(given)
    totals = _TOTALS.intersection(given)
    if apart and (totals or ("persistent-conn" in given and "connection" not in apart)):
        raise UsageError("options conflicts in the list command")
