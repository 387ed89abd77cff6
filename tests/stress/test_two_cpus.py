"""Two CPUs on the same few connections at once, and the sweep and an operator: nothing may be lost or counted twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from pylvs.director.ebpf import abi
from pylvs.model import VirtualAddress
from tests.stress.faults import faults, slots
from tests.stress.plane import CPUS, DR, NAT, TCP, UDP, Plane, endpoint, plane, server, service

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it loads BPF programs"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < CPUS, reason="needs two CPUs"),
]

SERVICES = (
    (service(TCP, "10.0.0.1:80", "rr"), (server("10.1.0.1:80", NAT), server("10.1.0.2:80", NAT))),
    # the same server as above: its answers can belong to either service
    (service(TCP, "10.0.0.1:81", "wrr"), (server("10.1.0.1:80", NAT), server("10.1.0.3:8080", NAT))),
    (service(TCP, "10.0.0.2:80", "lc"), (server("10.1.0.4:80", DR), server("10.1.0.5:80", DR))),
    (service(UDP, "10.0.0.1:53", "wlc"), (server("10.1.0.1:53", NAT), server("10.1.0.2:5353", NAT))),
    (service(UDP, "10.0.0.2:53", "rr"), (server("10.1.0.4:53", DR),)),
    (service(TCP, "10.0.0.3:80", "wlc"), (server("10.1.0.1:80", NAT), server("10.1.0.4:80", DR))),
)
ANSWERING = tuple(map(endpoint, ("10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:8080", "10.1.0.1:53", "10.1.0.2:5353")))
VIRTUAL = [one.id for one, _ in SERVICES if isinstance(one.id, VirtualAddress)]
SLOTS = 512
ROUNDS, PACKETS = 4, 200_000  # after each round everything is compared, then everything expires
SCHEDULERS = ("rr", "wrr", "lc", "wlc")
TICKS = {"ESTABLISHED": 40, "SYN_RECV": 20, "SYN_SENT": 20, "FIN_WAIT": 16, "TIME_WAIT": 16, "CLOSE": 9, "UDP": 20}


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Plane]:
    with plane(tmp_path, connections=SLOTS) as made:
        for one, servers in SERVICES:
            made.director.add_service(one)
            for each in servers:
                made.director.add_server(one.id, each)
        for state in abi.ConnectionState:
            if state is not abi.ConnectionState.STATES:
                made.table.settings.timeout[state] = TICKS.get(state.name, 12)
        yield made


def run(made: Plane, *, packets: int, edit: Random | None) -> None:
    """Both CPUs at once, and meanwhile the edits of an operator who types fast."""
    made.traffic.packets = 20_000
    threads = [
        threading.Thread(target=made.make_traffic, args=(cpu, packets // made.traffic.packets)) for cpu in range(CPUS)
    ]
    for thread in threads:
        thread.start()
    while edit and any(thread.is_alive() for thread in threads):
        change_something(made, edit)
    for thread in threads:
        thread.join()


def change_something(made: Plane, random: Random) -> None:
    """Add, quiesce, weigh or delete a server, or change a scheduler."""
    one, servers = random.choice(SERVICES)
    chosen = random.choice(servers)
    there = {snapshot.server.endpoint for snapshot in made.director.service(one.id).servers}
    if chosen.endpoint not in there:
        made.director.add_server(one.id, chosen)
    elif random.random() < 0.4:
        made.director.delete_server(one.id, chosen.endpoint)
    elif random.random() < 0.7:
        made.director.edit_server(one.id, chosen.replace(weight=random.randrange(4)))
    else:
        made.director.edit_service(one.replace(scheduler=random.choice(SCHEDULERS)))


def drain(made: Plane) -> None:
    """Let everything expire: a round to mark, one to end, one to mark the dead, one to free, and as many for pairs."""
    made.table.settings.now += 1000
    made.rounds_of_the_sweep(8)


def left(made: Plane) -> list[str]:
    """What is still there."""
    found = [str(slot) for slot in slots(made) if slot.phase is not abi.SlotPhase.FREE]
    return found + faults(made)


ROWS = (
    # clients, packets between two steps of the sweep
    pytest.param(1, 16, id="one client"),
    pytest.param(8, 16, id="few tuples, fast sweep"),
    pytest.param(8, 400, id="few tuples, slow sweep"),
    pytest.param(120, 200, id="a full table"),
)


@pytest.mark.parametrize("edits", [False, True], ids=["at rest", "edited"])
@pytest.mark.parametrize(("clients", "sweep_every"), ROWS)
def test_nothing_is_lost_or_counted_twice(prepared: Plane, clients: int, sweep_every: int, edits: bool) -> None:
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}")
    random = Random(seed)
    prepared.draw_from(VIRTUAL, ANSWERING, clients)
    prepared.traffic.sweep_every = sweep_every
    for tally in prepared.tallies:
        tally.random = random.getrandbits(63) | 1
    for _ in range(ROUNDS):
        run(prepared, packets=PACKETS, edit=random if edits else None)
        assert not (found := faults(prepared, servers_stay=not edits)), "\n".join(found)
        drain(prepared)
        assert not (found := left(prepared)), "\n".join(found)
