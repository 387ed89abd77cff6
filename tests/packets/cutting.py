"""What is too big for its way out and may be cut: the services, the packets, and how fragments are put together."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from typing import Any, NamedTuple

from scapy.layers.inet6 import IPv6

from pylvs.model import (
    ForwardingMethod,
    RealServer,
    Tunnel,
    TunnelChecksum,
    TunnelType,
    VirtualService,
)
from tests.packets.fragments import IDS
from tests.packets.frames import datagram, hop, request
from tests.packets.plane import Plane, endpoint, service
from tests.packets.wire import MACS, NARROW, RIP4, VIP

RIP6, DIP6, DIP1 = "fd00:10::5", "fd00:10::1", "192.168.10.1"
GUE_PORT = 6080
_NAT, _DR, _TUN, _FULLNAT = (ForwardingMethod(name) for name in ("nat", "dr", "tun", "fullnat"))


class Way(NamedTuple):
    """A service whose server is behind a narrow link, and what IP length a packet of the client gets on that."""

    service: str
    server: str
    method: ForwardingMethod
    tunnel: Tunnel = Tunnel()
    added: int = 0

    @property
    def six(self) -> bool:
        return RIP6 in self.server

    @property
    def port(self) -> int:
        return int(self.service.rpartition(":")[2])

    def packet(self, length: int, **ip: Any) -> Any:
        """What the client sends, with this IP length."""
        ip = {"id": next(IDS) % 65536, **ip}
        if self.service.startswith("udp"):
            return datagram(self.port, size=length - 28, ip=ip)
        return request(self.port, "PA", size=length - 40, ip=ip)


WAYS = {
    "NAT": Way(f"udp {VIP}:53", f"{NARROW}:5353", _NAT),
    "NAT, TCP": Way(f"tcp {VIP}:80", f"{NARROW}:8080", _NAT),
    "DR": Way(f"udp {VIP}:54", f"{NARROW}:54", _DR),
    "FULLNAT": Way(f"udp {VIP}:55", f"{NARROW}:5555", _FULLNAT),
    "FULLNAT, TCP": Way(f"tcp {VIP}:55", f"{NARROW}:5555", _FULLNAT),
    "FULLNAT to IPv6": Way(f"udp {VIP}:56", f"{RIP6}:5555", _FULLNAT, added=20),
    "IPIP": Way(f"udp {VIP}:60", f"{NARROW}:60", _TUN, added=20),
    "IPIP, TCP": Way(f"tcp {VIP}:60", f"{NARROW}:60", _TUN, added=20),
    "GRE": Way(f"udp {VIP}:61", f"{NARROW}:61", _TUN, Tunnel(TunnelType.GRE), 24),
    "GRE with a checksum": Way(
        f"udp {VIP}:62", f"{NARROW}:62", _TUN, Tunnel(TunnelType.GRE, checksum=TunnelChecksum.CSUM), 28
    ),
    "GUE": Way(f"udp {VIP}:63", f"{NARROW}:63", _TUN, Tunnel(TunnelType.GUE, GUE_PORT), 32),
    "GUE with a checksum": Way(
        f"tcp {VIP}:64", f"{NARROW}:64", _TUN, Tunnel(TunnelType.GUE, GUE_PORT, TunnelChecksum.CSUM), 32
    ),
    "IPIP in IPv6": Way(f"udp {VIP}:65", f"{RIP6}:65", _TUN, added=40),
    "GUE in IPv6": Way(f"udp {VIP}:66", f"{RIP6}:66", _TUN, Tunnel(TunnelType.GUE, GUE_PORT, TunnelChecksum.CSUM), 52),
}
JUMBO = {
    "NAT": Way(f"udp {VIP}:70", f"{RIP4}:7070", _NAT),
    "DR": Way(f"udp {VIP}:71", f"{RIP4}:71", _DR),
}
"""The same behind a link that carries more."""


def furnish(plane: Plane) -> None:
    """A director with these services."""
    _ip(
        f"address replace {DIP6}/64 dev eth1 nodad",
        f"neighbour replace {RIP6} lladdr {MACS[NARROW]} dev eth1 nud permanent",
    )
    plane.reset()
    for way in (*WAYS.values(), *JUMBO.values()):
        plane.director.add_service(VirtualService(service(way.service), "rr"))
        plane.director.add_server(service(way.service), RealServer(endpoint(way.server), way.method, tunnel=way.tunnel))


def set_mtu(plane: Plane, mtu: int) -> None:
    """Of the way to the servers."""
    _ip(
        f"route replace {NARROW}/32 dev eth1 mtu lock {mtu}",
        f"route replace {RIP6}/128 dev eth1 mtu lock {max(mtu, 1280)}",
    )
    plane.forgets_the_way()


def _ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


class Piece(NamedTuple):
    """One fragment: where it belongs, and a header in which nothing is left that tells fragments apart."""

    at: int
    more: bool
    header: bytes
    data: bytes


def piece(packet: bytes) -> Piece:
    """Of IPv4 or IPv6; the header of an IPv4 packet must have a right checksum."""
    if packet[0] >> 4 == 6:
        assert packet[6] == 44, "a fragment header"
        assert struct.unpack_from("!H", packet, 4)[0] == len(packet) - 40
        field = struct.unpack_from("!H", packet, 42)[0]
        header = packet[:4] + bytes(2) + packet[6:42] + bytes(2) + packet[44:48]
        return Piece(field & 0xFFF8, bool(field & 1), header, packet[48:])
    size = (packet[0] & 0xF) * 4
    assert folded(packet[:size]) == 0xFFFF
    assert struct.unpack_from("!H", packet, 2)[0] == len(packet)
    field = struct.unpack_from("!H", packet, 6)[0]
    assert not field & 0xC000
    header = packet[:2] + bytes(2) + packet[4:6] + bytes(2) + packet[8:10] + bytes(2) + packet[12:size]
    return Piece((field & 0x1FFF) * 8, bool(field & 0x2000), header, packet[size:])


def whole(packets: Sequence[bytes], mtu: int, *, options: bool = False) -> tuple[bytes, bytes]:
    """The header and payload of what was cut, if it was cut as the kernel does: in order, in as few as possible."""
    found = [piece(packet) for packet in packets]
    at = found[0].at
    for one in found[:-1]:
        most = mtu - len(one.header)
        assert (one.at, one.more, len(one.data)) == (at, True, most & ~7)
        at += len(one.data)
        assert options or one.header == found[0].header
    assert found[-1].at == at
    assert 0 < len(found[-1].data) <= mtu - len(found[-1].header)
    return found[0].header, b"".join(one.data for one in found)


def folded(data: bytes) -> int:
    """The ones' complement sum."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def unwrapped(way: Way, header: bytes, data: bytes) -> bytes:
    """What a tunnel's packet carries; the checksums of GRE and GUE must be right."""
    protocol = header[40] if way.six else header[9]
    if way.tunnel.type is TunnelType.IPIP:
        assert protocol == 4
        return data
    if way.tunnel.type is TunnelType.GRE:
        checked = way.tunnel.checksum is not TunnelChecksum.NONE
        assert (protocol, data[:4]) == (47, b"\x80\0\x08\0" if checked else b"\0\0\x08\0")
        assert not checked or folded(data) == 0xFFFF
        return data[8 if checked else 4 :]
    addresses = header[8:40] if way.six else header[12:20]
    assert (protocol, data[2:6], data[8:12]) == (17, struct.pack("!HH", GUE_PORT, len(data)), b"\0\x04\0\0")
    if way.tunnel.checksum is TunnelChecksum.NONE:
        assert data[6:8] == b"\0\0"
    else:
        assert folded(addresses + struct.pack("!HH", 17, len(data)) + data) == 0xFFFF
    return data[12:]


