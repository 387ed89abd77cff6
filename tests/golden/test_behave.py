"""What clients of a real kernel's IPVS saw, step by step, and what ours see: refusals, quiescing, deletion, reuse."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from tests.golden import told
from tests.golden.behave_excluded import EXCLUDED
from tests.golden.conversing import RESET, Conversation, Conversing
from tests.golden.listed import agree
from tests.golden.network import VIP, VIP6, Network
from tests.ipvsadm import Outcome
from tests.packets.space import inside, ip

pytestmark = [pytest.mark.root, pytest.mark.lab]

FILES = ("no-server", "persistence", "quiesce-delete", "udp-reuse-local")
CASES = {
    (file, case["name"]): case["steps"]
    for file in FILES
    for case in json.loads((Path(__file__).parent / "behave" / f"{file}.json").read_text())["cases"]
}
SILENCE_SECONDS = 4
ELSEWHERE = "10.20.7.7"
OWN_PORTS = count(30500)
"""Of clients on the director, whose connections the host remembers as long as it likes."""

UNSAID = {
    **{
        ("quiesce-delete", f"{method}: service deleted, added again"): {3: [f"a connection to {method[0]}2"]}
        for method in ("nat", "tun")
    },
    **{
        ("quiesce-delete", f"{method}: service deleted while another service is there, added again"): {
            4: [f"a connection to {node}2"]
        }
        for method, node in (("nat", "n"), ("dr", "g"), ("tun", "t"))
    },
    ("quiesce-delete", "dr: ipvsadm -C with an open connection"): {3: ["a connection to g2"]},
    **{
        ("udp-reuse-local", f"nat: port used again, server at weight 0, conn_reuse_mode={mode}"): {
            3: ["first connection: n2"]
        }
        for mode in range(3)
    },
    ("no-server", "firewall mark service without a server"): {1: ["packets for ports 80 and 443 get mark 3"]},
    ("persistence", "mark groups 80 and 443, DR, not persistent"): {3: ["packets for ports 80 and 443 get mark 1"]},
    ("persistence", "mark, server port given (NAT): every port goes to that port"): {
        2: ["packets for ports 80 and 443 get mark 1"]
    },
    ("no-server", "no route to the server"): {2: ["no route to 203.0.113.5"]},
    ("no-server", "the virtual address is not on the director (routed there only)"): {0: ["routed there"]},
    ("udp-reuse-local", "the listener of the director stands back while a service has its port"): {
        0: [f"director-vip listens on {VIP}"]
    },
    ("udp-reuse-local", "the director is a server too: -r its own address, -g"): {
        3: ["director-rip listens on 10.20.0.2"],
        4: [f"director-vip listens on {VIP}"],
    },
    ("udp-reuse-local", "the director is a server too: -r its own address, -m"): {2: ["director listens on 10.20.0.2"]},
    ("udp-reuse-local", "SYN+ACK of a client without a connection"): {2: ["client port 34004: iSA oR"]},
}
"""What happened before a step though the recording doesn't say so."""


