"""The demonstration: a lab, ten requests through the VIP, and whether every answer was the one expected."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from pylvs.lab import node
from pylvs.lab.capture import capture
from pylvs.lab.errors import LabError
from pylvs.lab.hop import REPLY, REQUEST, Hop, journey
from pylvs.lab.service import url
from pylvs.lab.topology import Topology
from pylvs.model import ForwardingMethod, IPAddress, Value

REQUESTS = 10
_KEEPS_VIP = (ForwardingMethod.DR, ForwardingMethod.TUN)
_SECONDS = "5"
_FETCH = """
import sys, http.client
connection = http.client.HTTPConnection(sys.argv[1], timeout=float(sys.argv[2]))
connection.request("GET", "/")
sys.stdout.write(connection.getresponse().read().decode())
"""


class Demonstration(Value):
    """What was seen; `complaints` is empty when all of it was as expected."""

    vip: IPAddress
    before: str
    answers: tuple[str, ...]
    after: str
    connections: str
    hops: tuple[Hop, ...]
    complaints: tuple[str, ...]


def demonstrate(network: Topology, vip: IPAddress) -> Demonstration:
    """Ten requests to a VIP, the last one captured. The lab is up and nobody has asked it anything there yet."""
    before = ipvsadm(network, "-Ln")
    answers = [fetch(network, vip) for _ in range(REQUESTS - 1)]
    frames = capture(network, lambda: answers.append(fetch(network, vip)))
    hops = journey(frames)
    return Demonstration(
        vip=vip,
        before=before,
        answers=tuple(answers),
        after=ipvsadm(network, "-Ln"),
        connections=ipvsadm(network, "-Lnc"),
        hops=tuple(hops),
        complaints=tuple(complaints(network, vip, answers, hops)),
    )


def fetch(network: Topology, vip: IPAddress) -> str:
    """The page at a VIP as the client gets it, or what stopped it."""
    argv = ("curl", "-sS", "--max-time", _SECONDS, url(vip))
    if not node.which("curl"):
        argv = (sys.executable, "-c", _FETCH, str(vip), _SECONDS)
    done = node.run(network.namespace("client"), *argv)
    return done.stdout if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no answer"])[-1]


def ipvsadm(network: Topology, *arguments: str) -> str:
    """What `pylvs ipvsadm` says on the director. Raises `LabError`."""
    done = node.run(network.namespace("director"), *node.PYLVS, "ipvsadm", *arguments)
    if done.returncode:
        raise LabError(f"pylvs ipvsadm {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def complaints(network: Topology, vip: IPAddress, answers: Sequence[str], hops: Sequence[Hop]) -> Iterator[str]:
    """Each thing that was not as round robin and a working director make it."""
    for number, answer in enumerate(answers):
        expected = f"hello {network.servers[number % len(network.servers)].address}\n"
        if answer != expected:
            yield f"answer {number + 1} should be {expected.strip()!r}, but is {answer.strip()!r}"
    for word, what in ((REQUEST, "request"), (REPLY, "reply")):
        places = {hop.port.node for hop in hops if hop.packet.payload.startswith(word)}
        if not {"client", "router"} <= places or not any(place.startswith("rs") for place in places):
            yield f"the {what} was not captured all the way, only at: {', '.join(sorted(places)) or 'no place'}"
    yield from _unlike_the_method(network, vip, [hop for hop in hops if hop.packet.payload.startswith(REQUEST)])


def _unlike_the_method(network: Topology, vip: IPAddress, request: Sequence[Hop]) -> Iterator[str]:
    method = network.lab.method
    arrived = [hop.packet for hop in request if hop.port.node.startswith("rs") and not hop.outgoing]
    destinations = [vip] if method in _KEEPS_VIP else network.rips(vip)
    if any(packet.destination.address not in destinations for packet in arrived):
        yield f"the request reached the real server as one to {arrived[0].destination}"
    cip = network.node("client").addresses
    if any((packet.source.address in cip) is (method is ForwardingMethod.FULLNAT) for packet in arrived):
        yield f"the request reached the real server as one from {arrived[0].source}"
    if any(hop.packet.outer for hop in request) is not (method is ForwardingMethod.TUN):
        yield "the request was not wrapped" if method is ForwardingMethod.TUN else "the request was wrapped"
