"""The sync protocol: what the kernel was recorded to send, what it took from us, and what nobody should send."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylvs.sync.message import MOST_CONNECTIONS, Flag, Message, SyncConnection, decode, encode, messages

GOLDEN = Path(__file__).parents[2] / "golden" / "sync"
RECORDED = json.loads((GOLDEN / "datagrams.json").read_text())["cases"]
TAKEN = json.loads((GOLDEN / "taken-by-kernel.json").read_text())["cases"]
DATAGRAMS = [
    pytest.param(bytes.fromhex(one), id=f"{case['name']}, {when}, {number}")
    for case in RECORDED
    for when in ("open", "closed")
    for number, one in enumerate(case.get(when, {}).get("datagrams", ()))
]
BEHAVE = re.findall(r"payload=([0-9a-f]+)", (GOLDEN.parent / "behave" / "sync.json").read_text())
DATAGRAMS += [pytest.param(bytes.fromhex(one), id=f"seen by a backup, {number}") for number, one in enumerate(BEHAVE)]


def line(text: str) -> dict[str, Any]:
    """The words of a line of `ipvsadm -Lnc`."""
    protocol, expires, state, client, virtual, server = text.split()
    minutes, seconds = expires.split(":")
    return {
        "protocol": {"TCP": 6, "UDP": 17, "SCTP": 132, "IP": 0}[protocol],
        "left": int(minutes) * 60 + int(seconds),
        "state": state,
        "tuple": (client, virtual, server),
    }


def ends(one: SyncConnection) -> tuple[str, str, str]:
    pairs = ((one.client, one.client_port), (one.virtual, one.virtual_port), (one.server, one.server_port))
    return tuple(f"[{a}]:{p}" if a.version == 6 else f"{a}:{p}" for a, p in pairs)  # type: ignore[return-value]


STATES = {
    6: {1: "ESTABLISHED", 4: "FIN_WAIT", 5: "TIME_WAIT", 7: "CLOSE_WAIT"},
    17: {0: "UDP"},
    132: {8: "ESTABLISHED"},
}


def state_of(one: SyncConnection) -> str:
    return ("NONE", "ASSURED")[one.state] if one.is_template else STATES[one.protocol][one.state]


@pytest.mark.parametrize("datagram", DATAGRAMS)
def test_what_the_kernel_sends_is_understood_and_would_be_sent_the_same(datagram: bytes) -> None:
    message = decode(datagram)
    assert message is not None
    assert not message.fault
    assert message.connections
    assert list(messages(message.connections, message.sync_id, 1472, message.version)) == [datagram]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in RECORDED])
def test_the_last_word_on_each_connection_is_what_the_kernel_lists(case: dict[str, Any]) -> None:
    for when in ("open", "closed"):
        if when not in case:
            continue
        latest = {}
        for datagram in case[when]["datagrams"]:
            message = decode(bytes.fromhex(datagram))
            assert message is not None
            latest.update({ends(one): one for one in message.connections})
        listed = {row["tuple"]: row for row in map(line, case[when]["connections"].splitlines()[2:])}
        assert latest.keys() <= listed.keys()
        for tuple_, one in latest.items():
            assert (one.protocol, state_of(one)) == (listed[tuple_]["protocol"], listed[tuple_]["state"])
            assert not one.timeout or 0 <= one.timeout - listed[tuple_]["left"] < 10


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in TAKEN])
def test_the_kernel_took_what_we_sent(case: dict[str, Any]) -> None:
    """A real backup was fed these datagrams of ours; what it listed then is what they say."""
    latest = {}
    for datagram in map(bytes.fromhex, case["datagrams"]):
        message = decode(datagram)
        assert message is not None
        assert not message.fault
        version = message.version
        assert list(messages(message.connections, message.sync_id, len(datagram), version)) == [datagram]
        latest.update({ends(one): one for one in message.connections})
    listed = {row["tuple"]: row for row in map(line, case["kernel"].splitlines()[2:])}
    assert {key: (one.protocol, state_of(one)) for key, one in latest.items()} == {
        key: (row["protocol"], row["state"]) for key, row in listed.items()
    }
    for key, one in latest.items():
        assert not one.timeout or 0 <= one.timeout - listed[key]["left"] < 5


addresses = {4: st.integers(0, 2**32 - 1).map(IPv4Address), 6: st.integers(0, 2**128 - 1).map(IPv6Address)}
ports = st.integers(0, 65535)


@st.composite
def connections(draw: st.DrawFn, families: tuple[int, ...] = (4, 6)) -> SyncConnection:
    address: st.SearchStrategy[Any] = addresses[draw(st.sampled_from(families))]
    client, virtual, server = (draw(address) for _ in range(3))
    return SyncConnection(
        *(draw(st.integers(0, 255)), client, draw(ports), virtual, draw(ports), server, draw(ports)),
        flags=draw(st.integers(0, 2**32 - 1)),
        state=draw(ports),
        timeout=draw(st.integers(0, 2**32 - 1)),
        mark=draw(st.integers(0, 2**32 - 1)),
        sequences=draw(st.sampled_from([b"", bytes(range(24))])),
        engine=draw(st.text("abcdefgh-1", max_size=16)),
        engine_data=draw(st.binary(max_size=255)),
    )


@given(st.lists(connections(), max_size=300), st.integers(0, 255), st.integers(1, 65507))
def test_what_is_sent_is_what_is_received(told: list[SyncConnection], sync_id: int, maxlen: int) -> None:
    datagrams = list(messages(told, sync_id, maxlen))
    received = [decode(one) for one in datagrams]
    assert [one for message in received if message for one in message.connections] == told
    assert all(message and message.sync_id == sync_id and not message.fault for message in received)
    for datagram, message in zip(datagrams, received, strict=True):
        assert message
        assert len(datagram) <= maxlen or len(message.connections) == 1
        assert len(message.connections) <= MOST_CONNECTIONS


@given(connections(families=(4,)))
def test_version_0_leaves_out_what_it_has_no_word_for(one: SyncConnection) -> None:
    sequences = bytes(range(24)) if one.flags & (Flag.IN_SEQ | Flag.OUT_SEQ) else b""
    told = one.replace(sequences=sequences)
    received = decode(next(messages([told], 7, 1472, 0)))
    kept = told.replace(flags=told.flags & 0xFFFF, timeout=0, mark=0, engine="", engine_data=b"")
    assert received == Message(7, (kept,), 0)


def test_version_0_has_no_ipv6() -> None:
    one = SyncConnection(6, IPv6Address(1), 1, IPv6Address(2), 2, IPv6Address(3), 3)
    assert list(messages([one], 7, 1472, 0)) == []


CIP, VIP, RIP = (IPv4Address(f"10.0.0.{number}") for number in (1, 2, 3))
USUAL = SyncConnection(6, CIP, 1024, VIP, 80, RIP, 80, 0, 1, 900)
BODY = encode(USUAL)


def framed(body: bytes, number: int = 1, *, version: int = 1, size: int | None = None) -> bytes:
    return (
        bytes((0, 7))
        + (8 + len(body) if size is None else size).to_bytes(2, "big")
        + bytes((number, version, 0, 0))
        + body
    )


def with_option(option: bytes) -> bytes:
    size = len(BODY) + len(option)
    return BODY[:2] + size.to_bytes(2, "big") + BODY[4:] + option + bytes(-size % 4)


FAULTS = {
    "ends before its last": (framed(BODY, 2), 1, "it ends before its last connection"),
    "longer than the message": (
        framed(BODY[:2] + b"\x00\x40" + BODY[4:]),
        0,
        "a connection is longer than the message",
    ),
    "version of a connection": (
        framed(BODY[:2] + b"\x10\x24" + BODY[4:]),
        0,
        "a connection of a version that is not known",
    ),
    "family": (framed(b"\x02" + BODY[1:]), 0, "a connection of a family that is not known"),
    "too short for IPv6": (framed(b"\x01" + BODY[1:]), 0, "a connection is too short"),
    "shorter than it can be": (framed(BODY[:2] + b"\x00\x00" + BODY[4:]), 0, "a connection is too short"),
    "half an option": (framed(with_option(b"\x01")), 0, "an option is cut off"),
    "an empty option": (framed(with_option(b"\x01\x00")), 0, "an option is longer than its connection"),
    "a long option": (framed(with_option(b"\x02\x09abc")), 0, "an option is longer than its connection"),
    "sequences of another size": (framed(with_option(b"\x01\x02ab")), 0, "option 1 can't be so"),
    "a name too long": (framed(with_option(b"\x03\x11" + b"a" * 17)), 0, "option 3 can't be so"),
    "a name twice": (framed(with_option(b"\x03\x01a\x03\x01b")), 0, "option 3 can't be so"),
    "a name that is no text": (framed(with_option(b"\x03\x01\xff")), 0, "the name of an engine is no text"),
    "an option that must be known": (framed(with_option(b"\x04\x01a")), 0, "option 4 is not known, and must be"),
    "an option that need not be": (framed(with_option(b"\x44\x01a")), 1, ""),
    "what comes before a fault": (
        framed(BODY + b"\x02" + BODY[1:], 2),
        1,
        "a connection of a family that is not known",
    ),
}


@pytest.mark.parametrize(("datagram", "number", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_ends_the_message(datagram: bytes, number: int, fault: str) -> None:
    message = decode(datagram)
    assert message is not None
    assert message.connections == (USUAL,) * number
    assert message.fault == fault


@pytest.mark.parametrize("datagram", [b"", b"\0\7\0", framed(BODY, size=8), framed(BODY, size=100)])
def test_a_header_that_can_not_be_right_is_no_message(datagram: bytes) -> None:
    assert decode(datagram) is None


@given(st.binary(max_size=200), st.integers(0, 2))
def test_nothing_is_raised_whatever_comes(noise: bytes, version: int) -> None:
    for datagram in (noise, framed(noise, 3, version=version)):
        message = decode(datagram)
        assert message is None or len(message.connections) <= MOST_CONNECTIONS


@given(st.sampled_from([param.values[0] for param in DATAGRAMS]), st.data())
def test_nothing_is_raised_for_a_real_one_that_was_damaged(datagram: Any, data: st.DataObject) -> None:
    damaged = bytearray(datagram)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    decode(bytes(damaged))
