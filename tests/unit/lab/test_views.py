"""How labs and their networks are shown."""

from __future__ import annotations

import io
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pylvs.lab.hop import Hop
from pylvs.lab.packet import Outer, Packet
from pylvs.lab.status import LabStatus, NodeStatus
from pylvs.lab.topology import Lab, Port, topology
from pylvs.model import Endpoint, ForwardingMethod, TunnelType
from pylvs.views.hop import hop_table
from pylvs.views.lab import announcement, as_fields, drawing, show

if TYPE_CHECKING:
    import pytest

NAT = topology(Lab("nat", ForwardingMethod.NAT))
LAB_PAGE = Path(__file__).parents[3] / "docs/lab.md"

DRAWING = """
client          eth0  02:00:00:0c:00:00  110.0.0.1/24 CIP, gateway 110.0.0.254
  |
router          eth0  02:00:00:0e:00:00  110.0.0.254/24
                eth1  02:00:00:0e:00:01  192.168.0.15/24
  |
switch
  |-- director  eth0  02:00:00:0d:00:00  192.168.0.208/24 DIP, 192.168.0.250/24 VIP, gateway 192.168.0.15
  |-- rs1       eth0  02:00:00:05:01:00  192.168.0.188/24 RIP, gateway 192.168.0.15
  |             lo                       192.168.0.250/32 VIP
  `-- rs2       eth0  02:00:00:05:02:00  192.168.0.111/24 RIP, gateway 192.168.0.15
                lo                       192.168.0.250/32 VIP
"""


ELSEWHERE = """
client           eth0  02:00:00:0c:00:00  110.0.0.1/24 CIP, gateway 110.0.0.254
                                          2001:db8:110::1/64 CIP, gateway 2001:db8:110::254
  |
router           eth0  02:00:00:0e:00:00  110.0.0.254/24
                                          2001:db8:110::254/64
                 eth1  02:00:00:0e:00:01  198.51.100.2/24
                                          2001:db8:51::2/64
                 eth2  02:00:00:0e:00:02  192.0.2.1/24
                                          2001:db8:2::1/64
  |-- switch
  |     |
  |   director   eth0  02:00:00:0d:00:00  198.51.100.200/24 DIP, 198.51.100.100/24 VIP, gateway 198.51.100.2
  |                                       2001:db8:51::200/64 DIP, gateway 2001:db8:51::2
  `-- router2    eth0  02:00:00:0e:02:00  192.0.2.2/24, gateway 192.0.2.1
                                          2001:db8:2::2/64, gateway 2001:db8:2::1
                 eth1  02:00:00:0e:02:01  203.0.113.2/24
                                          2001:db8:113::2/64
        |
      switch2
        |-- rs1  eth0  02:00:00:05:01:00  203.0.113.110/24 RIP, gateway 203.0.113.2
        |                                 2001:db8:113::110/64 RIP, gateway 2001:db8:113::2
        `-- rs2  eth0  02:00:00:05:02:00  203.0.113.210/24 RIP, gateway 203.0.113.2
                                          2001:db8:113::210/64 RIP, gateway 2001:db8:113::2
"""


def lab_status(*missing: str) -> LabStatus:
    nodes = (
        NodeStatus(node.name, node, node.name not in missing, (7,) if node.is_server else ()) for node in NAT.nodes
    )
    return LabStatus("nat", NAT.lab, complete=True, nodes=tuple(nodes))


def test_drawing() -> None:
    assert drawing(topology(Lab("dr", ForwardingMethod.DR))) == DRAWING.strip()


def test_drawing_of_two_networks_and_two_families() -> None:
    assert drawing(topology(Lab("tun", ForwardingMethod.TUN, server_family=6))) == ELSEWHERE.strip()


def test_hops_with_what_was_wrapped() -> None:
    cip, vip, dip, rip = map(ip_address, ("110.0.0.1", "198.51.100.100", "198.51.100.200", "203.0.113.110"))
    outer = Outer(TunnelType.GUE, dip, rip, 64)
    packet = Packet(
        "02:00:00:0d:00:00", "02:00:00:0e:00:01", Endpoint(cip, 5), Endpoint(vip, 80), 62, False, 0, 0, b"GET "
    )
    hops = [
        Hop(2000, Port("director", "eth0"), outgoing, packet.replace(outer=outer if outgoing else None))
        for outgoing in (False, True)
    ]
    out = Console(width=160, file=io.StringIO(), record=True)
    out.print(hop_table(hops, {"02:00:00:0d:00:00": "director"}, out))
    _, bare, wrapped, within = (re.split(r"  +", line.strip()) for line in out.export_text().splitlines())
    assert bare[-2:] == ["110.0.0.1:5 > 198.51.100.100:80", "62"]
    assert wrapped[-2:] == ["198.51.100.200 > 203.0.113.110 gue", "64"]
    assert within == ["in it: 110.0.0.1:5 > 198.51.100.100:80", "62"]


def test_announcement_names_an_address_that_answers() -> None:
    assert announcement(NAT).endswith("pylvs lab exec --name nat client -- curl http://192.168.101.100/")
    both = announcement(topology(NAT.lab.replace(families=(4, 6))))
    assert both.endswith("pylvs lab exec --name nat client -- curl http://[fd00:101::100]/")
    bare = topology(NAT.lab.replace(service=False))
    assert announcement(bare).endswith("pylvs lab exec --name nat client -- curl http://192.168.101.110/")


def test_status_of_a_whole_lab(capsys: pytest.CaptureFixture[str]) -> None:
    show([lab_status()])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "lab nat: nat, scheduler rr, hook auto: up"
    assert said[2].split() == ["client", "eth0", "02:00:00:0c:00:00", "110.0.0.1/24"]


def test_status_of_what_a_crash_left(capsys: pytest.CaptureFixture[str]) -> None:
    show([LabStatus("x", None, complete=False, nodes=(NodeStatus("client", None, present=True, processes=(5,)),))])
    said = capsys.readouterr().out
    assert "lab x: not whole" in said
    assert said.splitlines()[2].split() == ["client", "5"]


def test_status_without_a_lab(capsys: pytest.CaptureFixture[str]) -> None:
    show([])
    assert capsys.readouterr().out == "no lab is up\n"


def test_a_lab_is_not_whole_without_a_node() -> None:
    assert lab_status().whole
    assert not lab_status("router").whole
    assert as_fields(lab_status("router"))["whole"] is False


def test_docs_show_the_lab_as_it_is_drawn() -> None:
    assert f"```\n{drawing(topology(Lab('tun', ForwardingMethod.TUN)))}\n```" in LAB_PAGE.read_text()
