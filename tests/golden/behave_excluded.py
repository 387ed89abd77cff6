"""The cases of test_behave.py that do not come out as from the kernel's IPVS, and why."""

from __future__ import annotations

_NOT_YET = {
    "udp-reuse-local": [
        "NAT: a packet of a server that belongs to no connection, nat_icmp_send=1",
    ],
}
"""What is still to be made, by file."""

_AT_ONCE = {
    "quiesce-delete": [f"{method}: server deleted, expire_nodest_conn=1" for method in ("nat", "dr", "tun")],
}
"""What clients see is the same; only the listing between the deletion and their next packet is not."""

_LAST_SERVICE = {
    "quiesce-delete": [
        "nat: service deleted, added again",
        "tun: service deleted, added again",
        "dr: ipvsadm -C with an open connection",
    ],
}

_LOCAL_SERVER = {
    "udp-reuse-local": [
        "the director is a server too: -r its own address, -g",
    ],
}

_REASONS = {
    "not yet": _NOT_YET,
    "docs/differences.md: expire_nodest_conn": _AT_ONCE,
    "docs/differences.md: the last service of a family": _LAST_SERVICE,
    "docs/differences.md: the director as its own real server": _LOCAL_SERVER,
}

_SILENT = "a frame that waits for a neighbour which never answers ends there; nobody tells the client"
_TRACKING = "pylvs forwards before connection tracking sees anything"

EXCLUDED = {
    **{(file, case): reason for reason, files in _REASONS.items() for file, cases in files.items() for case in cases},
    ("no-server", "firewall mark service without a server"): "docs/differences.md: errors about marked packets",
    ("no-server", "nat: the server is dead (no ARP answer)"): _SILENT,
    ("no-server", "dr: the server is dead (no ARP answer)"): _SILENT,
    ("no-server", "the virtual address is not on the director (routed there only)"): "what is routed there is served",
    ("udp-reuse-local", "tun: a client on the director itself"): "its SYNs were repeated at moments that aren't told",
    ("udp-reuse-local", "connection tracking, net.ipv4.vs.conntrack=0"): _TRACKING,
    ("udp-reuse-local", "connection tracking, net.ipv4.vs.conntrack=1"): _TRACKING,
}
"""An entry that has become unnecessary fails its test."""
