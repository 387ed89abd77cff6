"""Real sockets: the client's own tc program encapsulates, with segmentation offload; the real server takes it apart."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylvs.director.ebpf.abi import TunnelType
from pylvs.lab import namespace
from tests.realserver.network import CIP, CIP6, VIP, VIP6, Network, connected, sending

pytestmark = [pytest.mark.root, pytest.mark.lab]

_MEGABYTE = 1 << 20
_SOL_UDP, _UDP_SEGMENT = 17, 103


@pytest.fixture
def network() -> Iterator[Network]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it builds network namespaces")
    made = Network()
    yield made
    made.close()


@pytest.mark.parametrize("vip", [VIP, VIP6])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", TunnelType)
def test_an_upload_at_full_speed(network: Network, tmp_path: Path, kind: TunnelType, family: int, vip: str) -> None:
    network.up()
    network.tunnel(tmp_path, kind, family)
    client, server = connected(network, vip)
    chunk = random.Random(1).randbytes(_MEGABYTE)
    received = bytearray()
    with client, server:
        with sending(client, chunk, 100):
            while data := server.recv(_MEGABYTE):
                received += data
        server.sendall(b"done")
        assert client.recv(9) == b"done"
    assert received == chunk * 100
    counters = network.status()["counters"]
    assert 0 < counters[kind.name.lower()] < 100 * _MEGABYTE / 1500, "the sender's segments were still in one"
    assert not [name for name, number in counters.items() if number and name.startswith(("drop_", "left_"))]


@pytest.mark.parametrize("vip", [VIP, VIP6])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", TunnelType)
def test_datagrams(network: Network, tmp_path: Path, kind: TunnelType, family: int, vip: str) -> None:
    """Also several in one, as QUIC's clients send them; they come out one by one, or were dropped by name."""
    network.up()
    network.tunnel(tmp_path, kind, family)
    socket_family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    with namespace.inside(network.server):
        server = socket.socket(socket_family, socket.SOCK_DGRAM)
        server.bind((vip, 53))
    with namespace.inside(network.client):
        client = socket.socket(socket_family, socket.SOCK_DGRAM)
    with client, server:
        server.settimeout(5)
        for sent in (b"", b"odd", bytes(1300)):
            client.sendto(sent, (vip, 53))
            data, sender = server.recvfrom(2000)
            assert (data, sender[0]) == (sent, CIP6 if ":" in vip else CIP)
        client.setsockopt(_SOL_UDP, _UDP_SEGMENT, 1000)
        client.sendto(b"".join(bytes([number]) * 1000 for number in range(9)), (vip, 53))
        if kind is TunnelType.GUE:
            assert network.status()["counters"]["drop_datagrams"] == 1
            return
        for number in range(9):
            assert server.recv(2000) == bytes([number]) * 1000


def test_the_clients_segments_fit_through_the_tunnel(network: Network, tmp_path: Path) -> None:
    network.up("--tun-type", "ipip", "--mss-overhead", "60")
    network.tunnel(tmp_path, TunnelType.IPIP, 4)
    for vip, mss in ((VIP, 1500 - 60 - 40), (VIP6, 1500 - 60 - 60)):
        client, server = connected(network, vip)
        with client, server:
            timestamps = 12  # the kernel counts its TCP option out
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == mss - timestamps
    assert network.status()["counters"]["clamped"] == 2
