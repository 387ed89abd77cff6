"""The sync protocol of IPVS, version 1 and the older 0, as bytes. Pure: nothing here knows a table or a socket.

Version 1 is a header of 8 bytes (0, sync id, size, number of connections, version, 0) and connections that begin on
multiples of 4 bytes: 36 of IPv4 or 72 of IPv6, and then options as type, length, data. Version 0 is a header of 4 bytes
(number, sync id, size) and connections of IPv4 only, 24 bytes each, without marks and timeouts.

A receiver believes nothing: a message that is not whole yields what came before the fault, as with the kernel's.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from pylvs.model import IPAddress
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERSION = 1
MOST_CONNECTIONS = 255
"""Of one message: its header has one byte for their number."""

_HEADER = struct.Struct("!BBHBbH")
_HEADER_V0 = struct.Struct("!BBH")
_FIXED = struct.Struct("!BBHIHHHHII")  # all but the addresses, which are of 4 or 16 bytes
_CONNECTION_V0 = struct.Struct("!BBHHH4s4s4sHH")
_SEQUENCES = 24
_IPV6 = 1
_ADDRESS_SIZES = {4: 4, 6: 16}
_SIZE_MASK, _VERSION_SHIFT = 0xFFF, 12


class Flag:
    """Bits of a connection's flags on the wire, the kernel's IP_VS_CONN_F_*; the lowest three are its method.

    Plain numbers: an enum's would take longer than all else that is done with a connection.
    """

    NOOUTPUT = 0x80
    INACTIVE = 0x100
    OUT_SEQ = 0x200
    IN_SEQ = 0x400
    NO_CLIENT_PORT = 0x800
    TEMPLATE = 0x1000


METHOD_MASK = 7
NAT, LOCAL, TUN, DR = 0, 1, 2, 3
"""The forwarding methods in the flags."""


class _Option:
    SEQUENCES, ENGINE_DATA, ENGINE_NAME = 1, 2, 3
    MAY_BE_SKIPPED = 0x40


_LONGEST = {_Option.SEQUENCES: _SEQUENCES, _Option.ENGINE_DATA: 255, _Option.ENGINE_NAME: 16}


class SyncConnection(Value):
    """A connection, or a persistence template, as one director tells another of it.

    `state` is the protocol's own number.
    """

    protocol: int
    client: IPAddress
    client_port: int
    virtual: IPAddress
    virtual_port: int
    server: IPAddress
    server_port: int
    flags: int = 0
    state: int = 0
    timeout: int = 0
    """In seconds; 0: as long as the state says."""
    mark: int = 0
    sequences: bytes = b""
    """What NAT helpers have added to and taken from TCP's sequence numbers: 24 bytes, or none."""
    engine: str = ""
    engine_data: bytes = b""

    @property
    def is_template(self) -> bool:
        """Whether it is a persistence template."""
        return bool(self.flags & Flag.TEMPLATE)


class Message(Value):
    """One datagram. `fault` says why its rest was not read."""

    sync_id: int
    connections: tuple[SyncConnection, ...]
    version: int = VERSION
    fault: str = ""


class _Fault(Exception):
    """What can't be read, and all behind it, is left alone."""


def encode(connection: SyncConnection) -> bytes:
    """A connection in version 1, as long as it is on the wire before the next one begins."""
    options = _encode_options(connection)
    size = _FIXED.size + 3 * _ADDRESS_SIZES[connection.client.version] + len(options)
    fixed = _FIXED.pack(
        _IPV6 if connection.client.version == 6 else 0,
        connection.protocol,
        size,
        connection.flags,
        connection.state,
        connection.client_port,
        connection.virtual_port,
        connection.server_port,
        connection.mark,
        connection.timeout,
    )
    addresses = connection.client.packed + connection.virtual.packed + connection.server.packed
    return fixed + addresses + options + bytes(-size % 4)


def _encode_options(connection: SyncConnection) -> bytes:
    given = (
        (_Option.SEQUENCES, connection.sequences),
        (_Option.ENGINE_DATA, connection.engine_data),
        (_Option.ENGINE_NAME, connection.engine.encode()),
    )
    return b"".join(bytes((kind, len(data))) + data for kind, data in given if data)


def encode_v0(connection: SyncConnection) -> bytes:
    """A connection in version 0; that has no IPv6."""
    return _CONNECTION_V0.pack(
        0,
        connection.protocol,
        connection.client_port,
        connection.virtual_port,
        connection.server_port,
        connection.client.packed,
        connection.virtual.packed,
        connection.server.packed,
        connection.flags & 0xFFFF,
        connection.state,
    ) + (connection.sequences if connection.flags & (Flag.IN_SEQ | Flag.OUT_SEQ) else b"")


def messages(
    connections: Iterable[SyncConnection], sync_id: int, maxlen: int, version: int = VERSION
) -> Iterator[bytes]:
    """As few datagrams of at most `maxlen` bytes as hold them all in order; a single one may be longer than that."""
    header = _HEADER.size if version else _HEADER_V0.size
    waiting: list[bytes] = []
    size = header
    for connection in connections:
        if not version and connection.client.version == 6:
            continue
        one = encode(connection) if version else encode_v0(connection)
        if waiting and (size + len(one) > maxlen or len(waiting) == MOST_CONNECTIONS):
            yield _message(waiting, sync_id, version)
            waiting, size = [], header
        waiting.append(one)
        size += len(one)
    if waiting:
        yield _message(waiting, sync_id, version)


