"""SCTP: the states that a kernel's IPVS was recorded to go through, and a checksum that follows the ports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit
from scapy.packet import Raw

from pylvs.director.ebpf import abi
from pylvs.model import Connection, ForwardingMethod
from tests.packets.fragments import IDS, pieces
from tests.packets.frames import CPORT, hop, payload, to_rip
from tests.packets.plane import HELD, PASS, SENT, Plane
from tests.packets.sctp import sctp
from tests.packets.slots import Slots
from tests.packets.wire import CIP, DIP, RIP1, RIP2, VIP, from_client, from_server, to_client

pytestmark = pytest.mark.root

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "conn" / "sctp-states.json").read_text())
NAT, DR, FULLNAT, TWO, SAME = (f"sctp {VIP}:{port}" for port in (3868, 3869, 3870, 3871, 3872))
PORTS = {NAT: (3868, 13868), DR: (3869, 3869)}
FRAGMENT = abi.DropReason.FRAGMENT.name.lower()
SIZES = (0, 1, 2, 3, 4, 63, 64, 1000, 1440)


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """A service of each kind."""
    loaded.reset()
    loaded.serve(NAT, f"{RIP1}:13868")
    loaded.serve(DR, f"{RIP1}:3869", method=ForwardingMethod.DR)
    loaded.serve(FULLNAT, f"{RIP1}:13870", method=ForwardingMethod.FULLNAT)
    loaded.serve(TWO, f"{RIP1}:3871", f"{RIP2}:3871")
    loaded.serve(SAME, f"{RIP1}:3872")
    yield loaded
    loaded.reset()


@pytest.fixture(params=["tc", "xdp"])
def hook(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def director(standing: Plane) -> Plane:
    standing.forget()
    return standing


@pytest.fixture
def sloppy(standing: Plane) -> Iterator[Plane]:
    standing.settings.knob[abi.Knob.SLOPPY_SCTP] = 1
    yield standing
    standing.settings.knob[abi.Knob.SLOPPY_SCTP] = 0


def see(plane: Plane, hook: str, id: str, symbol: str, client_port: int = CPORT) -> str:
    """The verdict on `iINIT`, the client's, or `oINIT_ACK`, the server's."""
    port, server_port = PORTS[id]
    if symbol[0] == "i":
        frame = bytes(from_client(Raw(sctp(CIP, client_port, VIP, port, symbol[1:]))))
    else:
        frame = bytes(from_server(Raw(sctp(RIP1, server_port, CIP, client_port, symbol[1:]))))
    return plane.run(hook, frame[:12] + b"\x08\x00" + frame[14:]).verdict


def connection(plane: Plane) -> Connection | None:
    found = plane.connections()
    assert len(found) <= 1
    return found[0] if found else None


def walk(plane: Plane, hook: str, id: str, path: str, states: list[str]) -> None:
    plane.forget()
    for step, (symbol, state) in enumerate(zip(path.split(), states, strict=True)):
        verdict = see(plane, hook, id, symbol)
        found = connection(plane)
        reached = "none" if found is None else f"{found.state} {found.expires}"
        assert (reached, verdict) == (state, PASS if state == "none" else SENT), f"{path}, step {step}"
        (server,) = plane.snapshot(id).servers
        active = state.startswith("ESTABLISHED")
        assert (server.active, server.inactive) == (int(active), int(state != "none" and not active)), path


@pytest.mark.parametrize(("table", "id"), [("nat", NAT), ("dr", DR)])
def test_every_recorded_path(table: str, id: str, standing: Plane) -> None:
    """All that XDP does is to leave it to tc."""
    for path, states in GOLDEN[table]["paths"].items():
        walk(standing, "tc", id, path, states)


@pytest.mark.parametrize(("table", "id"), [("nat", NAT), ("dr", DR)])
def test_every_recorded_path_while_sloppy(table: str, id: str, sloppy: Plane) -> None:
    for path, states in GOLDEN[f"{table}, sloppy_sctp=1"]["paths"].items():
        walk(sloppy, "tc", id, path, states)


def test_secure_tcp_is_not_sctps(director: Plane, hook: str) -> None:
    director.settings.defences = abi.Defence.SECURE_TCP
    try:
        for path in ("iINIT oINIT_ACK iCOOKIE_ECHO oCOOKIE_ACK iDATA iSHUTDOWN oSHUTDOWN_ACK", "iINIT iABORT"):
            walk(director, hook, NAT, path, GOLDEN["nat"]["paths"].get(path) or states_of(path))
    finally:
        director.settings.defences = 0


def states_of(path: str) -> list[str]:
    """From the recorded transitions."""
    state, found = "NEW", []
    for symbol in path.split():
        (after,) = GOLDEN["nat"]["transitions"][f"{state} {symbol}"]
        found.append(after)
        state = after.split()[0]
    return found


@pytest.mark.parametrize(
    ("mode", "path", "chosen"),
    [
        (1, "iINIT iABORT iINIT", "INIT1"),
        (2, "iINIT iABORT iINIT", "INIT1"),
        (0, "iINIT iABORT iINIT", "INIT"),
        (0, "iINIT oABORT oABORT iINIT", "INIT"),
    ],
)
def test_a_client_opens_again(mode: int, path: str, chosen: str, director: Plane, hook: str) -> None:
    """As recorded: with conn_reuse_mode a closed association gives way to a new one."""
    director.settings.knob[abi.Knob.CONN_REUSE_MODE] = mode
    try:
        for symbol in path.split():
            assert see(director, hook, NAT, symbol) == SENT
    finally:
        director.settings.knob[abi.Knob.CONN_REUSE_MODE] = 1
    found = connection(director)
    assert found is not None
    assert found.state == chosen
    Slots(director).check()


# -- frames


def association(port: int, size: int, source: str = CIP, destination: str = VIP, **fields: Any) -> Any:
    """A client's INIT, or data where `size` says how much."""
    chunk = SCTPChunkData(data=payload(size)) if size else SCTPChunkInit(init_tag=5, a_rwnd=9999)
    packet = IP(src=source, dst=destination, id=next(IDS) % 65536) / SCTP(sport=CPORT, dport=port, tag=size, **fields)
    return packet / chunk


