"""What ipvsadm has no words for: FULLNAT and its local addresses."""

from __future__ import annotations

import pytest

from pylvs.director.memory import MemoryDirector
from tests.ipvsadm import Outcome, director, ipvsadm

VIP = "192.0.2.80:80"
TITLE = "IP Virtual Server version 1.2.1 (size=4096)\n"
COLUMNS = """\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
"""


@pytest.fixture
def table() -> MemoryDirector:
    """With one service that has a local address, and one server of it."""
    made = director()
    assert ipvsadm(["-A", "-t", VIP, "-s", "rr", "--local-address", "192.0.2.1"], made) == ("", "", 0)
    assert ipvsadm(["-a", "-t", VIP, "-r", "198.51.100.11:8080", "--fullnat"], made) == ("", "", 0)
    return made


def refused(line: str, table: MemoryDirector) -> Outcome:
    outcome = ipvsadm(line.split(), table)
    assert outcome.stdout == ""
    return outcome


def test_lists(table: MemoryDirector) -> None:
    assert ipvsadm(["-Ln"], table).stdout == TITLE + COLUMNS + (
        "TCP  192.0.2.80:80 rr local 192.0.2.1\n"
        "  -> 198.51.100.11:8080           FullNat 1      0          0         \n"
    )  # fmt: skip


def test_saves(table: MemoryDirector) -> None:
    assert ipvsadm(["-Sn"], table).stdout == (
        "-A -t 192.0.2.80:80 -s rr --local-address 192.0.2.1\n"
        "-a -t 192.0.2.80:80 -r 198.51.100.11:8080 --fullnat -w 1\n"
    )


def test_an_edit_that_names_no_local_address_has_none(table: MemoryDirector) -> None:
    assert ipvsadm(["-E", "-t", VIP, "-s", "rr"], table) == ("", "", 0)
    assert "--local-address" not in ipvsadm(["-Sn"], table).stdout


def test_takes_several_and_hosts_and_each_once(table: MemoryDirector) -> None:
    line = ["-E", "-t", VIP, "-s", "rr", "--local-address=192.0.2.1,192.0.2.1"]
    assert ipvsadm(line, table) == ("", "", 0)
    assert "--local-address 192.0.2.1\n" in ipvsadm(["-Sn"], table).stdout


def test_takes_servers_of_the_other_family(table: MemoryDirector) -> None:
    assert ipvsadm(["-a", "-t", VIP, "-r", "[fd00::11]:80", "--fullnat"], table) == ("", "", 0)
    message = "Different address family is allowed only for tunneling servers\n"
    assert refused(f"-a -t {VIP} -r [fd00::12]:80 -m", table) == ("", message, 2)


@pytest.mark.parametrize("text", ["nosuchhost", "192.0.2.1,", ",", "192.0.2.1:80", "[fd00::1]"])
def test_refuses_what_is_no_address(table: MemoryDirector, text: str) -> None:
    outcome = refused(f"-E -t {VIP} --local-address {text}", table)
    assert outcome == ("", "illegal local address specified\n", 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"-E -t {VIP} --local-address 192.0.2.9", "local address 192.0.2.9 is not the director's own: assign it"),
        ("-A -t 192.0.2.1:8080", "local address 192.0.2.1 is the VIP of TCP service 192.0.2.1:8080: take another"),
        (f"-E -t {VIP} --local-address {','.join(f'10.0.0.{n}' for n in range(32))}", "a service may have 31 local"),
        (f"-a -t {VIP} -r 198.51.100.12 --fullnat -m", "multiple 'forwarding-method' options specified"),
        (f"-a -t {VIP} -r 198.51.100.12 --fullnat --tun-type gue", "Tunnel options conflict with forward method"),
        (f"-a -t {VIP} -r 198.51.100.12 --local-address 192.0.2.1", "Illegal 'local-address' option with the"),
        ("-L --local-address 192.0.2.1", "Illegal 'local-address' option with the 'list' command"),
    ],
)
def test_says_what_is_wrong(table: MemoryDirector, line: str, message: str) -> None:
    before = ipvsadm(["-Sn"], table)
    outcome = refused(line, table)
    assert outcome.rc != 0
    assert outcome.stderr.startswith(message)
    assert outcome.stderr.count("\n") == 1
    assert ipvsadm(["-Sn"], table) == before


def test_one_packet_scheduling_goes_without(table: MemoryDirector) -> None:
    assert ipvsadm(["-A", "-u", VIP, "-o"], table).rc == 0
    outcome = refused(f"-a -u {VIP} -r 198.51.100.11 --fullnat", table)
    assert outcome.rc == 255
    assert outcome.stderr.startswith("one-packet scheduling (-o) keeps no connections")
