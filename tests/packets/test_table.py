"""The connection table filled, hit, ended and swept: nothing is lost, doubled or left over."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator

import pytest

from pylvs.director.ebpf import abi
from pylvs.model import ForwardingMethod
from tests.packets.plane import CAPACITY, PASS, SENT, Plane
from tests.packets.slots import Slots
from tests.packets.wire import CIP, RIP1, RIP2, VIP, tcp, udp, word

pytestmark = pytest.mark.root

NAT, DR, DATAGRAMS = f"tcp {VIP}:80", f"tcp {VIP}:82", f"udp {VIP}:54"
PORT = {NAT: 80, DR: 82, DATAGRAMS: 54}
TABLE_FULL = "table_full"


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """Services with two servers each."""
    loaded.reset()
    loaded.serve(NAT, f"{RIP1}:8080", f"{RIP2}:8080")
    loaded.serve(DR, f"{RIP1}:82", f"{RIP2}:82", method=ForwardingMethod.DR)
    loaded.serve(DATAGRAMS, f"{RIP1}:54", f"{RIP2}:54", method=ForwardingMethod.DR)
    yield loaded
    loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    standing.forget()
    return standing


def clients(count: int, seed: int) -> list[tuple[bytes, int]]:
    """Different addresses and ports."""
    chance = random.Random(seed)
    found: set[tuple[bytes, int]] = set()
    while len(found) < count:
        found.add((word(chance.randrange(0x0B000000, 0x60000000)), chance.randrange(1024, 65536)))
    return sorted(found)


def opening(client: tuple[bytes, int], id: str = DR, flags: str = "S") -> bytes:
    return tcp(*client, word(VIP), PORT[id], flags) if id != DATAGRAMS else udp(*client, word(VIP), PORT[id])


def chosen(director: Plane) -> dict[tuple[bytes, int], str]:
    return {(word(str(one.client.address)), one.client.port): str(one.server.address) for one in director.connections()}


def established(director: Plane, client: tuple[bytes, int], id: str = DR) -> str:
    """Open a connection, all the way; what became of its first packet."""
    verdict = director.tc(opening(client, id)).verdict
    if verdict == SENT:
        assert director.tc(opening(client, id, "A")).verdict == SENT
    return verdict


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_fills_up_to_its_load(load: float, seed: int, director: Plane) -> None:
    """At 0.8 fewer than one in a thousand finds no room, and each one that did is found ever after."""
    everyone = clients(int(CAPACITY.connections * load), seed)
    verdicts = [established(director, client) for client in everyone]
    assert set(verdicts) <= {SENT, TABLE_FULL}
    assert verdicts.count(TABLE_FULL) < max(1, len(everyone) * 1e-3)
    slots = Slots(director)
    slots.check()
    assert slots.owners.sum() == verdicts.count(SENT)
    before = chosen(director)
    for client, verdict in zip(everyone, verdicts, strict=True):
        if verdict == SENT:
            assert director.tc(opening(client, flags="A")).verdict == SENT
    assert chosen(director) == before
    empties(director)


def test_nat_fills_two_slots(director: Plane) -> None:
    everyone = clients(int(CAPACITY.connections * 0.4), 3)
    verdicts = [established(director, client, NAT) for client in everyone]
    assert verdicts.count(TABLE_FULL) < len(everyone) * 2e-3
    slots = Slots(director)
    slots.check()
    assert slots.live.sum() == 2 * verdicts.count(SENT)
    for client, verdict in zip(everyone, verdicts, strict=True):
        if verdict == SENT:
            rip = chosen_one(director, slots, client)
            assert director.tc(tcp(rip, 8080, *client, "SA")).verdict == SENT
    empties(director)


def chosen_one(director: Plane, slots: Slots, client: tuple[bytes, int]) -> bytes:
    """The address of the server that a client's connection is with."""
    (number,) = slots.find(*client)
    server = director.table.servers[int(slots.raw["server"][number])]
    return bytes(server.address)[12:]


def empties(director: Plane) -> None:
    """When every deadline has passed, nothing is left: no slot, no overflow, no load."""
    director.advance(1000 * abi.TICKS_A_SECOND)
    for _ in range(5):
        director.sweep()
        Slots(director).check()
    slots = Slots(director)
    assert (slots.phase == abi.SlotPhase.FREE).all()
    assert not slots.raw["overflow"].any()
    assert not director.connections()


@pytest.mark.parametrize("id", [NAT, DR])
def test_full(id: str, director: Plane) -> None:
    """Past the brim new connections are dropped by name, and those that are there go on."""
    everyone = clients(CAPACITY.connections + 2000, 4)
    verdicts = [established(director, client, id) for client in everyone]
    assert set(verdicts) == {SENT, TABLE_FULL}
    slots = Slots(director)
    slots.check()
    assert slots.live.sum() >= CAPACITY.connections * 0.95
    first = everyone[0]
    assert director.tc(opening(first, id, "A")).verdict == SENT
    counters = director.snapshot(id).counters
    assert counters.connections == verdicts.count(SENT)
    empties(director)
    assert director.tc(opening(first, id)).verdict == SENT