def _message(encoded: list[bytes], sync_id: int, version: int) -> bytes:
    body = b"".join(encoded)
    if version:
        return _HEADER.pack(0, sync_id, _HEADER.size + len(body), len(encoded), version, 0) + body
    return _HEADER_V0.pack(len(encoded), sync_id, _HEADER_V0.size + len(body)) + body


def decode(data: bytes) -> Message | None:
    """A datagram, whatever its version; None for one whose header can't be right."""
    if len(data) < _HEADER_V0.size:
        return None
    first, sync_id, size = _HEADER_V0.unpack_from(data)
    if size != len(data):
        return None
    if len(data) >= _HEADER.size:
        zero, _, _, number, version, spare = _HEADER.unpack_from(data)
        if version == VERSION and not zero and not spare:
            return _collected(_walk(data, number), sync_id, VERSION)
    return _collected(_walk_v0(data, first), sync_id, 0)


def _collected(found: Iterator[SyncConnection], sync_id: int, version: int) -> Message:
    connections: list[SyncConnection] = []
    fault = ""
    try:
        for one in found:
            connections.append(one)  # noqa: PERF402 (those before a fault are kept)
    except _Fault as error:
        fault = str(error)
    return Message(sync_id, tuple(connections), version, fault)


def _walk(data: bytes, number: int) -> Iterator[SyncConnection]:
    at = _HEADER.size
    for _ in range(number):
        if at + _FIXED.size > len(data):
            raise _Fault("it ends before its last connection")
        kind, _, version_and_size = struct.unpack_from("!BBH", data, at)
        end = at + (version_and_size & _SIZE_MASK)
        if end > len(data):
            raise _Fault("a connection is longer than the message")
        if version_and_size >> _VERSION_SHIFT:
            raise _Fault("a connection of a version that is not known")
        if kind > _IPV6:
            raise _Fault("a connection of a family that is not known")
        yield _connection(data, at, end, _ADDRESS_SIZES[6 if kind else 4])
        at += end - at + 3 & ~3


def _connection(data: bytes, at: int, end: int, width: int) -> SyncConnection:
    addresses = at + _FIXED.size
    options = addresses + 3 * width
    if options > end:
        raise _Fault("a connection is too short")
    _, protocol, _, flags, state, client_port, virtual_port, server_port, mark, timeout = _FIXED.unpack_from(data, at)
    client, virtual, server = (_address(data[start : start + width]) for start in range(addresses, options, width))
    sequences, engine_data, engine = _decode_options(data, options, end)
    return SyncConnection(
        *(protocol, client, client_port, virtual, virtual_port, server, server_port),
        *(flags, state, timeout, mark, sequences, engine, engine_data),
    )


def _address(packed: bytes) -> IPAddress:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _decode_options(data: bytes, at: int, end: int) -> tuple[bytes, bytes, str]:
    found: dict[int, bytes] = {}
    while at < end:
        if at + 2 > end:
            raise _Fault("an option is cut off")
        kind, length = data[at], data[at + 1]
        at += 2
        if not length or at + length > end:
            raise _Fault("an option is longer than its connection")
        _take_option(found, kind, data[at : at + length])
        at += length
    name = found.get(_Option.ENGINE_NAME, b"")
    return found.get(_Option.SEQUENCES, b""), found.get(_Option.ENGINE_DATA, b""), _text(name)


def _take_option(found: dict[int, bytes], kind: int, value: bytes) -> None:
    name = kind & ~_Option.MAY_BE_SKIPPED
    if name not in _LONGEST:
        if kind & _Option.MAY_BE_SKIPPED:
            return
        raise _Fault(f"option {kind} is not known, and must be")
    wrong = len(value) != _SEQUENCES if name == _Option.SEQUENCES else len(value) > _LONGEST[name]
    if wrong or name in found:
        raise _Fault(f"option {kind} can't be so")
    found[name] = value


def _text(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError:
        raise _Fault("the name of an engine is no text") from None


def _walk_v0(data: bytes, number: int) -> Iterator[SyncConnection]:
    at = _HEADER_V0.size
    for _ in range(number):
        if at + _CONNECTION_V0.size > len(data):
            raise _Fault("it ends before its last connection")
        _, protocol, client_port, virtual_port, server_port, client, virtual, server, flags, state = (
            _CONNECTION_V0.unpack_from(data, at)
        )
        at += _CONNECTION_V0.size
        sequences = b""
        if flags & (Flag.IN_SEQ | Flag.OUT_SEQ):
            sequences = data[at : at + _SEQUENCES]
            at += _SEQUENCES
            if at > len(data):
                raise _Fault("it ends within its sequence numbers")
        yield SyncConnection(
            protocol,
            IPv4Address(client),
            client_port,
            IPv4Address(virtual),
            virtual_port,
            IPv4Address(server),
            server_port,
            flags,
            state,
            sequences=sequences,
        )
