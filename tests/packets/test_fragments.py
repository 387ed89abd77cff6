"""Fragments: those of one datagram go to one real server, in every order, and nothing else is held or forwarded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP

from pylvs.director.ebpf import abi, libbpf
from pylvs.model import Counters
from tests.packets.fragments import CASES, IDS, MAPPED, big, big_answer, expected, furnish, mapped, pieces
from tests.packets.frames import answer, datagram, reply, request, to_rip
from tests.packets.plane import HELD, PASS, SENT, Plane
from tests.packets.slots import Slots
from tests.packets.wire import RIP1, RIP2, VIP, VIP2, from_client, from_server, word

pytestmark = pytest.mark.root

FRAGMENT, ENDED, NO_SERVER = (abi.DropReason[name].name.lower() for name in ("FRAGMENT", "ENDED", "NO_SERVER"))
FRAGMENT_SECONDS = 30
HEADERS = 34


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """The services above."""
    furnish(loaded)
    yield loaded
    loaded.reset()


@pytest.fixture
def director(standing: Plane) -> Plane:
    standing.forget()
    return standing


@pytest.fixture(params=["tc", "xdp"])
def hook(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def known(plane: Plane, packet: Any) -> bool:
    """Whether anything is remembered of a datagram."""
    key = mapped(packet.src) + mapped(packet.dst) + packet.id.to_bytes(2, "big") + bytes([0, 0, packet.proto, 0, 0, 0])
    return libbpf.lookup(plane.table.fd("fragmented"), key, 16) is not None


def verdict(plane: Plane, hook: str, frame: Any) -> str:
    return plane.run(hook, bytes(frame)).verdict


def server_of(plane: Plane, hook: str, packet: Any) -> str:
    """Where a client's packet was sent by NAT."""
    return str(IP(plane.run(hook, bytes(from_client(packet))).frame[14:]).dst)


def expect_out(plane: Plane, hook: str, packet: Any, out: Any) -> None:
    """A frame comes in and leaves as it should; XDP leaves it to tc, which leaves the MACs to the kernel."""
    outcome = plane.run(hook, bytes(packet))
    assert (outcome.verdict, outcome.hook) == (SENT, "tc")
    assert IP(outcome.frame[14:]) == IP(bytes(out))
    assert outcome.frame[14:] == bytes(out)


@pytest.mark.parametrize("size", [1473, 3000, 8000, 65507])
@pytest.mark.parametrize("name", CASES)
def test_in_order(name: str, size: int, director: Plane, hook: str) -> None:
    case = CASES[name]
    for frame in case.before:
        assert verdict(director, hook, frame) == SENT
    packet = case.make(size)
    for one, out in zip(pieces(packet), expected(case, packet), strict=True):
        expect_out(director, hook, case.wrap(one), out.payload)
    assert len(director.connections()) == 1
    Slots(director).check()


def test_each_fragment_is_counted_as_a_packet(director: Plane, hook: str) -> None:
    for one in pieces(big()):
        assert verdict(director, hook, from_client(one)) == SENT
    assert director.snapshot(MAPPED).counters == Counters(1, 3, 0, 3008 + 3 * 20, 0)


def test_datagrams_that_come_interleaved(director: Plane, hook: str) -> None:
    first, second = pieces(big(port=55)), pieces(datagram(55, sport=999, size=3000, ip={"id": next(IDS)}))
    seen: dict[int, set[str]] = {0: set(), 1: set()}
    for pair in zip(first, second, strict=True):
        for number, one in enumerate(pair):
            seen[number].add(server_of(director, hook, one))
    assert sorted(seen.values(), key=str) == [{RIP1}, {RIP2}]


def test_the_checksum_of_a_datagram_without_one_stays_away(director: Plane, hook: str) -> None:
    packet = datagram(size=3000, chksum=0, ip={"id": next(IDS)})
    for one, out in zip(pieces(packet), pieces(to_rip(packet, dport=5353).payload), strict=True):
        expect_out(director, hook, from_client(one), out)


