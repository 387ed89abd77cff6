"""What a tunnel puts around a packet, and what has to be left for the packet, in bytes."""

from __future__ import annotations

from pylvs.model.server import Tunnel, TunnelChecksum, TunnelType

OUTER_HEADER = {4: 20, 6: 40}
"""By the version of IP."""
LEAST_MTU = {4: 68, 6: 1280}
"""What every host has to take in one piece (RFC 791, RFC 8200)."""
_BEHIND = {
    (TunnelType.IPIP, TunnelChecksum.NONE): 0,
    (TunnelType.GRE, TunnelChecksum.NONE): 4,
    (TunnelType.GRE, TunnelChecksum.CSUM): 8,
    (TunnelType.GUE, TunnelChecksum.NONE): 12,
    (TunnelType.GUE, TunnelChecksum.CSUM): 12,
    (TunnelType.GUE, TunnelChecksum.REMOTE): 20,
}
"""The outer IP header; GUE's have UDP's among them."""


def tunnel_header(tunnel: Tunnel) -> int:
    """What is between the outer IP header and the packet; IPIP has nothing there."""
    return _BEHIND.get((tunnel.type, tunnel.checksum), 0)


def longest_tunnel_header(type: TunnelType) -> int:
    """The same with the checksum that takes most."""
    return max(size for (one, _), size in _BEHIND.items() if one is type)
