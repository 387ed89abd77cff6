"""The cases of test_behave.py that do not come out as from the kernel's IPVS, and why."""

from __future__ import annotations

_NOT_YET = {
    "no-server": [
        "TCP service without a server",
        "TCP service without a server, persistent",
        "UDP service without a server",
        "the only server has reached its upper threshold",
        "TCP service without a server (IPv6)",
        "TCP service, every weight 0 (IPv6)",
        "UDP service without a server (IPv6)",
        "no service at that port (IPv6)",
        "a UDP service only, TCP asked (IPv6)",
        "firewall mark service without a server",
        "no route to the server",
    ],
    "persistence": [
        "persistent 30, netmask 255.255.255.0",
        "two persistent services, each its own templates",
        "port 0 service: ports 80, 443, 8080 to one server",
        "mark groups 80 and 443, DR, not persistent",
        "mark, server port given (NAT): every port goes to that port",
        "persistent, weight 0: the old client stays, a new one goes elsewhere",
    ],
    "quiesce-delete": [
        "nat: server deleted, expire_nodest_conn=1",
        "nat: service deleted, added again",
        "dr: server deleted, expire_nodest_conn=1",
        "dr: ipvsadm -C with an open connection",
        "tun: weight 0 lets old connections go on, takes no new ones",
        "tun: server deleted, expire_nodest_conn=1",
        "tun: service deleted, added again",
        "tun: service deleted while another service is there, added again",
    ],
    "udp-reuse-local": [
        "dr: UDP with one-packet scheduling, real servers answer",
        "tun: UDP, real servers answer",
        "nat: the client uses its port again, old connection closing, conn_reuse_mode=0",
        "nat: port used again, server at weight 0, conn_reuse_mode=0",
        "dr: the client uses its port again, old connection closing, conn_reuse_mode=2",
        "nat: a client on the director itself",
        "the director is a server too: -r its own address, -g",
        "the director is a server too: -r its own address, -m",
        "the listener of the director stands back while a service has its port",
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
