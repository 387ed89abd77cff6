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
ON = {hook: Lab("x", ForwardingMethod.NAT, hook, families=BOTH) for hook in (Hook.TC, Hook.XDP)}
LABS = {
    **{
        f"{method}, {hook}": asked.replace(method=method)
        for method in (ForwardingMethod.NAT, ForwardingMethod.DR, ForwardingMethod.FULLNAT)
        for hook, asked in ON.items()
    },
    **{
        f"tun, {hook}, {tunnel.type} {tunnel.checksum}": ON[hook].replace(method=ForwardingMethod.TUN, tunnel=tunnel)
        for hook, tunnel in (
            *((hook, tunnel) for tunnel in (IPIP, GUE, GRE) for hook in ON),
            (Hook.TC, GUE_CSUM),
            (Hook.XDP, GUE_REMCSUM),
            (Hook.XDP, GRE_CSUM),
        )
    },
    **{
        f"{method}, {hook}, servers of IPv{family}": ON[hook].replace(method=method, server_family=family)
        for method, hook, family in (
            (ForwardingMethod.TUN, Hook.TC, 6),
            (ForwardingMethod.TUN, Hook.XDP, 4),
            (ForwardingMethod.FULLNAT, Hook.XDP, 6),
            (ForwardingMethod.FULLNAT, Hook.TC, 4),
        )
    },
}


@pytest.fixture(scope="module", params=LABS.values(), ids=list(LABS))
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
    changed = up.topology.lab.method is ForwardingMethod.FULLNAT
    director = {str(address) for address in up.topology.node("director").addresses}
    assert seen in director - {*up.vips} if changed else seen == own


@pytest.mark.parametrize("transfer", [download, upload])
def test_a_megabyte_arrives_as_it_was_sent(
    up: LabUnderTest, vip: str, transfer: Callable[[socket.socket, int], str]
) -> None:
    with connect(up, vip=vip) as connection:
        assert transfer(connection, MEGABYTE) == digest(MEGABYTE)


@pytest.mark.slow
@pytest.mark.parametrize("transfer", [download, upload])
def test_100_megabytes_through_tunnels_on_links_of_1500_bytes(
    up: LabUnderTest, vip: str, transfer: Callable[[socket.socket, int], str]
) -> None:
    if up.topology.lab.method is not ForwardingMethod.TUN or up.topology.lab.tunnel.checksum is not TunnelChecksum.NONE:
        return
    mtu = up.exec("router2", "cat", "/sys/class/net/eth0/mtu", "/sys/class/net/eth1/mtu").stdout.split()
    assert mtu == ["1500", "1500"]
    with connect(up, vip=vip) as connection:
        assert transfer(connection, MEGABYTES_100) == digest(MEGABYTES_100)


def test_tshark_finds_nothing_wrong_with_the_headers(up: LabUnderTest, vip: str, tmp_path: Path) -> None:
    """Lengths, the checksums of IP outside and inside; it knows nothing of GUE. XDP's frames have whole checksums."""
    frames = capture(up.topology, lambda: fetch(up, vip=vip))
    recorded = tmp_path / "arrived.pcap"
    recorded.write_bytes(pcap(frame.content for frame in frames if frame.port.node == "router" and not frame.outgoing))
    checks = ("ip", "udp", "tcp") if up.topology.lab.hook is Hook.XDP else ("ip",)
    options = [word for name in checks for word in ("-o", f"{name}.check_checksum:TRUE")]
    wrong = " or ".join(("_ws.malformed", *(f"{name}.checksum.status == 0" for name in checks)))
    done = up.exec("client", "tshark", "-n", "-r", str(recorded), *options, "-Y", wrong)
    assert (done.returncode, done.stdout) == (0, "")
    seen = up.exec("client", "tshark", "-n", "-r", str(recorded), "-T", "fields", "-e", "frame.protocols").stdout
    assert layers(up.topology.lab, parse_address(vip).version) in seen


def test_the_tunnel_has_the_checksum_that_was_asked_for(up: LabUnderTest, vip: str) -> None:
    """tshark would not miss one."""
    if up.topology.lab.method is not ForwardingMethod.TUN or up.topology.lab.tunnel.type is TunnelType.IPIP:
        return
    frames = capture(up.topology, lambda: fetch(up, vip=vip))
    arrived = [
        l2.Ether(frame.content) for frame in frames if frame.port == Port("router2", "eth0") and not frame.outgoing
    ]
    checksums = [
        frame[UDP].chksum if frame.haslayer(UDP) else frame[l2.GRE].chksum_present
        for frame in arrived
        if frame.haslayer(UDP) or frame.haslayer(l2.GRE)
    ]
    assert checksums
    assert {checksum != 0 for checksum in checksums} == {up.topology.lab.tunnel.checksum is not TunnelChecksum.NONE}


def pcap(contents: Iterable[bytes]) -> bytes:
    """A file of Ethernet frames, all at one time."""
    rows = (struct.pack("=IIII", 0, 0, len(content), len(content)) + content for content in contents)
    return struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(rows)


def layers(asked: Lab, family: int) -> str:
    """How tshark calls what must be there."""
    ip = {4: "ip", 6: "ipv6"}
    inner, outer = f"{ip[family]}:tcp", ip[asked.rip_family(family)]
    if asked.method is not ForwardingMethod.TUN:
        return f":{inner}"
    within = {TunnelType.IPIP: f":{inner}", TunnelType.GRE: f":gre:{inner}", TunnelType.GUE: ":udp"}
    return f":{outer}{within[asked.tunnel.type]}"
