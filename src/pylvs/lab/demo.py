"""The demonstration: a lab, ten requests through the VIP, and whether every answer was the one expected."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from pylvs.lab import node
from pylvs.lab.capture import capture
from pylvs.lab.errors import LabError
from pylvs.lab.hop import REPLY, REQUEST, Hop, journey
from pylvs.lab.topology import Topology
from pylvs.model import Value

REQUESTS = 10
_SECONDS = "5"
_FETCH = """
import sys, http.client
connection = http.client.HTTPConnection(sys.argv[1], timeout=float(sys.argv[2]))
connection.request("GET", "/")
sys.stdout.write(connection.getresponse().read().decode())
"""


class Demonstration(Value):
    """What was seen; `complaints` is empty when all of it was as expected."""

    before: str
    answers: tuple[str, ...]
    after: str
    connections: str
    hops: tuple[Hop, ...]
    complaints: tuple[str, ...]


def demonstrate(network: Topology) -> Demonstration:
    """Ten requests from the client, the last one captured. The lab is up and nobody has asked it anything yet."""
    before = ipvsadm(network, "-Ln")
    answers = [fetch(network) for _ in range(REQUESTS - 1)]
    frames = capture(network, lambda: answers.append(fetch(network)))
    hops = journey(frames)
    return Demonstration(
        before=before,
        answers=tuple(answers),
        after=ipvsadm(network, "-Ln"),
        connections=ipvsadm(network, "-Lnc"),
        hops=tuple(hops),
        complaints=tuple(complaints(network, answers, hops)),
    )


def fetch(network: Topology) -> str:
    """The page at the VIP as the client gets it, or what stopped it."""
    argv = ("curl", "-sS", "--max-time", _SECONDS, f"http://{network.vip}/")
    if not node.which("curl"):
        argv = (sys.executable, "-c", _FETCH, str(network.vip), _SECONDS)
    done = node.run(network.namespace("client"), *argv)
    return done.stdout if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no answer"])[-1]


def ipvsadm(network: Topology, *arguments: str) -> str:
    """What `pylvs ipvsadm` says on the director. Raises `LabError`."""
    done = node.run(network.namespace("director"), *node.PYLVS, "ipvsadm", *arguments)
    if done.returncode:
        raise LabError(f"pylvs ipvsadm {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def complaints(network: Topology, answers: Sequence[str], hops: Sequence[Hop]) -> Iterator[str]:
    """Each thing that was not as round robin and a working director make it."""
    for number, answer in enumerate(answers):
        expected = f"hello {network.servers[number % len(network.servers)].address}\n"
        if answer != expected:
            yield f"answer {number + 1} should be {expected.strip()!r}, but is {answer.strip()!r}"
    for word, what in ((REQUEST, "request"), (REPLY, "reply")):
        places = {hop.port.node for hop in hops if hop.packet.payload.startswith(word)}
        if not {"client", "router"} <= places or not any(place.startswith("rs") for place in places):
            yield f"the {what} was not captured all the way, only at: {', '.join(sorted(places)) or 'no place'}"
