"""Whatever happens in whatever order, the table does as a dictionary of connections would."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import NamedTuple

import pytest

from pylvs.director.ebpf import abi
from pylvs.model import ForwardingMethod
from tests.packets.plane import PASS, SENT, Plane
from tests.packets.slots import Slots
from tests.packets.wire import RIP1, RIP2, VIP, tcp, word

pytestmark = pytest.mark.root

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "conn" / "tcp-states.json").read_text())
NAT, DR = ForwardingMethod.NAT, ForwardingMethod.DR
SERVICES = {80: (NAT, (RIP1, RIP2)), 85: (NAT, (RIP1,)), 82: (DR, (RIP1, RIP2))}
"""By port. The first two share RIP1's port 80: their connections may meet in one tuple."""
CLIENTS = [(word(0x6E000001 + number // 3), 5000 + number % 3) for number in range(12)]
CLIENT_FLAGS, SERVER_FLAGS = ("S", "S", "A", "A", "F", "R"), ("SA", "A", "F", "R")
ACTIVE = {"ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"}
GRACE = 2

Client = tuple[bytes, int]


def recorded(table: str) -> dict[tuple[str, str], tuple[str, int]]:
    """(state, packet) -> (state, seconds), as the kernel's were recorded."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for key, outcome in GOLDEN[table]["transitions"].items():
        state, symbol = key.replace("(reply seen) ", "").rsplit(" ", 1)
        (after,) = outcome
        name, seconds = after.split()
        assert found.setdefault((state, symbol), (name, int(seconds))) == (name, int(seconds))
    return found


NEXT = {NAT: recorded("nat"), DR: recorded("dr")}


class Flow(NamedTuple):
    """A connection of the model; `end` is in seconds."""

    server: str
    state: str
    end: int


class World:
    """The plane and its model."""

    def __init__(self, plane: Plane, hook: str, seed: int) -> None:
        self.plane, self.hook = plane, hook
        self.chance = random.Random(f"{hook} {seed}")
        self.now = 0
        self.flows: dict[tuple[Client, int], Flow] = {}
        self.deleted: set[tuple[int, str]] = set()
        for port, (method, rips) in SERVICES.items():
            plane.serve(f"tcp {VIP}:{port}", *(f"{rip}:{self.real_port(port)}" for rip in rips), method=method)

    @staticmethod
    def real_port(port: int) -> int:
        return 82 if port == 82 else 8080

    def step(self) -> None:
        moves = [self.request] * 14 + [self.reply] * 6 + [self.wait] * 2 + [self.delete_or_add]
        self.chance.choice(moves)()

    def run(self, frame: bytes) -> str:
        self.plane.knows_the_way()
        return self.plane.run(self.hook, frame).verdict

    def request(self) -> None:
        client, port = self.chance.choice(CLIENTS), self.chance.choice(list(SERVICES))
        flags = self.chance.choice(CLIENT_FLAGS)
        verdict = self.run(tcp(*client, word(VIP), port, flags))
        flow = self.flows.get((client, port))
        if flow is None or (flags == "S" and flow.state in {"TIME_WAIT", "CLOSE"}):
            self.flows.pop((client, port), None)
            self.opens(client, port, flags, verdict)
        elif (port, flow.server) in self.deleted:
            assert verdict == "server_deleted"
        else:
            assert verdict == SENT
            self.follow(client, port, "i" + flags)

    def opens(self, client: Client, port: int, flags: str, verdict: str) -> None:
        if flags != "S":
            assert verdict == PASS
            return
        available = [rip for rip in SERVICES[port][1] if (port, rip) not in self.deleted]
        if not available:
            assert verdict == "no_server"
        elif verdict == "tuple_in_use":
            assert any(self.rival(client, port, rip) in ACTIVE for rip in available)
        else:
            assert verdict == SENT
            shown = self.shown()[client, port]
            assert shown.server in available
            assert self.rival(client, port, shown.server) not in ACTIVE
            self.flows.pop((client, 165 - port), None) if self.rival(client, port, shown.server) else None
            self.flows[client, port] = Flow(shown.server, "SYN_RECV", self.now + 60)

    def rival(self, client: Client, port: int, rip: str) -> str:
        """The state of the connection that has the same tuple at the server's side."""
        flow = self.flows.get((client, 165 - port)) if port in {80, 85} else None
        return flow.state if flow and flow.server == rip else ""

    def reply(self) -> None:
        client, rip = self.chance.choice(CLIENTS), self.chance.choice((RIP1, RIP2))
        flags = self.chance.choice(SERVER_FLAGS)
        verdict = self.run(tcp(word(rip), 8080, *client, flags))
        port = next((p for p in (80, 85) if self.flows.get((client, p), Flow("", "", 0)).server == rip), None)
        assert verdict == (SENT if port else PASS)
        if port:
            self.follow(client, port, "o" + flags)

    def follow(self, client: Client, port: int, symbol: str) -> None:
        flow = self.flows[client, port]
        state, seconds = NEXT[SERVICES[port][0]][flow.state, symbol]
        self.flows[client, port] = Flow(flow.server, state, self.now + seconds)

    def wait(self) -> None:
        """A connection ends at its deadline or up to GRACE seconds after it."""
        seconds = self.chance.choice((1, 2, 5, 9, 11, 30, 61, 125))
        self.now += seconds
        self.plane.pass_seconds(seconds)
        shown = self.shown()
        for key, flow in list(self.flows.items()):
            if self.now - flow.end >= GRACE:
                assert key not in shown, f"{flow} is {self.now - flow.end} s late"
            if key not in shown:
                assert flow.end <= self.now, f"{flow} ended {flow.end - self.now} s early"
                del self.flows[key]

    def delete_or_add(self) -> None:
        port = self.chance.choice(list(SERVICES))
        method, rips = SERVICES[port]
        rip = self.chance.choice(rips)
        server = f"{rip}:{self.real_port(port)}"
        if (port, rip) in self.deleted:
            self.plane.add(f"tcp {VIP}:{port}", server, method)
            self.deleted.remove((port, rip))
        else:
            self.plane.delete(f"tcp {VIP}:{port}", server)
            self.deleted.add((port, rip))

    def shown(self) -> dict[tuple[Client, int], Flow]:
        found = {}
        for one in self.plane.connections():
            client = (word(str(one.client.address)), one.client.port)
            found[client, one.virtual.port] = Flow(str(one.server.address), one.state, self.now + one.expires)
        return found

    def check(self) -> None:
        shown = self.shown()
        late = {key: flow._replace(end=max(flow.end, self.now)) for key, flow in self.flows.items()}
        assert shown == late
        for port, (_, rips) in SERVICES.items():
            for rip in rips:
                if (port, rip) not in self.deleted:
                    self.check_counts(port, rip)

    def check_counts(self, port: int, rip: str) -> None:
        server = self.plane.server(f"tcp {VIP}:{port}", f"{rip}:{self.real_port(port)}")
        states = [flow.state for (_, one), flow in self.flows.items() if (one, flow.server) == (port, rip)]
        active = sum(state in ACTIVE for state in states)
        assert (server.active, server.inactive) == (active, len(states) - active)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_any_order_of_events(hook: str, seed: int, plane: Plane) -> None:
    world = World(plane, hook, seed)
    for number in range(400):
        world.step()
        world.check()
        if number % 20 == 0:
            Slots(plane).check()
    Slots(plane).check()
    plane.pass_seconds(910)
    for _ in range(3):
        plane.sweep()
    slots = Slots(plane)
    slots.check()
    assert (slots.phase == abi.SlotPhase.FREE).all()
    assert not any(plane.table.servers[number].load for number in range(plane.settings.servers_used))
