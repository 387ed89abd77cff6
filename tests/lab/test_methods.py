"""Real requests by every forwarding method, in both families, on both hooks, and from one family to the other."""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from scapy.layers import l2
from scapy.layers.inet import UDP

from pylvs.lab.capture import capture
from pylvs.lab.demo import demonstrate
from pylvs.lab.topology import Hook, Lab, Port
from pylvs.model import ForwardingMethod, Tunnel, TunnelChecksum, TunnelType, parse_address
from tests.lab.client import ask, ask_udp, connect, digest, download, fetch, taken_for, udp, upload
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
BOTH = (4, 6)
MEGABYTE, MEGABYTES_100 = 10**6, 10**8
IPIP = Tunnel()
GUE = Tunnel(TunnelType.GUE, 6080)
GUE_CSUM = Tunnel(TunnelType.GUE, 6080, TunnelChecksum.CSUM)
GUE_REMCSUM = Tunnel(TunnelType.GUE, 6080, TunnelChecksum.REMOTE)
GRE = Tunnel(TunnelType.GRE)
GRE_CSUM = Tunnel(TunnelType.GRE, checksum=TunnelChecksum.CSUM)
NAT, DR, TUN, FULLNAT = ForwardingMethod
TC, XDP = Hook.TC, Hook.XDP
ROWS = (
    *((method, hook, IPIP, None) for method in (NAT, DR, FULLNAT) for hook in (TC, XDP)),
    (TUN, TC, IPIP, None),
    (TUN, XDP, IPIP, None),
    (TUN, XDP, GUE, None),
    (TUN, TC, GUE_CSUM, None),
    (TUN, XDP, GUE_REMCSUM, None),
    (TUN, TC, GRE, None),
    (TUN, XDP, GRE_CSUM, None),
    (TUN, TC, GUE, 6),
    (TUN, XDP, GRE, 4),
    (FULLNAT, XDP, IPIP, 6),
    (FULLNAT, TC, IPIP, 4),
)
LABS = [
    Lab("x", method, hook, families=BOTH, tunnel=tunnel, server_family=servers)
    for method, hook, tunnel, servers in ROWS
]
PLAIN_TUN = [lab for lab in LABS if (lab.method, lab.tunnel) == (TUN, IPIP)]


def title(lab: Lab) -> str:
    """What tells a lab from the others."""
    tunnel = f", {lab.tunnel.type} {lab.tunnel.checksum}" if lab.method is TUN else ""
    return f"{lab.method}, {lab.hook}{tunnel}{f', servers of IPv{lab.server_family}' if lab.server_family else ''}"


@pytest.fixture(scope="module", params=LABS, ids=title)
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    built = LabUnderTest(request.param.replace(name=f"methods-{os.getpid()}"))
    yield built
    built.down()


@pytest.fixture(params=range(len(BOTH)), ids=["IPv4", "IPv6"])
def vip(up: LabUnderTest, request: pytest.FixtureRequest) -> str:
    which: int = request.param
    return up.vips[which]


def test_a_demonstration_is_content(up: LabUnderTest, vip: str) -> None:
    """It comes first: its ten requests are to find the service as it was made."""
    seen = demonstrate(up.topology, parse_address(vip))
    assert seen.complaints == ()


def test_udp_alternates_by_client_port_and_stays(up: LabUnderTest, vip: str) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(udp(up, vip)) for _ in range(4)]
        answers = [ask_udp(one) for one in sockets]
        assert Counter(answers) == dict.fromkeys(up.rips, 2)
        assert [ask_udp(one) for one in sockets] == answers


def test_connections_at_once(up: LabUnderTest, vip: str) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(up, vip=vip)) for _ in range(40)]
        answers = [ask(one) for one in connections]
        assert Counter(answers) == dict.fromkeys(up.rips, 20)
        assert [ask(one) for one in reversed(connections)] == answers[::-1]


