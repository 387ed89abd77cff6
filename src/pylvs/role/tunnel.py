"""What a tunnel costs: how many bytes it adds, and which MSS that leaves."""

from __future__ import annotations

from collections.abc import Sequence

from pylvs import model
from pylvs.director.ebpf.abi import TunnelType
from pylvs.errors import UsageError
from pylvs.model import IPAddress
from pylvs.model.overhead import LEAST_MTU, OUTER_HEADER, longest_tunnel_header
from pylvs.role import abi
from pylvs.role.asked import Asked

_HEADERS = {4: 40, 6: 60}
"""The inner IP and TCP headers."""


def overhead(asked: Asked, rips: Sequence[IPAddress]) -> int:
    """Bytes that a director puts around a packet, at most."""
    if asked.mss_overhead is not None:
        return asked.mss_overhead
    outer = max(OUTER_HEADER[one.version] for one in asked.directors or rips)
    return outer + max(longest_tunnel_header(model.TunnelType(kind)) for kind in asked.tunnels)


def mss(version: int, mtu: int, added: int) -> int:
    """The largest segment that fits into `mtu` bytes."""
    return max(mtu - added - _HEADERS[version], 0)


def check_mtu(asked: Asked, mtu: int, added: int) -> None:
    """Raises `UsageError` where a VIP's packets would not fit."""
    for version in sorted({vip.version for vip in asked.vips}):
        if mtu - added < LEAST_MTU[version]:
            raise UsageError(
                f"MTU {mtu} is too small for the tunnel: it leaves {mtu - added} bytes, IPv{version} needs "
                f"{LEAST_MTU[version]}",
                hint="raise the MTU between director and real server; or name a smaller --tun-type or --mss-overhead",
            )


def settings(asked: Asked, mtu: int, added: int) -> abi.RealserverSettings:
    """For the programs."""
    bits = sum(1 << TunnelType[kind.upper()] for kind in asked.tunnels)
    made = abi.RealserverSettings(tunnels=bits, only_directors=bool(asked.directors))
    made.gue_port[: len(asked.ports)] = list(asked.ports)
    made.mss_ipv4, made.mss_ipv6 = (mss(version, mtu, added) for version in (4, 6))
    return made