@pytest.mark.parametrize("id", [NAT, DR])
def test_a_flood_evicts_nobody_who_is_established(id: str, director: Plane) -> None:
    """First packets from ever new clients push each other out; newcomers among them get through, and nothing grows."""
    everyone = clients(CAPACITY.connections * 4, 5)
    honest, flood = everyone[:1000], everyone[1000:]
    assert [established(director, client, id) for client in honest] == [SENT] * len(honest)
    verdicts = []
    for number, client in enumerate(flood):
        if number % 100 == 0:
            director.advance(1)
        verdicts.append(director.tc(opening(client, id)).verdict)
    assert set(verdicts) <= {SENT, TABLE_FULL}
    assert verdicts.count(TABLE_FULL) < len(verdicts) * 0.01
    slots = Slots(director)
    slots.check()
    assert slots.live.sum() <= CAPACITY.connections
    assert all(director.tc(opening(client, id, "A")).verdict == SENT for client in honest)
    newcomer = (word("110.9.9.9"), 999)
    assert established(director, newcomer, id) == SENT
    empties(director)


def test_what_was_evicted_rests(director: Plane) -> None:
    """A program on another CPU may still be reading it: for two ticks of the sweep its slot is nobody's."""
    for client in clients(CAPACITY.connections * 2, 6):
        director.tc(opening(client))
    slots = Slots(director)
    dead = slots.phase == abi.SlotPhase.DEAD
    assert 0 < dead.sum() < CAPACITY.connections / 2, "a burst does not end all that is new"
    former = slots.raw["control"][dead]
    for ticks in (0, 1):
        director.advance(ticks)
        for client in clients(1000, 7):
            director.tc(opening(client))
        assert (Slots(director).raw["control"][dead] == former).all()
    director.advance(1)
    verdicts = [director.tc(opening(client)).verdict for client in clients(20, 8)]
    assert SENT in verdicts
    assert (Slots(director).raw["control"][dead] != former).any()
    Slots(director).check()


# -- expiry: deadlines are kept within two seconds


TIMEOUTS = {(NAT, "S"): 60, (NAT, "SA"): 60, (DR, "S"): 60, (DATAGRAMS, ""): 300}


@pytest.mark.parametrize("phase", range(abi.TICKS_A_SECOND))
@pytest.mark.parametrize(("id", "flags"), TIMEOUTS)
def test_ends_within_two_seconds_of_its_deadline(id: str, flags: str, phase: int, director: Plane) -> None:
    """Wherever in the sweep's round its last packet came."""
    director.advance(phase)
    client = (word(CIP), 5000)
    assert director.tc(opening(client, id, flags)).verdict == SENT
    director.advance(abi.TICKS_A_SECOND - phase)
    for second in range(1, TIMEOUTS[id, flags]):
        director.sweep()
        assert len(director.connections()) == 1, f"ended {TIMEOUTS[id, flags] - second} s early"
        director.advance(abi.TICKS_A_SECOND)
    rounds = 0
    while director.connections():
        director.sweep()
        rounds += 1
        director.advance(abi.TICKS_A_SECOND)
        assert rounds <= 2
    Slots(director).check()
    assert sum(one.active + one.inactive for one in director.snapshot(id).servers) == 0


@pytest.mark.parametrize("id", [NAT, DR])
def test_the_last_moment(id: str, director: Plane) -> None:
    """A packet after the sweep's mark takes the mark back."""
    client = (word(CIP), 5000)
    director.tc(opening(client, id))
    for _ in range(20):
        director.advance(59 * abi.TICKS_A_SECOND)
        director.sweep()
        assert marked(director)
        director.advance(7)
        assert director.tc(opening(client, id)).verdict == SENT
        assert not marked(director)
        director.sweep()
        assert [one.expires for one in director.connections()] == [60]
    empties(director)


@pytest.mark.parametrize("flags", ["A", "PA", "F"])
def test_the_last_moment_of_an_answer(flags: str, director: Plane) -> None:
    """The mark is on the other slot; the answer finds it there."""
    client = (word(CIP), 5000)
    for opens in ("S", "A"):
        director.tc(opening(client, NAT, opens))
    rip = chosen_one(director, Slots(director), client)
    director.advance(899 * abi.TICKS_A_SECOND)
    director.sweep()
    assert marked(director)
    director.advance(7)
    assert director.tc(tcp(rip, 8080, *client, flags)).verdict == SENT
    assert not marked(director)
    director.sweep()
    assert [one.expires for one in director.connections()] == [120 if flags == "F" else 900]
    empties(director)


def marked(director: Plane) -> bool:
    """Whether the only connection is about to end."""
    slots = Slots(director)
    (control,) = slots.raw["control"][slots.owners]
    return bool(int(control) >> abi.ControlShift.EXPIRING & 1)