class Behaving(Conversing):
    """Does what sentences say, and says what came of it in the same words."""

    def __init__(self, network: Network, case: str) -> None:
        super().__init__(network)
        self.vip, self.cip = (VIP6, "fd00:10::2") if "IPv6" in case else (VIP, "10.10.0.2")
        if "not on the director" in case:
            self.vip = ELSEWHERE
        self.held: list[Conversation] = []
        for name, value in re.findall(r"(conn_reuse_mode|expire_nodest_conn|nat_icmp_send)=(\d)", case):
            self.knob(name, value)

    def tell(self, sentence: str) -> str:
        """The sentence as it is here; raises `KeyError` for one that says nothing to it."""
        if sentence.startswith("packets at the "):
            return self.packets(sentence)
        for log in self.log.values():
            log.clear()
        for pattern, act in _PHRASES.items():
            if match := re.fullmatch(pattern, sentence):
                said = act(self, **{name: value for name, value in match.groupdict().items() if name != "result"})
                self.network.advance(1)
                start = match.start("result")
                return sentence[:start] + said + sentence[match.end("result") :]
        self.do(sentence)
        return sentence

    def packets(self, sentence: str) -> str:
        """The sentence itself if what arrived since the last one is what it tells."""
        node = "c" if "client" in sentence else "n1"
        if self.log[node] == told.recorded(sentence):
            return sentence
        return "\n".join(["these arrived:", *sorted(self.log[node])])

    # -- one connection after the other

    def visits(self, count: str = "1", client: str = "", port: str = "80", ports: str = "", like: str = "") -> str:
        """Who was visited, one after the other; as many as it is said to have been."""
        to = ports.split() or [port] * (len(like.split()) or int(count))
        return " ".join(self.visit(client or self.cip, int(one), address=self.vip) for one in to)

    def on_director(self, count: str) -> str:
        return " ".join(self.from_director(next(OWN_PORTS)) for _ in range(int(count)))

    def three(self) -> str:
        return ", ".join(self.visits("3").split())

    def reuse(self, port: str, how: str) -> str:
        """Connect from a given port, end it, and say which states that port is in then."""
        conversation = self.connect(sport=int(port))
        {"closed": conversation.close, "reset": conversation.reset}[how]()
        found = [
            (str(one.state), str(one.server.address))
            for one in self.network.connections()
            if one.client.port == int(port)
        ]
        return f"{conversation.server}, then {how}: {found}"

    def first(self) -> str:
        return self.visit(sport=33001)

    # -- connections that are held

    def hold(self, count: str = "1") -> str:
        numbers = {"two": 2, "1": 1}
        for _ in range(numbers[count]):
            self.held.append(self.connect(self.cip, address=self.vip))
        return ", ".join(one.server for one in self.held[-numbers[count] :])

    def echo(self, which: str = "second") -> str:
        return repr({"first": self.held[0], "second": self.held[-1]}[which].echo("ping"))

    def send(self) -> str:
        said = self.held[-1].echo("ping")
        if said == RESET:
            return said
        self.passing(str(SILENCE_SECONDS))
        return said or f"no answer within {SILENCE_SECONDS} s"

    # -- datagrams and single packets

    def question(self, text: str, port: str) -> str:
        return self.datagram(text, 31000 + int(port))

    def asks(self) -> str:
        return " ".join(self.datagram(f"r{number}", 31100) for number in range(3))

    def refused_datagram(self) -> str:
        return self.datagram("x", 31200, self.cip, address=self.vip)

    def one_packet(self, number: str) -> str:
        return self.datagram(f"q{number}", 32000)

    def unsolicited(self) -> str:
        """From a NAT server without a connection."""
        outer = IP(src="10.30.0.11", dst=self.cip, flags="DF")
        for packet in (
            outer / TCP(sport=80, dport=34000, flags="PA") / b"data",
            outer / TCP(sport=22, dport=34000, flags="PA") / b"ten bytes!",
            outer / UDP(sport=80, dport=34000) / b"x",
        ):
            self.network.send("n1", bytes(packet))
            self.arrived()
        return ""

    def ping(self) -> str:
        answers = 0
        for number in range(2):
            self.network.send("c", bytes(IP(src=self.cip, dst=self.vip) / ICMP(seq=number)))
            _, back = self.arrived()
            answers += back is not None and ICMP in back and back[ICMP].type == 0
        return str(answers)

    # -- the director and the router

    def local_route(self) -> str:
        ip(f"route add local {ELSEWHERE} dev lo")
        self.undo.append(lambda: ip(f"route del local {ELSEWHERE} dev lo"))
        return ""

    def no_route(self, address: str) -> str:
        ip(f"route add unreachable {address}")
        self.undo.append(lambda: ip(f"route del unreachable {address}"))
        return ""

    def routed(self) -> str:
        self._router(f"route add {ELSEWHERE} via 10.20.0.2")
        self.undo.append(lambda: self._router(f"route del {ELSEWHERE}"))
        return ""

    def _router(self, command: str) -> None:
        with inside(self.network.router):
            ip(command)

    def listens(self, name: str, address: str) -> str:
        self.listen(name, address)
        return ""