@pytest.mark.parametrize(
    ("flags", "state", "expires"), [("S", "SYN_RECV", 60), ("SA", "ESTABLISHED", 900), ("SAF", "CLOSE_WAIT", 60)]
)
def test_a_later_fragment_has_no_flags_and_keeps_the_state(
    flags: str, state: str, expires: int, director: Plane, hook: str
) -> None:
    """To the state machine a packet without flags is the end of a connection."""
    for flag in flags:
        assert verdict(director, hook, from_client(request(flags=flag))) == SENT
    packet = request(flags=flags[-1], size=3000, ip={"id": next(IDS)})
    first, *later = pieces(packet)
    assert verdict(director, hook, from_client(first)) == SENT
    director.advance(5 * abi.TICKS_A_SECOND)
    for one, out in zip(later, pieces(to_rip(packet, dport=8080).payload)[1:], strict=True):
        expect_out(director, hook, from_client(one), out)
    (connection,) = director.connections()
    assert (connection.state, connection.expires) == (state, expires)
    Slots(director).check()


def test_an_answers_later_fragment_keeps_the_state(director: Plane, hook: str) -> None:
    for flag in "SA":
        assert verdict(director, hook, from_client(request(flags=flag))) == SENT
    for one in pieces(reply(flags="PA", size=3000, ip={"id": next(IDS)})):
        assert verdict(director, hook, from_server(one)) == SENT
        director.advance(8)
    (connection,) = director.connections()
    assert (connection.state, connection.expires) == ("ESTABLISHED", 899)


def test_a_later_fragment_takes_back_the_sweeps_mark(director: Plane, hook: str) -> None:
    """It is a sign of life as any packet is."""
    first, *later = pieces(big())
    assert verdict(director, hook, from_client(first)) == SENT
    director.pass_seconds(10)
    director.advance(289 * 8)
    director.sweep()
    director.settings.now -= 289 * 8
    assert verdict(director, hook, from_client(later[0])) == SENT
    director.pass_seconds(299)
    assert [one.expires for one in director.connections()] == [1]


# -- what has not got its first fragment


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (from_client(pieces(big())[1]), HELD),
        (from_client(pieces(big())[-1]), HELD),
        (from_client(pieces(big(), 2048, 2056)[1]), HELD),
        (from_server(pieces(big_answer())[1]), HELD),
        (from_client(pieces(request(size=3000, ip={"id": next(IDS)}))[1]), HELD),
        (from_client(pieces(datagram(size=3000, ip={"dst": VIP2}))[1]), PASS),
        (from_client(pieces(answer(size=3000, ip={"src": VIP2}))[1]), PASS),
        (from_client(pieces(big(source="127.0.0.1"))[1]), PASS),
        (from_client(pieces(big(source=VIP))[1]), PASS),
        (from_client(pieces(big(size=8000), 2000, 2000 + abi.EARLY_SIZE - HEADERS)[1]), HELD),
        (from_client(pieces(big(size=8000), 2000, 2000 + abi.EARLY_SIZE - HEADERS + 8)[1]), FRAGMENT),
    ],
    ids=[
        *("the second", "the last", "a tiny one", "an answer", "TCP"),
        *("to nobody we know", "from nobody we know", "from this host", "from the VIP"),
        *("as large as can be held", "larger"),
    ],
)
def test_a_later_fragment_alone(frame: Any, expected: str, director: Plane, hook: str) -> None:
    outcome = director.run(hook, bytes(frame))
    assert (outcome.verdict, outcome.frame) == (expected, bytes(frame))
    assert not known(director, frame[IP])
    assert director.connections() == []


def test_no_more_of_a_datagram_are_held_than_there_can_be(director: Plane, hook: str) -> None:
    packet = big(size=65507)
    frames = [from_client(one) for one in pieces(packet)[1:]]
    assert [verdict(director, hook, one) for one in frames] == [HELD] * 44
    assert verdict(director, hook, frames[0]) == FRAGMENT
    assert verdict(director, hook, from_client(pieces(big())[1])) == HELD, "another datagram's are"


def test_a_flood_of_fragments_evicts_early_ones_only(director: Plane, hook: str) -> None:
    first, *later = pieces(big())
    assert verdict(director, hook, from_client(first)) == SENT
    flood = bytearray(bytes(from_client(pieces(big(source="203.0.113.1"))[1])))
    for number in range(4 * abi.FRAGMENTED):
        flood[26:30] = word(number + 0x0B000000)
        assert verdict(director, "tc", flood) == HELD
    assert [verdict(director, hook, from_client(one)) for one in later] == [SENT, SENT]


