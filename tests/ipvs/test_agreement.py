"""The real ipvsadm and pylvs's side by side on one kernel's table: whoever changes it, both list the same bytes."""

from __future__ import annotations

import socket

import pytest

from tests.golden.test_transcripts import Step, _cases
from tests.ipvs.kernel import LISTINGS, Kernel, agree, ours, real_ipvsadm

CHANGES = """\
-A -t 192.0.2.80:80 -s wrr -p 60 -M 255.255.255.0
-a -t 192.0.2.80:80 -r 198.51.100.11:8080 -m -w 3 -x 100 -y 50
-a -t 192.0.2.80:80 -r 198.51.100.12 -g -w 0
-A -t 10.0.0.1:443 -s mh -b mh-port,mh-fallback
-A -t [fd00::80]:80 -s lblc
-a -t [fd00::80]:80 -r 198.51.100.14 -i --tun-type gue --tun-port 6080 --tun-remcsum
-a -t [fd00::80]:80 -r 198.51.100.15 -i --tun-type gre --tun-csum -w 2147483647
-A -u 192.0.2.80:53 -s sed -o
-A --sctp-service 192.0.2.80:36412
-A -f 4294967295 -s sh -b sh-port
-A -f 7 -6 -s nq -p
-a -f 7 -6 -r fd00:1::11 -m
-A -t 224.0.0.80:80 -s fo
-e -t 192.0.2.80:80 -r 198.51.100.11:8080 -m -w 5
-E -t 192.0.2.80:80 -s ovf
-d -t 192.0.2.80:80 -r 198.51.100.12:80
--set 1000 0 77
-Z
-D -u 192.0.2.80:53
-a -t 192.0.2.80:80 -r 224.0.0.1 -m
-A -t 192.0.2.80:80
-d -t 192.0.2.80:80 -r 198.51.100.99:80
-C"""
"""The last ones but one are refused."""


@pytest.mark.parametrize("turn", [0, 1], ids=["the real one begins", "pylvs begins"])
def test_they_list_the_same(own: Kernel, turn: int) -> None:
    """One of the listings after each change, another after the next; after the last but one all of them."""
    *changes, flush = CHANGES.splitlines()
    for count, line in enumerate(changes):
        words = line.split()
        outcome = ours(words, own.director) if count % 2 == turn else real_ipvsadm(words)
        assert not outcome.stdout, line
        agree(own.director, LISTINGS[count % len(LISTINGS)])
    for listing in LISTINGS:
        agree(own.director, listing)
    ours(flush.split(), own.director)
    agree(own.director, "-Ln")


@pytest.mark.parametrize("change", ["-a -t 192.0.2.80:80 -r 224.0.0.1 -m", "-A -t 192.0.2.80:80", "-D -f 9"])
def test_they_are_refused_the_same(own: Kernel, change: str) -> None:
    real_ipvsadm(["-A", "-t", "192.0.2.80:80"])
    told = ours(change.split(), own.director)
    assert told == real_ipvsadm(change.split())
    assert told.rc == 255


@pytest.mark.parametrize("name", ["addresses -t", "differences that wrap, table 1"])
def test_they_have_the_same_order(own: Kernel, name: str) -> None:
    """Where it depends on the kernel's hash table, which is seeded at random."""
    steps: list[Step] = next(one.values[1]["steps"] for one in _cases() if one.values[1]["name"] == name)
    listed = 0
    for step in steps:
        outcome = ours(step["argv"][1:], own.director, step["stdin"] or "")
        if outcome.stdout:
            assert outcome == real_ipvsadm(step["argv"][1:])
            listed = max(listed, outcome.stdout.count("\n"))
    assert listed > 10


def test_they_list_what_an_engine_knows_the_same(own: Kernel) -> None:
    """A call from the director itself, for which it takes NAT."""
    service = "192.0.2.1:5060"
    real_ipvsadm(["-A", "-u", service, "-s", "rr", "-p", "60", "--pe", "sip"])
    real_ipvsadm(["-a", "-u", service, "-r", "192.0.2.11:5060", "-m"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.sendto(b"INVITE sip:b@192.0.2.1 SIP/2.0\r\nCall-ID: call-one@h\r\n\r\n", ("192.0.2.1", 5060))
    assert "call-one@h" in real_ipvsadm(["-Lnc", "--persistent-conn"]).stdout
    for listing in ("-Lnc --persistent-conn", "-Lnc"):
        agree(own.director, listing)