def _moved(way: Way, packet: Any, source_port: int) -> Any:
    """Of NAT, DR and FULLNAT, before it is cut."""
    rip, _, port = way.server.rpartition(":")
    if way.method is _DR:
        return hop(packet)
    if way.method is _NAT:
        return hop(packet, {"dst": rip}, dport=int(port))
    if not way.six:
        return hop(packet, {"src": DIP1, "dst": rip}, sport=source_port, dport=int(port))
    inner = packet.payload.copy()
    inner.sport, inner.dport, inner.chksum = source_port, int(port), None
    return IPv6(src=DIP6, dst=RIP6, hlim=packet.ttl - 1) / inner


def check(way: Way, packet: Any, packets: Sequence[bytes], mtu: int) -> None:
    """Put together, the fragments are what the packet becomes on a way that is wide enough."""
    header, data = whole(packets, mtu)
    if way.method is _TUN:
        assert unwrapped(way, header, data) == bytes(hop(packet))
        return
    expected = bytes(_moved(way, packet, struct.unpack_from("!H", data)[0]))
    if way.six:
        assert (header[8:40], header[40]) == (expected[8:40], expected[6])
        assert data == expected[40:]
        return
    size = (expected[0] & 0xF) * 4
    same = [slice(0, 2), slice(4, 6), slice(8, 10), slice(12, size)]
    assert [header[part] for part in same] == [expected[part] for part in same]
    assert data == expected[size:]