def test_what_was_not_for_us_is_the_hosts_whole(director: Plane, hook: str) -> None:
    """The VIP's other ports, and what a real server sends elsewhere: the stack gets every fragment."""
    for wrap, packet in (
        (from_client, big(port=99)),
        (from_server, big_answer(port=99)),
        (from_client, request(22, flags="A", size=3000, ip={"id": next(IDS)})),
    ):
        assert [verdict(director, hook, wrap(one)) for one in pieces(packet)] == [PASS] * 3
    assert director.connections() == []


def test_nothing_is_remembered_of_strangers(director: Plane, hook: str) -> None:
    packet = datagram(size=3000, ip={"dst": VIP2, "id": next(IDS)})
    for one in pieces(packet):
        assert verdict(director, hook, from_client(one)) == PASS
    assert not known(director, packet)


def test_no_server_to_be_had(director: Plane, hook: str) -> None:
    packet = big(port=90)
    first, *later = pieces(packet)
    assert verdict(director, hook, from_client(first)) == NO_SERVER
    assert not known(director, packet)
    assert verdict(director, hook, from_client(later[0])) == HELD


def test_a_connection_that_ended_between_two_fragments(director: Plane, hook: str) -> None:
    first, *later = pieces(big())
    assert verdict(director, hook, from_client(first)) == SENT
    director.table.connections.memory[:] = bytes(len(director.table.connections.memory))
    assert verdict(director, hook, from_client(later[0])) == ENDED
    assert director.connections() == []


def test_an_id_is_used_again(director: Plane, hook: str) -> None:
    """Not within a second of its first use: that is somebody who wants others' fragments to go astray."""
    first, *later = pieces(big(port=55))
    other = pieces(datagram(55, sport=999, size=3000, ip={"id": first.id}))[0]
    where = server_of(director, hook, first)
    elsewhere = server_of(director, hook, other)
    assert where != elsewhere
    assert server_of(director, hook, later[0]) == where
    director.advance(abi.TICKS_A_SECOND)
    assert verdict(director, hook, from_client(other)) == SENT
    assert server_of(director, hook, later[0]) == elsewhere


def test_a_datagram_is_forgotten_after_half_a_minute(director: Plane, hook: str) -> None:
    first, *later = pieces(big())
    assert verdict(director, hook, from_client(first)) == SENT
    director.advance(FRAGMENT_SECONDS * abi.TICKS_A_SECOND - 1)
    assert verdict(director, hook, from_client(later[0])) == SENT
    director.advance(1)
    assert verdict(director, hook, from_client(later[1])) == HELD


# -- hostile ones


def test_a_first_fragment_too_short_for_its_header(director: Plane, hook: str) -> None:
    """The flags of a TCP segment in a second fragment: it is not looked for there."""
    tiny, rest = pieces(request(size=100, ip={"id": next(IDS)}), 8)
    assert verdict(director, hook, from_client(tiny)) == PASS
    assert verdict(director, hook, from_client(rest)) == HELD
    assert director.connections() == []


def test_fragments_that_overlap_go_to_one_server(director: Plane, hook: str) -> None:
    """Their receiver throws the datagram away, as the kernel's own IPVS does."""
    packet = big(port=55)
    first, second, third = pieces(packet)
    second.frag -= 100
    second.chksum = None
    found = {server_of(director, hook, one) for one in (first, second, third, first)}
    assert len(found) == 1


def test_one_id_from_many_sources(director: Plane, hook: str) -> None:
    id = next(IDS)
    packets = [datagram(55, size=3000, ip={"id": id, "src": f"110.0.1.{host}"}) for host in range(1, 9)]
    chosen = [server_of(director, hook, pieces(one)[0]) for one in packets]
    assert set(chosen) == {RIP1, RIP2}
    for packet, server in zip(packets, chosen, strict=True):
        assert server_of(director, hook, pieces(packet)[2]) == server


def test_fragments_without_a_byte(director: Plane, hook: str) -> None:
    first, second, *_ = pieces(big())
    empty = second.copy()
    empty.remove_payload()
    empty.len = empty.chksum = None
    nothing = from_client(IP(bytes(empty)))
    assert verdict(director, hook, nothing) == HELD
    assert verdict(director, hook, from_client(first)) == HELD, "it comes again, with the one that waited"


def test_another_protocols_fragments_are_the_hosts(director: Plane, hook: str) -> None:
    for protocol in (1, 47, 50):
        packet = big()
        packet.proto = protocol
        for one in pieces(packet):
            assert verdict(director, hook, from_client(one)) == PASS