def test_the_real_server_sees_the_client_unless_its_address_was_changed(up: LabUnderTest, vip: str) -> None:
    with connect(up, vip=vip) as connection:
        own, _ = connection.getsockname()[:2]
        seen = taken_for(connection).rpartition(":")[0].strip("[]")
    changed = up.topology.lab.method is FULLNAT
    director = {str(address) for address in up.topology.node("director").addresses}
    assert seen in director - {*up.vips} if changed else seen == own


@pytest.mark.parametrize("transfer", [download, upload])
def test_a_megabyte_arrives_as_it_was_sent(
    up: LabUnderTest, vip: str, transfer: Callable[[socket.socket, int], str]
) -> None:
    with connect(up, vip=vip) as connection:
        assert transfer(connection, MEGABYTE) == digest(MEGABYTE)


@pytest.mark.slow
@pytest.mark.parametrize("up", PLAIN_TUN, ids=title, indirect=True)
@pytest.mark.parametrize("transfer", [download, upload])
def test_100_megabytes_through_tunnels_on_links_of_1500_bytes(
    up: LabUnderTest, vip: str, transfer: Callable[[socket.socket, int], str]
) -> None:
    mtu = up.exec("router2", "cat", "/sys/class/net/eth0/mtu", "/sys/class/net/eth1/mtu").stdout.split()
    assert mtu == ["1500", "1500"]
    with connect(up, vip=vip) as connection:
        assert transfer(connection, MEGABYTES_100) == digest(MEGABYTES_100)


def test_tshark_finds_nothing_wrong_with_the_headers(up: LabUnderTest, vip: str, tmp_path: Path) -> None:
    """Lengths, the checksums of IP outside and inside; it knows nothing of GUE. XDP's frames have whole checksums."""
    frames = capture(up.topology, lambda: fetch(up, vip=vip))
    recorded = tmp_path / "arrived.pcap"
    recorded.write_bytes(pcap(frame.content for frame in frames if frame.port.node == "router" and not frame.outgoing))
    checks = ("ip", "udp", "tcp") if up.topology.lab.hook is XDP else ("ip",)
    options = [word for name in checks for word in ("-o", f"{name}.check_checksum:TRUE")]
    wrong = " or ".join(("_ws.malformed", *(f"{name}.checksum.status == 0" for name in checks)))
    done = up.exec("client", "tshark", "-n", "-r", str(recorded), *options, "-Y", wrong)
    assert (done.returncode, done.stdout) == (0, "")
    seen = up.exec("client", "tshark", "-n", "-r", str(recorded), "-T", "fields", "-e", "frame.protocols").stdout
    assert layers(up.topology.lab, parse_address(vip).version) in seen


def test_the_tunnel_has_the_checksum_that_was_asked_for(up: LabUnderTest, vip: str) -> None:
    """tshark would not miss one. (Without GUE or GRE there is none to have.)"""
    frames = capture(up.topology, lambda: fetch(up, vip=vip))
    arrived = [
        l2.Ether(frame.content) for frame in frames if frame.port == Port("router2", "eth0") and not frame.outgoing
    ]
    found = {frame[UDP].chksum != 0 for frame in arrived if frame.haslayer(UDP)}
    found |= {bool(frame[l2.GRE].chksum_present) for frame in arrived if frame.haslayer(l2.GRE)}
    tunnel = up.topology.lab.tunnel
    assert found == (set() if tunnel.type is TunnelType.IPIP else {tunnel.checksum is not TunnelChecksum.NONE})


def pcap(contents: Iterable[bytes]) -> bytes:
    """A file of Ethernet frames, all at one time."""
    rows = (struct.pack("=IIII", 0, 0, len(content), len(content)) + content for content in contents)
    return struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(rows)


def layers(asked: Lab, family: int) -> str:
    """How tshark calls what must be there."""
    ip = {4: "ip", 6: "ipv6"}
    inner, outer = f"{ip[family]}:tcp", ip[asked.rip_family(family)]
    if asked.method is not TUN:
        return f":{inner}"
    within = {TunnelType.IPIP: f":{inner}", TunnelType.GRE: f":gre:{inner}", TunnelType.GUE: ":udp"}
    return f":{outer}{within[asked.tunnel.type]}"
