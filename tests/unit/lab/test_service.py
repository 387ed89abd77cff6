"""What the director of a lab is told."""

from __future__ import annotations

from pylvs.lab.service import rules
from pylvs.lab.topology import Lab, topology
from pylvs.model import ForwardingMethod


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