def sent(plane: Plane, hook: str, frame: Any) -> bytes:
    outcome = plane.run(hook, bytes(frame))
    assert (outcome.verdict, outcome.hook) == (SENT, "tc")
    return outcome.frame[14:]


@pytest.mark.parametrize("size", SIZES)
def test_the_checksum_follows_a_mapped_port(size: int, director: Plane, hook: str) -> None:
    """It is over ports and payload, whose length matters, and not over addresses."""
    sent(director, hook, from_client(association(3868, 0)))
    packet = association(3868, size)
    assert sent(director, hook, from_client(packet)) == bytes(to_rip(packet, dport=13868).payload)
    answer = IP(src=RIP1, dst=CIP, ttl=9) / SCTP(sport=13868, dport=CPORT) / SCTPChunkData(data=payload(size))
    assert sent(director, hook, from_server(answer)) == bytes(to_client(hop(answer, {"src": VIP}, sport=3868)).payload)


def test_the_checksum_stays_where_ports_do(director: Plane, hook: str) -> None:
    same, routed = association(3872, 0), association(3869, 0)
    assert sent(director, hook, from_client(same)) == bytes(to_rip(same).payload)
    assert sent(director, hook, from_client(routed)) == bytes(hop(routed))


def test_a_local_address_and_port(director: Plane, hook: str) -> None:
    packet = association(3870, 0)
    out = IP(sent(director, hook, from_client(packet)))
    assert (out.src, out.dst, out[SCTP].dport) == (DIP, RIP1, 13870)
    again = out.copy()
    again[SCTP].chksum = None
    assert IP(bytes(again))[SCTP].chksum == out[SCTP].chksum
    answer = IP(src=RIP1, dst=DIP) / SCTP(sport=13870, dport=out[SCTP].sport) / SCTPChunkData(data=payload(77))
    back = hop(answer, {"src": VIP, "dst": CIP}, sport=3870, dport=CPORT)
    assert sent(director, hook, from_server(answer)) == bytes(back)


def test_a_checksum_left_to_the_card_and_a_wrong_one(director: Plane, hook: str) -> None:
    """0 is to be computed later; what was wrong stays wrong by as much as it was."""
    packet = association(3868, 0)
    right = IP(bytes(to_rip(packet, dport=13868).payload))[SCTP].chksum
    was = IP(bytes(packet))[SCTP].chksum
    packet[SCTP].chksum = 0
    assert IP(sent(director, hook, from_client(packet)))[SCTP].chksum == 0
    packet[SCTP].chksum = was ^ 0x1010101
    assert IP(sent(director, hook, from_client(packet)))[SCTP].chksum == right ^ 0x1010101


def test_an_abort_far_behind_a_cookie(director: Plane, hook: str) -> None:
    """A cookie may be longer than the headers that parse() is shown."""
    sent(director, hook, from_client(association(3868, 0)))
    header = bytes(association(3868, 0))[:32]
    chunks = b"\x0a\x00\x03\xe8" + bytes(996) + b"\x06\x00\x00\x04"
    packet = IP(header[:20]) / Raw(header[20:] + chunks)
    packet.len = packet.chksum = None
    sent(director, hook, from_client(packet))
    found = connection(director)
    assert found is not None
    assert found.state == "CLOSED"


@pytest.mark.parametrize("size", [0, 4, 8, 11])
def test_a_header_cut_short(size: int, director: Plane, hook: str) -> None:
    packet = IP(src=CIP, dst=VIP, proto=132) / Raw(bytes(association(3868, 0))[20 : 20 + size])
    assert director.run(hook, bytes(from_client(packet))).verdict == PASS
    assert director.connections() == []


def test_padding_is_no_chunk(director: Plane, hook: str) -> None:
    frame = bytes(from_client(IP(src=CIP, dst=VIP, proto=132) / Raw(bytes(association(3868, 0))[20:32])))
    assert director.run(hook, frame + b"\x01\x00\x00\x14" + bytes(16)).verdict == PASS
    assert director.connections() == []


def test_fragments(director: Plane, hook: str) -> None:
    """To another port only a whole packet's checksum could be mended."""
    same, routed = association(3872, 2000), association(3869, 2000)
    for packet, becomes in (same, to_rip(same).payload), (routed, hop(routed)):
        sent(director, hook, from_client(association(packet.dport, 0)))
        for one, out in zip(pieces(packet), pieces(becomes), strict=True):
            assert sent(director, hook, from_client(one)) == bytes(out)
    sent(director, hook, from_client(association(3868, 0)))
    first, _ = pieces(association(3868, 2000))
    assert director.run(hook, bytes(from_client(first))).verdict == FRAGMENT
    _, later = pieces(association(3868, 2000))
    assert director.run(hook, bytes(from_client(later))).verdict == HELD


def test_round_robin(director: Plane, hook: str) -> None:
    chosen = []
    for number in range(4):
        packet = association(3871, 0)
        packet[SCTP].sport = 5000 + number
        chosen.append(IP(sent(director, hook, from_client(packet))).dst)
    assert chosen in ([RIP1, RIP2] * 2, [RIP2, RIP1] * 2)
