"""The packets that do not come out as from the kernel's IPVS, and why."""

from __future__ import annotations

_NOT_YET = {
    "IPv4 NAT, same port": [
        "UDP without a checksum",
        "from the server: UDP without a checksum",
    ],
    "IPv4 TUN ipip": [
        "data, IP length 1500, no DF",
        "fragments of a TCP segment",
        "UDP, IP length 1500, no DF",
        "UDP in two fragments, in order",
        "UDP in two fragments, last first",
    ],
    "IPv4 TUN gre csum": [
        "data, IP length 1500, no DF",
        "fragments of a TCP segment",
    ],
    "IPv4 TUN gue nocsum": [
        "data, IP length 1500, no DF",
        "fragments of a TCP segment",
    ],
    "IPv4 TUN gue remcsum": [
        "data, IP length 1500, no DF",
        "fragments of a TCP segment",
    ],
    "IPv4 TUN ipip, net.ipv4.vs.pmtu_disc=0": [
        "data, IP length 1500, DF",
        "data, IP length 1500, no DF",
    ],
    "IPv6 TUN gre": [
        "SYN, hop limit 3",
    ],
    "IPv6 TUN gue": [
        "SYN, hop limit 3",
    ],
    "IPv4 TUN to an IPv6 server": [
        "data, IP length 1500, no DF",
    ],
    "the last IPv4 service is deleted, an IPv6 service remains (NAT)": [
        "client > VIP",
        "server > client",
    ],
}
"""What is still to be made, by section."""

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
    "not yet": _NOT_YET,
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
