"""The cases of test_behave.py that do not come out as from the kernel's IPVS, and why."""

from __future__ import annotations

_NOT_YET = {
    "no-server": [
        "firewall mark service without a server",
    ],
    "persistence": [
        "mark groups 80 and 443, DR, not persistent",
        "mark, server port given (NAT): every port goes to that port",
    ],
    "quiesce-delete": [
        "nat: server deleted, expire_nodest_conn=1",
        "nat: service deleted, added again",
        "dr: server deleted, expire_nodest_conn=1",
        "dr: ipvsadm -C with an open connection",
        "tun: server deleted, expire_nodest_conn=1",
        "tun: service deleted, added again",
    ],
    "udp-reuse-local": [
        "nat: a client on the director itself",
        "the director is a server too: -r its own address, -g",
        "the director is a server too: -r its own address, -m",
        "NAT: a packet of a server that belongs to no connection, nat_icmp_send=1",
    ],
}
"""What is still to be made, by file."""

_SILENT = "a frame that waits for a neighbour which never answers ends there; nobody tells the client"
_TRACKING = "pylvs forwards before connection tracking sees anything"

EXCLUDED = {
    **{(file, case): "not yet" for file, cases in _NOT_YET.items() for case in cases},
    ("no-server", "nat: the server is dead (no ARP answer)"): _SILENT,
    ("no-server", "dr: the server is dead (no ARP answer)"): _SILENT,
    ("no-server", "the virtual address is not on the director (routed there only)"): "what is routed there is served",
    ("udp-reuse-local", "tun: a client on the director itself"): "its SYNs were repeated at moments that aren't told",
    ("udp-reuse-local", "connection tracking, net.ipv4.vs.conntrack=0"): _TRACKING,
    ("udp-reuse-local", "connection tracking, net.ipv4.vs.conntrack=1"): _TRACKING,
}
"""An entry that has become unnecessary fails its test."""
