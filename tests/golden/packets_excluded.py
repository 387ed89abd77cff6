"""The packets that do not come out as from the kernel's IPVS, and why."""

from __future__ import annotations

_LAST_SERVICE = {
    "the last IPv4 service is deleted, an IPv6 service remains (NAT)": [
        "client > VIP",
        "server > client",
    ],
}
"""Connections that outlive their service are kept as with any other service; IPVS lets go of all of its last one's."""

_NO_CHECKSUM = {
    "IPv4 NAT, same port": [
        "UDP without a checksum",
        "from the server: UDP without a checksum",
    ],
}
"""A datagram without a checksum stays without one; IPVS's NAT computes one."""

_WRAPPED_FRAGMENTS = {
    section: ["fragments of a TCP segment"]
    for section in ("IPv4 TUN gre csum", "IPv4 TUN gue nocsum", "IPv4 TUN gue remcsum")
} | {
    "IPv4 TUN ipip": [
        "fragments of a TCP segment",
        "UDP in two fragments, in order",
        "UDP in two fragments, last first",
    ],
}
"""Each fragment is wrapped by itself; IPVS puts the datagram together, wraps it and cuts the outer packet."""

_TUNNEL_ERRORS_6 = {section: ["SYN, hop limit 3"] for section in ("IPv6 TUN gre", "IPv6 TUN gue")}
"""Its time ends behind the director: the client is told, which IPVS does for IPv4 only."""

_QUOTED_CHECKSUMS = {
    "IPv4 NAT, same port": [
        "from the server: SYN+ACK, ttl 2",
    ],
    "ICMP, NAT, other port": [
        "the same (fragmentation needed), with 100 bytes of the packet",
        "fragmentation needed about UDP VIP:53 > client",
        "port unreachable from the client about UDP VIP:53 > client",
        "from the server: port unreachable about UDP client > server:5353",
    ],
    "a real router with MTU 1400 towards the client, NAT": [
        "server sends 1500 bytes with DF: the router says fragmentation needed to the VIP, IPVS hands it to the server",
    ],
    "ICMPv6, NAT, other port": [
        "packet too big, MTU 1300, about TCP VIP:80 > client",
        "no route, about TCP VIP:80 > client",
        "time exceeded",
        "from the server side: packet too big about client > server:8080",
    ],
}
"""NAT changes what an error quotes, and keeps the quoted transport checksum right; IPVS leaves it as it was."""

_TUNNELS_MTU = {
    "ICMP, TUN ipip": [
        "the same with the whole inner header and 8 bytes of TCP",
    ],
}
"""A client is told what fits the tunnel at once; IPVS's first answer is the MTU from before."""

_REASONS = {
    "docs/differences.md: the last service of a family": _LAST_SERVICE,
    "docs/differences.md: UDP without a checksum": _NO_CHECKSUM,
    "docs/differences.md: fragments through a tunnel": _WRAPPED_FRAGMENTS,
    "docs/differences.md: ICMPv6 errors about tunnel packets": _TUNNEL_ERRORS_6,
    "docs/differences.md: ICMP errors about translated packets": _QUOTED_CHECKSUMS,
    "docs/differences.md: a tunnel's path MTU": _TUNNELS_MTU,
}
EXCLUDED = {
    (section, case): reason
    for reason, sections in _REASONS.items()
    for section, cases in sections.items()
    for case in cases
}
"""An entry that has become unnecessary fails its test."""
