"""How labs and their networks are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pylvs.lab.status import LabStatus, NodeStatus
from pylvs.lab.topology import Lab, topology
from pylvs.model import ForwardingMethod
from pylvs.views.lab import announcement, as_fields, drawing, show

if TYPE_CHECKING:
    import pytest

NAT = topology(Lab("nat", ForwardingMethod.NAT))

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


def lab_status(*missing: str) -> LabStatus:
    nodes = (
        NodeStatus(node.name, node, node.name not in missing, (7,) if node.is_server else ()) for node in NAT.nodes
    )
    return LabStatus("nat", NAT.lab, complete=True, nodes=tuple(nodes))


def test_drawing() -> None:
    assert drawing(topology(Lab("dr", ForwardingMethod.DR))) == DRAWING.strip()


def test_announcement_names_an_address_that_answers() -> None:
    assert announcement(NAT).endswith("pylvs lab exec --name nat client -- curl http://192.168.101.100/")
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