_PHRASES: dict[str, Callable[..., str]] = {
    r"connect( \(8 s\))?: (?P<result>.*)": Behaving.visits,
    r"datagram: (?P<result>.*)": Behaving.refused_datagram,
    r"(first|second): (?P<result>.*)": Behaving.hold,
    r"(?P<count>\d+) connections( of one client| \(listener bound to .*\))?: (?P<result>.*)": Behaving.visits,
    r"(?P<count>\d+) connections of (?P<client>[\d.]+): (?P<result>.*)": Behaving.visits,
    r"(no service|service (added|deleted)|its only server deleted|a new connection): (?P<result>.*)": Behaving.visits,
    r"first connection: (?P<result>\w+)": Behaving.first,
    r"first connection: n2; second, its server now at weight 0: (?P<result>\w+)": Behaving.first,
    r"three new connections: (?P<result>.*)": Behaving.three,
    r"connection \d from port (?P<port>\d+): (?P<result>\w+, then (?P<how>closed|reset): .*)": Behaving.reuse,
    r"(?P<count>two) connections: (?P<result>.*)": Behaving.hold,
    r"a connection to (?P<result>.*)": Behaving.hold,
    r"(?P<which>first|second) connection \(.*\): echo (?P<result>.*)": Behaving.echo,
    r"(old connection|the same connection).*: (?P<result>.*)": Behaving.echo,
    r"client( \(connected to .*\))? sends: (?P<result>.*)": Behaving.send,
    r"client port \+(?P<port>\d): (?P<result>\w+ (?P<text>.*))": Behaving.question,
    r"same port three times: (?P<result>.*)": Behaving.asks,
    r"the same client port, datagram (?P<number>\d): (?P<result>.*)": Behaving.one_packet,
    r"server 10.30.0.11 sends from port 80 \(TCP\), 22 \(TCP\), 80 \(UDP\)(?P<result>)": Behaving.unsolicited,
    r"ping: 2 packets transmitted, (?P<result>\d) received.*": Behaving.ping,
    f"director: ip route add local {ELSEWHERE} dev lo(?P<result>)": Behaving.local_route,
    r"no route to (?P<address>\S+)(?P<result>)": Behaving.no_route,
    r"(?P<count>\d+) connections from the director \(10.20.0.2\): (?P<result>.*)": Behaving.on_director,
    r"routed there(?P<result>)": Behaving.routed,
    r"(?P<name>[\w-]+) listens on (?P<address>\S+)(?P<result>)": Behaving.listens,
    r"(?P<ports>\d+( \d+)+): (?P<result>.*)": Behaving.visits,
    r"port (?P<port>\d+): (?P<result>(?P<like>.*))": Behaving.visits,
    r"(?P<client>[\d.]+) port (?P<port>\d+): (?P<result>(?P<like>.*))": Behaving.visits,
    r"client (?P<client>[\d.]+): (?P<result>(?P<like>.*))": Behaving.visits,
    r"server added again(?P<result>)": lambda _: "",
}


def _disagreements(behaving: Behaving, key: tuple[str, str]) -> list[str]:
    """All that differs, until a step can't be taken."""
    found = []
    for number, step in enumerate(CASES[key]):
        sentences = (*UNSAID.get(key, {}).get(number, ()), *([step["seen"]] if "seen" in step else ()))
        told_here = [(behaving.tell(sentence), sentence) for sentence in sentences]
        found += [f"{ours}\nrecorded:\n{theirs}" for ours, theirs in told_here if ours != theirs]
        if "seen" in step:
            continue
        if step["argv"][0] != "ipvsadm":
            raise KeyError(step["cmd"])
        words = step["argv"][1:]
        seen, recorded = behaving.ipvsadm(words), Outcome(step["stdout"], step["stderr"], step["rc"])
        if not agree(words, _without_ports(seen), _without_ports(recorded)):
            found.append(f"{shlex.join(words)}\n{seen.stdout}{seen.stderr}recorded:\n{step['stdout']}{step['stderr']}")
    return found


def _without_ports(outcome: Outcome) -> Outcome:
    """Clients have others here."""
    return outcome._replace(stdout=re.sub(r":3\d{4}\b", ":(any)", outcome.stdout))


@pytest.mark.parametrize("wires", ["tc"], indirect=True, scope="module")
@pytest.mark.parametrize("key", [pytest.param(key, id=f"{key[0]}: {key[1]}") for key in CASES])
def test_case(wires: Network, key: tuple[str, str]) -> None:
    behaving = Behaving(wires, key[1])
    try:
        found = _disagreements(behaving, key)
    except KeyError:
        assert key in EXCLUDED, "this step can't be replayed"
        return
    finally:
        behaving.end()
    if key in EXCLUDED:
        assert found, "it comes out the same by now: take it off EXCLUDED in behave_excluded.py"
        return
    assert not found, "\n".join(found)


def test_every_exclusion_names_a_case() -> None:
    assert EXCLUDED.keys() <= CASES.keys()
    assert UNSAID.keys() <= CASES.keys()
