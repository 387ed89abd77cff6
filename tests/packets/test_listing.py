"""How slots of the connection table are listed: as the kernel lists its connections."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pylvs.director.ebpf import abi
from pylvs.director.ebpf.convert import pack_address
from pylvs.model import FirewallMark, ForwardingMethod, RealServer, ServiceId, VirtualService
from tests.ipvsadm import ipvsadm
from tests.packets.plane import Plane, endpoint, service
from tests.packets.wire import CIP, RIP1, VIP

pytestmark = pytest.mark.root

NAT, TUN = ForwardingMethod.NAT, ForwardingMethod.TUN
WEB, EVERY, FTP = service(f"tcp {VIP}:80"), service(f"tcp {VIP}:0"), service(f"tcp {VIP}:21")
MARK, MARK6 = FirewallMark(7), FirewallMark(7, 6)
TEMPLATE = abi.TEMPLATE_PROTOCOL
TCP, SCTP = 6, 132


def put(plane: Plane, client: str, virtual: str, protocol: int, *, state: int = 0, bits: int = 0) -> None:
    """A live slot of the only server, good for 59.x seconds."""
    source, destination = endpoint(client), endpoint(virtual)
    slot = plane.table.connections[0].slot[0]
    slot.source = abi.Address.from_buffer_copy(pack_address(source.address))
    slot.destination = abi.Address.from_buffer_copy(pack_address(destination.address))
    slot.source_port, slot.destination_port = source.port, destination.port
    slot.deadline = plane.settings.now + 60 * abi.TICKS_A_SECOND - 1
    shift = abi.ControlShift
    slot.control = abi.SlotPhase.LIVE | state << shift.STATE | protocol << shift.PROTOCOL | bits


def listed(plane: Plane) -> str:
    outcome = ipvsadm(["-Lnc"], plane.director)
    assert outcome.rc == 0
    return outcome.stdout.splitlines()[2]


def serve(plane: Plane, id: ServiceId, rip: str, *, persistence: int | None = None) -> None:
    plane.director.add_service(VirtualService(id, persistence=persistence))
    plane.director.add_server(id, RealServer(endpoint(rip), TUN))


@pytest.mark.parametrize(
    ("id", "virtual", "expected"),
    [
        (WEB, f"{VIP}:80", f"TCP 00:59  NONE        110.0.0.0:0        {VIP}:80   {RIP1}:8080"),
        (EVERY, f"{VIP}:0", f"TCP 00:59  NONE        110.0.0.0:0        {VIP}:0    {RIP1}:0"),
        (FTP, f"{VIP}:0", f"TCP 00:59  NONE        110.0.0.0:0        {VIP}:0    {RIP1}:0"),
        (MARK, "0.0.0.7:0", f"IP  00:59  NONE        110.0.0.0:0        0.0.0.7:0          {RIP1}:0"),
    ],
    ids=["one port", "every port", "FTP", "mark"],
)
def test_templates(plane: Plane, id: ServiceId, virtual: str, expected: str) -> None:
    serve(plane, id, f"{RIP1}:8080", persistence=60)
    protocol = TEMPLATE | (0 if isinstance(id, FirewallMark) else id.protocol)
    put(plane, "110.0.0.0:0", virtual, protocol)
    assert listed(plane) == expected
    put(plane, "110.0.0.0:0", virtual, protocol, bits=1 << abi.ControlShift.ASSURED)
    assert listed(plane) == expected.replace("NONE   ", "ASSURED")


def test_template_of_an_ipv6_mark(plane: Plane) -> None:
    serve(plane, MARK6, f"{RIP1}:0", persistence=60)
    put(plane, "fd00:10:::0", "::7:0", TEMPLATE)
    assert listed(plane) == f"IP  00:59  NONE        [fd00:10::]:0      [::7]:0            {RIP1}:0"


@pytest.mark.parametrize(
    ("id", "persistence", "port", "shown"),
    [
        (WEB, None, 80, 8080),
        (EVERY, 60, 443, 443),
        (FTP, 60, 21, 8080),
        (FTP, 60, 5000, 5000),
        (MARK, None, 443, 8080),
        (MARK, 60, 443, 443),
    ],
)
def test_port_of_the_server(plane: Plane, id: ServiceId, persistence: int | None, port: int, shown: int) -> None:
    serve(plane, id, f"{RIP1}:8080", persistence=persistence)
    put(plane, f"{CIP}:5000", f"{VIP}:{port}", TCP, state=abi.ConnectionState.SYN_RECV)
    assert listed(plane).split()[-1] == f"{RIP1}:{shown}"


STATES = (
    *("NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED", "ESTABLISHED"),
    *("S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED"),
)


@pytest.mark.parametrize(("number", "name"), list(enumerate(STATES, abi.ConnectionState.SCTP_NONE)))
def test_states_of_sctp(plane: Plane, number: int, name: str) -> None:
    serve(plane, service(f"sctp {VIP}:36412"), f"{RIP1}:36412")
    put(plane, f"{CIP}:20040", f"{VIP}:36412", SCTP, state=number)
    assert listed(plane) == f"SCTP 00:59  {name:11} {CIP}:20040    {VIP}:36412 {RIP1}:36412"


def test_ipv6_through_a_tunnel_of_ipv4(plane: Plane) -> None:
    serve(plane, service("tcp fd00:20::100:80"), f"{RIP1}:80")
    put(plane, "fd00:10::2:22000", "fd00:20::100:80", TCP, state=abi.ConnectionState.ESTABLISHED)
    expected = f"TCP 00:59  ESTABLISHED [fd00:10::2]:22000 [fd00:20::100]:80  {RIP1}:80"
    assert listed(plane) == expected
    (one,) = plane.connections()
    assert one.client.address == ip_address("fd00:10::2")


def test_a_numeric_listing_says_what_its_values_say(plane: Plane) -> None:
    """It is made without them, as there may be a million."""
    from pylvs.views.connection import connections, numeric_lines
    from pylvs.views.endpoint import numeric

    plane.serve(f"tcp {VIP}:80", f"{RIP1}:8080")
    serve(plane, service("tcp fd00::80:443"), "fd00::11:443", persistence=60)
    for number, (client, virtual, bits) in enumerate(
        [("110.0.0.1:4000", f"{VIP}:80", 0), ("fd00::5:0", "fd00::80:443", 1 << abi.ControlShift.ASSURED)]
    ):
        for state in (1, 3):
            put(plane, client, virtual, TCP | (TEMPLATE if bits else 0), state=state, bits=bits)
            plane.table.connections[0].slot[0].server = number
            expected = list(connections(plane.director.connections(), numeric))
            assert list(numeric_lines(plane.director.connection_rows())) == expected
            assert len(expected) == 2
