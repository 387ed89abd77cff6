"""What the director and the real servers of a lab are told."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pylvs.lab.service import marking, realserver, rules, url
from pylvs.lab.topology import Lab, topology
from pylvs.model import ForwardingMethod, Tunnel, TunnelChecksum, TunnelType


def lines(lab: Lab) -> list[str]:
    return [" ".join(rule) for rule in rules(topology(lab))]


def test_nat() -> None:
    assert lines(Lab("x", ForwardingMethod.NAT)) == [
        "-A -t 192.168.101.100:80 -s rr",
        "-a -t 192.168.101.100:80 -r 192.168.101.210:80 -m",
        "-a -t 192.168.101.100:80 -r 192.168.101.110:80 -m",
        "-A -u 192.168.101.100:80 -s rr",
        "-a -u 192.168.101.100:80 -r 192.168.101.210:80 -m",
        "-a -u 192.168.101.100:80 -r 192.168.101.110:80 -m",
    ]


def test_dr_with_another_scheduler_and_one_server() -> None:
    assert lines(Lab("x", ForwardingMethod.DR, servers=1, scheduler="wlc"))[:2] == [
        "-A -t 192.168.0.250:80 -s wlc",
        "-a -t 192.168.0.250:80 -r 192.168.0.188:80 -g",
    ]


GUE = Tunnel(TunnelType.GUE, 6080, TunnelChecksum.CSUM)
SERVICES = {
    "TUN": (
        Lab("x", ForwardingMethod.TUN, servers=1),
        ["-A -t 198.51.100.100:80 -s rr", "-a -t 198.51.100.100:80 -r 203.0.113.110:80 -i"],
    ),
    "TUN in IPv6 with GUE": (
        Lab("x", ForwardingMethod.TUN, servers=1, families=(6,), tunnel=GUE),
        [
            "-A -t [2001:db8:51::100]:80 -s rr",
            "-a -t [2001:db8:51::100]:80 -r [2001:db8:113::110]:80 -i --tun-type gue --tun-port 6080 --tun-csum",
        ],
    ),
    "FULLNAT maps the port": (
        Lab("x", ForwardingMethod.FULLNAT, servers=1),
        ["-A -t 192.168.101.100:80 -s rr", "-a -t 192.168.101.100:80 -r 192.168.10.11:8080 --fullnat"],
    ),
    "FULLNAT from IPv6 to IPv4": (
        Lab("x", ForwardingMethod.FULLNAT, servers=1, families=(6,), server_family=4),
        ["-A -t [fd00:101::100]:80 -s rr", "-a -t [fd00:101::100]:80 -r 192.168.10.11:8080 --fullnat"],
    ),
    "persistent": (
        Lab("x", ForwardingMethod.DR, servers=1, persistence=60),
        ["-A -t 192.168.0.250:80 -s rr -p 60", "-a -t 192.168.0.250:80 -r 192.168.0.188:80 -g"],
    ),
    "one mark for both families": (
        Lab("x", ForwardingMethod.NAT, servers=1, families=(4, 6), mark=10, persistence=300),
        [
            "-A -f 10 -s rr -p 300",
            "-a -f 10 -r 192.168.101.110 -m",
            "-A -f 10 -6 -s rr -p 300",
            "-a -f 10 -6 -r fd00:101::110 -m",
        ],
    ),
}


@pytest.mark.parametrize(("lab", "expected"), SERVICES.values(), ids=SERVICES)
def test_services(lab: Lab, expected: list[str]) -> None:
    assert lines(lab)[: len(expected)] == expected


def test_both_families_have_both_protocols() -> None:
    added = [line for line in lines(Lab("x", ForwardingMethod.NAT, families=(4, 6))) if line.startswith("-A")]
    assert [line.split()[1:3] for line in added] == [
        [protocol, vip] for vip in ("192.168.101.100:80", "[fd00:101::100]:80") for protocol in ("-t", "-u")
    ]


def test_only_tun_has_something_for_the_real_servers_to_do() -> None:
    network = topology(Lab("x", ForwardingMethod.TUN, families=(4, 6), tunnel=GUE))
    assert " ".join(realserver(network)) == (
        "up --method tun --vip 198.51.100.100 --vip 2001:db8:51::100 --tun-type gue --tun-port 6080"
        " --director 198.51.100.200 --director 2001:db8:51::200"
    )
    others = (method for method in ForwardingMethod if method is not ForwardingMethod.TUN)
    assert [realserver(topology(Lab("x", method))) for method in others] == [[], [], []]


def test_marking() -> None:
    rows = marking(topology(Lab("x", ForwardingMethod.DR, families=(4, 6), mark=10))).splitlines()
    assert [row.split()[:3] for row in rows if " daddr " in row] == [
        ["ip", "daddr", "192.168.0.250"],
        ["ip6", "daddr", "fd00::250"],
    ]
    assert all(row.endswith("th dport { 80, 443 } meta mark set 10") for row in rows if " daddr " in row)
    assert marking(topology(Lab("x", ForwardingMethod.DR))) == ""


@pytest.mark.parametrize(("address", "expected"), [("10.0.0.1", "http://10.0.0.1/"), ("fd00::1", "http://[fd00::1]/")])
def test_url(address: str, expected: str) -> None:
    assert url(ip_address(address)) == expected
