"""A migration as the commands that would do it, and as one line of what was done."""

from __future__ import annotations

from pylvs.director.migration import Addition, Plan
from pylvs.model import ServerSnapshot, ServiceSnapshot
from pylvs.views.endpoint import numeric
from pylvs.views.knob import line
from pylvs.views.saved import saved


def commands(plan: Plan) -> str:
    """Lines of `ipvsadm -R`, `ipvsadm --set` and sysctl(8)."""
    text = "".join(map(_addition, plan.additions))
    if plan.timeouts is not None:
        text += f"--set {plan.timeouts.tcp} {plan.timeouts.tcp_fin} {plan.timeouts.udp}\n"
    return text + "".join(f"{line(name, value)}\n" for name, value in plan.knobs.items())


def _addition(addition: Addition) -> str:
    """`-S` says nothing of thresholds."""
    servers = tuple(map(ServerSnapshot, addition.servers))
    first, *rest = saved([ServiceSnapshot(addition.service, servers)], numeric).splitlines()
    lines = [] if addition.begun else [first]
    for text, server in zip(rest, addition.servers, strict=True):
        limits = (("-x", server.upper_threshold), ("-y", server.lower_threshold))
        lines.append(" ".join((text, *(f"{option} {number}" for option, number in limits if number))))
    return "".join(f"{each}\n" for each in lines)


def done(plan: Plan, source: str, target: str, left: str) -> str:
    """What was taken over, and what became of the table that it comes from."""
    services = _count(len(plan.additions), "service")
    servers = _count(sum(len(addition.servers) for addition in plan.additions), "real server")
    return f"{target} has taken over {services} with {servers}; the table of {source} was {left}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