def test_answers_alone_keep_a_connection(director: Plane) -> None:
    client = (word(CIP), 5000)
    director.tc(opening(client, NAT))
    director.tc(opening(client, NAT, "A"))
    rip = chosen_one(director, Slots(director), client)
    for _ in range(5):
        director.pass_seconds(800)
        assert director.tc(tcp(rip, 8080, *client, "A")).verdict == SENT
    assert len(director.connections()) == 1
    director.pass_seconds(898)
    assert [one.state for one in director.connections()] == ["ESTABLISHED"]
    director.pass_seconds(4)
    assert not director.connections()


def test_requests_alone_keep_a_connection(director: Plane) -> None:
    client = (word(CIP), 5000)
    director.tc(opening(client, NAT))
    for _ in range(5):
        assert director.tc(opening(client, NAT, "A")).verdict == SENT
        director.pass_seconds(800)
    director.pass_seconds(98)
    rip = chosen_one(director, Slots(director), client)
    assert director.tc(tcp(rip, 8080, *client, "A")).verdict == SENT
    Slots(director).check()


@pytest.mark.parametrize("start", [2**32 - 1, 2**32 - 100, 2**31 - 100, 2**31 - 479, 0])
@pytest.mark.parametrize("id", [NAT, DR])
def test_the_clock_may_wrap(id: str, start: int, director: Plane) -> None:
    director.settings.now = start
    director.tc(opening((word(CIP), 5000), id))
    director.pass_seconds(58)
    assert len(director.connections()) == 1
    director.pass_seconds(4)
    assert not director.connections()
    director.pass_seconds(3)
    assert (Slots(director).phase == abi.SlotPhase.FREE).all()


def test_a_slot_in_use_by_a_reader_is_not_reused_within_a_round(director: Plane) -> None:
    """Between its end and the next connection in it lies a whole round."""
    client = (word(CIP), 5000)
    director.tc(opening(client))
    director.tc(opening(client, flags="A"))
    director.tc(opening(client, flags="R"))
    (first,) = Slots(director).find(*client)
    assert director.tc(opening(client)).verdict == SENT
    (second,) = Slots(director).find(*client)
    assert first != second
    director.sweep()
    assert Slots(director).phase[first] == abi.SlotPhase.DEAD
    director.sweep()
    assert Slots(director).phase[first] == abi.SlotPhase.FREE


@pytest.mark.parametrize("id", [NAT, DR])
def test_what_the_sweep_ends_stays_dead_for_a_round(id: str, director: Plane) -> None:
    director.tc(opening((word(CIP), 5000), id))
    used = Slots(director).owners
    director.advance(60 * abi.TICKS_A_SECOND)
    for phase in ("LIVE", "DEAD", "DEAD", "FREE"):
        director.sweep()
        assert Slots(director).phase[used] == abi.SlotPhase[phase]
    assert (Slots(director).phase == abi.SlotPhase.FREE).all()


@pytest.mark.parametrize("id", [NAT, DR])
def test_a_reopened_port_leaves_nothing_behind(id: str, director: Plane) -> None:
    """A client that opens and resets from one port, over and over, without any sweep."""
    client = (word(CIP), 5000)
    for _ in range(3):
        for flags in ("S", "A", "R"):
            assert director.tc(opening(client, id, flags)).verdict == SENT
        Slots(director).check()
    assert len(director.connections()) == 1
    assert director.snapshot(id).counters.connections == 3
    empties(director)


def test_no_connection_no_reply(director: Plane) -> None:
    client = (word(CIP), 5000)
    director.tc(opening(client, NAT))
    rip = chosen_one(director, Slots(director), client)
    director.pass_seconds(63)
    assert director.tc(tcp(rip, 8080, *client, "SA")).verdict == PASS
    assert director.tc(opening(client, NAT, "A")).verdict == PASS


def orphan(director: Plane) -> bytes:
    """An answer whose connection another CPU has ended a moment ago."""
    client = (word(CIP), 5000)
    director.tc(opening(client, NAT))
    director.tc(opening(client, NAT, "A"))
    slots = Slots(director)
    (owner,) = slots.find(*client)
    rip = chosen_one(director, slots, client)
    raw = abi.Connection.from_buffer(director.table.connections.memory, owner * ctypes.sizeof(abi.Connection))
    raw.control |= abi.SlotPhase.DEAD
    return tcp(rip, 8080, *client, "FA")


def test_an_answer_to_a_connection_that_just_ended(director: Plane) -> None:
    answer = orphan(director)
    assert director.xdp(answer).verdict == PASS
    assert director.tc(answer).verdict == "ended"


def test_an_orphan_is_swept_at_its_deadline(director: Plane) -> None:
    orphan(director)
    director.pass_seconds(890)
    assert Slots(director).answers.sum() == 1
    director.pass_seconds(14)
    assert (Slots(director).phase == abi.SlotPhase.FREE).all()
