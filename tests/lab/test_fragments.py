"""Large datagrams through every method, in fragments and in every order; the servers' kernels put them together."""

from __future__ import annotations

import os
import random
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from pylvs.lab import namespace
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import SECONDS, drops, ipvsadm
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
PORT, SIZE, FITS_A_TUNNEL = 9000, 8000, 1400
FLAGS = {"nat": "-m", "dr": "-g", "tun": "-i", "fullnat": "--fullnat"}
MATRIX = [(method, hook) for method in FLAGS for hook in ("tc", "xdp")]
BACKWARDS = b"backwards"
"""How a datagram begins whose answer is to come in fragments with the last one first."""


def fragments(packet: Any, id: int) -> list[bytes]:
    """Raw sockets send them as they are."""
    whole = IP(bytes(packet))
    data = bytes(whole.payload)
    header = {"src": whole.src, "dst": whole.dst, "proto": whole.proto, "id": id}
    cuts = range(0, len(data), FITS_A_TUNNEL)
    return [
        bytes(IP(**header, frag=cut // 8, flags="MF" if cut != cuts[-1] else 0) / Raw(data[cut : cut + FITS_A_TUNNEL]))
        for cut in cuts
    ]


class Echo:
    """A UDP server in a namespace, which says in front of each answer who it is."""

    def __init__(self, lab: LabUnderTest, where: str, address: str) -> None:
        self.name, self.address = where.encode(), address
        with namespace.inside(lab.namespace(where)):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.socket.bind((address, PORT))
        self.answered = 0

    def answer(self) -> None:
        data, (host, port) = self.socket.recvfrom(65535)
        self.answered += 1
        answer = self.name + b" " + data
        if not data.startswith(BACKWARDS):
            self.socket.sendto(answer, (host, port))
            return
        packet = IP(src=self.address, dst=host) / UDP(sport=PORT, dport=port) / Raw(answer)
        for one in reversed(fragments(packet, 40000 + self.answered)):
            self.raw.sendto(one, (host, 0))

    def close(self) -> None:
        self.socket.close()
        self.raw.close()


def serve(echoes: Sequence[Echo], stop: socket.socket) -> None:
    """Until something is to be read from `stop`."""
    with selectors.DefaultSelector() as selector:
        selector.register(stop, selectors.EVENT_READ)
        for echo in echoes:
            selector.register(echo.socket, selectors.EVENT_READ, echo)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    return
                key.data.answer()


def echo_service(lab: LabUnderTest) -> None:
    """At the director, with every real server."""
    ipvsadm(lab, f"-A -u {lab.vip}:{PORT} -s rr")
    for rip in lab.rips:
        ipvsadm(lab, f"-a -u {lab.vip}:{PORT} -r {rip}:{PORT} {FLAGS[lab.topology.lab.method]}")


@contextmanager
def echoing(lab: LabUnderTest) -> Iterator[None]:
    """The real servers answer datagrams meanwhile."""
    rewritten = lab.topology.lab.method in {ForwardingMethod.NAT, ForwardingMethod.FULLNAT}
    with ExitStack() as stack:
        echoes = [Echo(lab, f"rs{number}", rip if rewritten else lab.vip) for number, rip in enumerate(lab.rips, 1)]
        for echo in echoes:
            stack.callback(echo.close)
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=serve, args=(echoes, theirs))
        thread.start()
        stack.callback(theirs.close)
        stack.callback(thread.join)
        stack.callback(ours.close)
        yield


class Client:
    """Sends datagrams in fragments of its own making, and gets answers as any program does."""

    def __init__(self, lab: LabUnderTest, stack: ExitStack) -> None:
        self.lab = lab
        with namespace.inside(lab.namespace("client")):
            self.raw = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
            self.sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(4)]
        for one in self.sockets:
            one.settimeout(SECONDS)
            one.connect((lab.vip, PORT))
        self.ids = iter(range(1000, 60000))

    def fragments(self, number: int, payload: bytes) -> list[bytes]:
        address, port = self.sockets[number].getsockname()
        packet = IP(src=address, dst=self.lab.vip) / UDP(sport=port, dport=PORT) / Raw(payload)
        return fragments(packet, next(self.ids))

    def send(self, packets: Sequence[bytes]) -> None:
        for one in packets:
            self.raw.sendto(one, (self.lab.vip, 0))

    def hear(self, number: int, payload: bytes) -> str:
        """Who answers; the answer must be right."""
        who, _, echoed = self.sockets[number].recv(65535).partition(b" ")
        assert echoed == payload
        return who.decode()


@pytest.fixture(scope="module", params=MATRIX, ids="-".join)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    method, hook = request.param
    with ExitStack() as stack:
        lab = LabUnderTest(Lab(f"fragments-{os.getpid()}-{method}-{hook}", ForwardingMethod(method), Hook(hook)))
        stack.callback(lab.down)
        echo_service(lab)
        stack.enter_context(echoing(lab))
        yield Client(lab, stack)


@pytest.mark.parametrize("answers", [b"forwards", BACKWARDS], ids=bytes.decode)
@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_one_after_the_other(order: str, answers: bytes, client: Client) -> None:
    chosen = random.Random(order)
    for turn in range(20):
        number = turn % 4
        payload = answers + chosen.randbytes(SIZE)
        packets = client.fragments(number, payload)
        if order == "backwards":
            packets.reverse()
        elif order == "shuffled":
            chosen.shuffle(packets)
        client.send(packets)
        client.hear(number, payload)
    assert drops(client.lab, "fragment") == 0


def test_interleaved_and_shuffled(client: Client) -> None:
    """Four clients at a time; each has its server, and both servers have clients."""
    chosen = random.Random(1)
    servers: dict[int, set[str]] = {number: set() for number in range(4)}
    for _ in range(20):
        payloads = [chosen.randbytes(SIZE) for _ in range(4)]
        packets = [one for number in range(4) for one in client.fragments(number, payloads[number])]
        chosen.shuffle(packets)
        client.send(packets)
        for number in range(4):
            servers[number].add(client.hear(number, payloads[number]))
    assert Counter(str(sorted(names)) for names in servers.values()) == {"['rs1']": 2, "['rs2']": 2}
    assert drops(client.lab, "fragment") == 0
