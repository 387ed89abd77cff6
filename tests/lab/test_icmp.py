"""What real senders make of the ICMP errors that the director relays and makes: paths are found, failures are told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from scapy.layers.inet import ICMP

from pylvs.lab import namespace
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import SECONDS, connect, digest, download, drops, ipvsadm, udp, upload
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
MATRIX = [(method, hook) for method in ("nat", "dr") for hook in ("tc", "xdp")]
MASQ_OR_ROUTE = {"nat": "-m", "dr": "-g"}
MEGABYTE = 10**6
NARROW, NARROWER = 1400, 1300  # a server that knows of the first asks for no more itself
IP_RECVERR = 11


@pytest.fixture(scope="module", params=MATRIX, ids="-".join)
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    method, hook = request.param
    built = LabUnderTest(Lab(f"icmp-{os.getpid()}-{method}-{hook}", ForwardingMethod(method), Hook(hook)))
    yield built
    built.down()


def test_a_server_finds_the_mtu_of_the_path_to_a_client(up: LabUnderTest) -> None:
    """The client's link is narrow, and only the router knows: it tells the VIP, which is the director's."""
    assert up.exec("router", "ip", "link", "set", "eth0", "mtu", str(NARROW)).returncode == 0
    try:
        with connect(up) as connection:
            assert download(connection, MEGABYTE) == digest(MEGABYTE)
    finally:
        up.exec("router", "ip", "link", "set", "eth0", "mtu", "1500")
    client = str(up.topology.node("client").address)
    source = ("from", up.vip) if up.topology.lab.method is ForwardingMethod.DR else ()
    routes = [up.exec(rs, "ip", "route", "get", client, *source).stdout for rs in ("rs1", "rs2")]
    assert any(f"mtu {NARROW}" in route for route in routes), routes


def test_without_a_server_a_connection_is_refused_at_once(up: LabUnderTest) -> None:
    ipvsadm(up, f"-A -t {up.vip}:99 -s rr")
    try:
        with pytest.raises(ConnectionRefusedError):
            connect(up, 99)
        assert drops(up, "no_server") > 0
    finally:
        ipvsadm(up, f"-D -t {up.vip}:99")


def test_an_error_about_a_packet_with_an_unfinished_checksum(up: LabUnderTest) -> None:
    """The client leaves its TCP checksum to the next card: it must not be written into the error."""
    with no_offload(up):
        ipvsadm(up, f"-A -t {up.vip}:99 -s rr")
        try:
            with pytest.raises(ConnectionRefusedError):
                connect(up, 99)
        finally:
            ipvsadm(up, f"-D -t {up.vip}:99")


@contextmanager
def no_offload(up: LabUnderTest) -> Iterator[None]:
    """The director's card computes no checksums for a while: where one is missing, the kernel does."""
    switch = ("ethtool", "-K", "eth0", "tx")
    was = "off" if up.topology.lab.hook is Hook.XDP else "on"
    up.exec("director", *switch, "off")
    try:
        yield
    finally:
        up.exec("director", *switch, was)


def test_a_datagram_to_a_closed_port_is_refused(up: LabUnderTest) -> None:
    """By a NAT server, about its own address: the client hears of the VIP. A DR server tells the client itself."""
    method = MASQ_OR_ROUTE[up.topology.lab.method]
    ipvsadm(up, f"-A -u {up.vip}:98 -s rr")
    try:
        ipvsadm(up, f"-a -u {up.vip}:98 -r {up.rips[0]}:98 {method}")
        with udp(up) as asking:
            asking.connect((up.vip, 98))
            asking.send(b"?")
            with pytest.raises(ConnectionRefusedError):
                asking.recv(100)
    finally:
        ipvsadm(up, f"-D -u {up.vip}:98")


def test_a_trace_shows_the_director(up: LabUnderTest) -> None:
    """Two hops are the router and the director, which answers as the VIP."""
    with udp(up) as asking:
        asking.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
        asking.send(b"?")
        with pytest.raises(OSError, match="No route to host"):
            asking.recv(100)
        _, ancillary, _, _ = asking.recvmsg(100, 512, socket.MSG_ERRQUEUE)
        offender = ancillary[0][2][16 + 4 : 16 + 8]
        assert socket.inet_ntoa(offender) == up.vip


def test_a_client_finds_the_mtu_of_the_path_to_a_server(up: LabUnderTest) -> None:
    """The director's link to it is narrow: the director says what fits."""
    server = up.rips[0]
    method = MASQ_OR_ROUTE[up.topology.lab.method]
    assert up.exec("director", *f"ip route add {server} dev eth0 mtu lock {NARROWER}".split()).returncode == 0
    ipvsadm(up, f"-A -t {up.vip}:8080 -s rr")
    try:
        ipvsadm(up, f"-a -t {up.vip}:8080 -r {server}:8080 {method}")
        with connect(up, 8080) as connection:
            assert upload(connection, MEGABYTE) == digest(MEGABYTE)
        assert drops(up, "too_big") > 0
        assert f"mtu {NARROWER}" in up.exec("client", "ip", "route", "get", up.vip).stdout
    finally:
        ipvsadm(up, f"-D -t {up.vip}:8080")
        up.exec("director", "ip", "route", "del", server)


def test_the_director_answers_an_echo_request(up: LabUnderTest) -> None:
    with namespace.inside(up.namespace("client")):
        asking = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with asking:
        asking.settimeout(SECONDS)
        asking.connect((up.vip, 0))
        asking.send(bytes(ICMP(id=1) / b"ping"))
        assert asking.recv(100)[20:] == bytes(ICMP(type="echo-reply", id=1) / b"ping")
