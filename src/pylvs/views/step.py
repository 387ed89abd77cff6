"""A step of a plan as the command of ipvsadm that does it."""

from __future__ import annotations

from pylvs.director.knob import text as knob_text
from pylvs.plan import (
    AddServer,
    AddService,
    DeleteServer,
    DeleteService,
    EditServer,
    EditService,
    SetKnobs,
    SetTimeouts,
    Step,
)
from pylvs.views.endpoint import numeric
from pylvs.views.saved import limits, server_words, service_words, which_service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.knob import KnobValue
    from pylvs.model import ServiceId, Timeouts


_COMMANDS: dict[type[Step], str] = {
    AddService: "-A",
    EditService: "-E",
    DeleteService: "-D",
    AddServer: "-a",
    EditServer: "-e",
    DeleteServer: "-d",
}


def step_text(step: Step) -> str:
    """`-A -t ...`; knobs take a line each."""
    command = _COMMANDS.get(type(step))
    match step:
        case AddService(service=service) | EditService(service=service):
            return f"{command} {_which(service.id)} {service_words(service, whole=True)}"
        case DeleteService(service=id):
            return f"{command} {_which(id)}"
        case AddServer(service=id, server=server) | EditServer(service=id, server=server):
            return f"{command} {_which(id)} -r {numeric(server.endpoint, None)} {server_words(server)}{limits(server)}"
        case DeleteServer(service=id, endpoint=endpoint):
            return f"{command} {_which(id)} -r {numeric(endpoint, None)}"
        case SetTimeouts(timeouts=timeouts):
            return timeouts_text(timeouts)
        case SetKnobs(changes=changes):
            return "\n".join(knob_line(name, value) for name, value in changes.items())
    raise TypeError(f"{step!r} is no step")


def timeouts_text(timeouts: Timeouts) -> str:
    """`--set tcp tcpfin udp`"""
    return f"--set {timeouts.tcp} {timeouts.tcp_fin} {timeouts.udp}"


def knob_line(name: str, value: KnobValue) -> str:
    """`--sysctl name=value`, two numbers joined by a comma."""
    return f"--sysctl {name}={knob_text(value).replace(chr(9), ',')}"


def _which(id: ServiceId) -> str:
    return which_service(id, numeric, whole=True)
