"""What a real server was asked to be, checked as far as that can be done without looking at the machine."""

from __future__ import annotations

from typing import Any

from pylvs.errors import UsageError
from pylvs.model import ForwardingMethod, IPAddress
from pylvs.model.address import parse_address
from pylvs.model.value import Value
from pylvs.role import abi

GUE_PORT = 6080
"""Where GUE is expected when no type of tunnel was named; IANA's number for it."""
TUNNELS = ("ipip", "gue", "gre")
ARP = ("sysctl", "none")


class Asked(Value):
    """`interfaces` are names. Of DR, all that is about tunnels is empty."""

    method: ForwardingMethod
    vips: tuple[IPAddress, ...]
    interfaces: tuple[str, ...]
    tunnels: tuple[str, ...]
    ports: tuple[int, ...]
    directors: tuple[IPAddress, ...]
    arp: str
    mss_overhead: int | None

    def as_fields(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **vars(self),
            "method": str(self.method.value),
            "vips": [str(vip) for vip in self.vips],
            "directors": [str(director) for director in self.directors],
        }


def from_fields(fields: dict[str, Any]) -> Asked:
    """From JSON."""
    lists = {name: tuple(fields[name]) for name in ("interfaces", "tunnels", "ports")}
    vips, directors = (tuple(map(parse_address, fields[name])) for name in ("vips", "directors"))
    return Asked(
        **{**fields, **lists, "method": ForwardingMethod(fields["method"]), "vips": vips, "directors": directors}
    )


def _address(text: str, role: str) -> IPAddress:
    """One that a machine can have; raises `UsageError`."""
    try:
        found = parse_address(text)
    except ValueError:
        raise UsageError(f"{role} {text!r} is not an IP address") from None
    if found.is_multicast or found.is_unspecified or found.is_loopback or found.is_link_local:
        raise UsageError(f"{role} {text} is not an address that clients can reach")
    return found


def _tunnels(
    method: ForwardingMethod, types: tuple[str, ...], ports: tuple[int, ...]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The types as asked for (all, if none was named), and the ports of GUE."""
    if method is not ForwardingMethod.TUN:
        if types or ports:
            raise UsageError(f"--method {method.value} has no tunnel", hint="leave out --tun-type and --tun-port")
        return (), ()
    if "gue" in types and not ports:
        raise UsageError("--tun-type gue lacks its port", hint=f"--tun-port {GUE_PORT}, or as the director was told")
    if ports and types and "gue" not in types:
        raise UsageError("--tun-port is for --tun-type gue", hint="the other types of tunnels have no ports")
    if len(set(ports)) > abi.GUE_PORTS:
        raise UsageError(f"there are {len(set(ports))} ports for GUE, {abi.GUE_PORTS} are the most")
    if not types:
        return TUNNELS, tuple(dict.fromkeys(ports)) or (GUE_PORT,)
    return tuple(kind for kind in TUNNELS if kind in types), tuple(dict.fromkeys(ports))


def asked(
    method: ForwardingMethod,
    vips: tuple[str, ...],
    *,
    interfaces: tuple[str, ...] = (),
    types: tuple[str, ...] = (),
    ports: tuple[int, ...] = (),
    directors: tuple[str, ...] = (),
    arp: str = "sysctl",
    mss_overhead: int | None = None,
) -> Asked:
    """From the command line's words; raises `UsageError`."""
    if method is not ForwardingMethod.TUN and (directors or mss_overhead is not None):
        raise UsageError(f"--method {method.value} has no tunnel", hint="leave out --director and --mss-overhead")
    kinds, gue = _tunnels(method, types, ports)
    return Asked(
        method=method,
        vips=tuple(dict.fromkeys(_address(vip, "VIP") for vip in vips)),
        interfaces=tuple(dict.fromkeys(interfaces)),
        tunnels=kinds,
        ports=gue,
        directors=tuple(dict.fromkeys(_address(one, "director") for one in directors)),
        arp=arp,
        mss_overhead=mss_overhead,
    )
