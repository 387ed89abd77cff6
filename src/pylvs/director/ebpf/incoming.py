"""Connections that another director has told of, put into the table. What is told is not believed: it is checked here,
bound to a server that this director has itself, and inserted by the data plane as it inserts its own.
"""

from __future__ import annotations

import struct
import time
from ipaddress import IPv4Address

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.convert import pack_address, pack_key
from pylvs.director.ebpf.servers import Servers
from pylvs.model import FirewallMark, Protocol
from pylvs.sync.message import Flag
from pylvs.sync.states import from_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pylvs.director.ebpf.table import Table
    from pylvs.model import IPAddress
    from pylvs.sync.message import SyncConnection

_TOLD = struct.Struct("=16s16s16sIIHHBBBB")
_LONGEST = 31 * 86400  # as long as any timeout can be set to
_TEMPLATE_TIMEOUT = 180  # the kernel's, for a template of the protocol's version 0, which does not say
_MOST_WAITING = 1 << 16
_PROTOCOLS = frozenset(map(int, Protocol))

_Key = tuple[int, bool, "IPAddress", int, "IPAddress", int]


class Incoming:
    """The way into one director's table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._servers = Servers(table)
        self._waiting: dict[_Key, tuple[SyncConnection, float]] = {}

    def take(self, connections: Iterable[SyncConnection]) -> int:
        """How many of them are in the table now. Those whose server isn't there wait for it, until they would end."""
        told = []
        for one in connections:
            if not is_plausible(one):
                continue
            record = self._record(one)
            if record is None:
                self._let_wait(one)
            else:
                self._waiting.pop(_key(one), None)
                told.append(record)
        return sum(self._hand_over(told[at : at + abi.TOLD_AT_ONCE]) for at in range(0, len(told), abi.TOLD_AT_ONCE))

    def look_again(self) -> None:
        """See which servers there are now: some may have been waited for."""
        if not self._servers.look_again():
            return
        now = time.monotonic()
        waiting, self._waiting = self._waiting, {}
        self.take(one.replace(timeout=int(until - now) + 1) for one, until in waiting.values() if until > now)

    def _hand_over(self, records: list[bytes]) -> int:
        frame = b"".join((bytes(_TOLD.size), *records))
        return int(libbpf.test_run(self._table.fd("take_over"), frame).retval)

    def _let_wait(self, one: SyncConnection) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._waiting[_key(one)] = one, time.monotonic() + (one.timeout or _TEMPLATE_TIMEOUT)

    def _record(self, one: SyncConnection) -> bytes | None:
        """As the data plane takes it; None where its server isn't there."""
        service = self._service(one)
        server = self._servers.number(service, one.server, one.server_port) if service is not None else None
        if service is None or server is None:
            return None
        timeout = min(one.timeout, _LONGEST) * abi.TICKS_A_SECOND
        state = from_wire(one.protocol, one.state) or 0
        virtual, port, protocol = pack_address(one.virtual), one.virtual_port, one.protocol
        if one.is_template:
            key = self._servers.key(service)
            virtual, protocol = key[:16], key[18] | abi.TEMPLATE_PROTOCOL
            port = port if key[18] else 0
            timeout = timeout or _TEMPLATE_TIMEOUT * abi.TICKS_A_SECOND
            state = 0
        ports = (int.from_bytes(each.to_bytes(2, "big"), "little") for each in (one.client_port, port))
        return _TOLD.pack(
            *(pack_address(one.client), virtual, pack_address(one.server), server, timeout, *ports),
            *(protocol, state, bool(one.flags & Flag.INACTIVE), one.is_template and one.state == 1),
        )

    def _service(self, one: SyncConnection) -> int | None:
        """In the order in which the data plane looks, too: mark, address and port, FTP, every port."""
        version = one.virtual.version
        if one.mark and (found := self._servers.service(pack_key(FirewallMark(one.mark, version)))) is not None:
            return found
        vip = pack_address(one.virtual)
        for port in (one.virtual_port, 21, 0):
            found = self._servers.service(vip + port.to_bytes(2, "big") + bytes((one.protocol, *bytes(5))))
            if found is not None and (port != 21 or one.virtual_port == 21 or self._is_ftp_data(one, found)):
                return found
        return None

    def _is_ftp_data(self, one: SyncConnection, service: int) -> bool:
        data = one.virtual_port in (0, 20) or one.virtual_port >= 1024
        return data and one.protocol == Protocol.TCP and bool(self._table.services[service].persistence)


def _key(one: SyncConnection) -> _Key:
    return one.protocol, one.is_template, one.client, one.client_port, one.virtual, one.virtual_port


def is_plausible(one: SyncConnection) -> bool:
    """Whether a director of ours could have it: a connection or a template. None of ours has an engine's data."""
    if one.engine or one.engine_data or not one.client.version == one.virtual.version == one.server.version:
        return False
    if one.is_template:
        known = one.protocol in _PROTOCOLS or (one.protocol == 0 and one.mark != 0)
        return known and one.client_port == 0 and one.state <= 1
    if from_wire(one.protocol, one.state) is None or not one.client_port or not one.virtual_port:
        return False
    return _may_be_client(one.client) and not one.server.is_unspecified


def _may_be_client(address: IPAddress) -> bool:
    """As the data plane: no honest packet comes from elsewhere."""
    if isinstance(address, IPv4Address):
        return 0 < address.packed[0] < 224 and address.packed[0] != 127
    return not (address.is_multicast or address.is_unspecified or address.is_loopback)
