"""`pylvs migrate` between a live eBPF director and a table in memory that stands for the kernel's IPVS.

tests/ipvs has the same with a kernel that has one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pylvs.cli import migrate
from pylvs.cli.app import run
from pylvs.desired import State, state_of
from pylvs.director import migration
from pylvs.director.backend import IPVS
from pylvs.director.ebpf import bpffs
from pylvs.director.ebpf.director import EbpfDirector
from pylvs.director.memory import MemoryDirector
from pylvs.director.migration import is_same
from pylvs.director.port import Director
from pylvs.errors import PylvsError
from pylvs.lab import namespace
from tests.ipvsadm import Outcome, ipvsadm
from tests.lab.conftest import LabFactory

pytestmark = pytest.mark.lab

RULES = """\
-A -t 192.168.101.100:80 -s wlc -p 60 -M 255.255.255.0
-a -t 192.168.101.100:80 -r 192.168.101.110:80 -m -w 0
-a -t 192.168.101.100:80 -r 192.168.101.210:8080 -m -w 7 -x 100 -y 50
-A -f 7 -s wrr
-a -f 7 -r 192.168.101.210 -m -w 2
--set 1000 0 77
"""
COUNTED = "2 services with 3 real servers"


class Kernel(MemoryDirector):
    """What stands for it."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def kernel(lab: LabFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Of a lab's director, which this process is on meanwhile."""
    made = Kernel()
    monkeypatch.setattr(migrate, "open_director", lambda name: made if name == IPVS else EbpfDirector())
    bpffs.ensure_mounted()
    up = lab("nat", service=False)
    with namespace.inside(up.namespace("director")):
        assert ipvsadm(["-R"], made, RULES) == Outcome("", "", 0)
        made.set_knobs({"conn_reuse_mode": 0})
        yield made


def is_loaded() -> bool:
    director = EbpfDirector()
    director.close()
    return director.table is not None


def test_there_and_back(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    table = state_of(kernel)
    run(["migrate", "--to", "ebpf", "--dry-run"])
    assert "-a -t 192.168.101.100:80 -r 192.168.101.210:8080 -m -w 7 -x 100 -y 50\n" in capsys.readouterr().out
    assert not is_loaded()

    for keep in (["--keep"], []):  # the second one has nothing left to do but to flush
        run(["migrate", "--to", "ebpf", *keep])
        assert f"has taken over {COUNTED}" in capsys.readouterr().out
        assert bool(kernel.services()) == bool(keep)
        director = EbpfDirector()
        assert is_same(state_of(director).replace(knobs=table.knobs), table)
        assert director.knobs()["conn_reuse_mode"] == 0
        director.close()

    run(["migrate", "--to", "ipvs"])
    assert f"has taken over {COUNTED}" in capsys.readouterr().out
    assert is_same(state_of(kernel), table)
    assert not is_loaded()
    with pytest.raises(PylvsError, match="nothing to take over"):
        run(["migrate", "--to", "ipvs"])


def test_what_ebpf_lacks_is_named_and_nothing_is_loaded(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    ipvsadm(["-A", "-u", "192.168.101.100:5060", "-p", "5", "--pe", "sip"], kernel)
    before = state_of(kernel)
    for option in ([], ["--dry-run"]):
        with pytest.raises(PylvsError, match="nothing was changed"):
            run(["migrate", "--to", "ebpf", *option])
        assert "UDP 192.168.101.100:5060: the persistence engine sip" in capsys.readouterr().err
    assert state_of(kernel) == before
    assert not is_loaded()


def test_what_is_refused_half_way_is_undone(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PylvsError("the last step fails", hint="mend it")

    before = state_of(kernel)
    monkeypatch.setattr(EbpfDirector, "add_server", refuse)
    with pytest.raises(PylvsError, match="the eBPF director refused: the last step fails; all was left as it was"):
        run(["migrate", "--to", "ebpf"])
    assert state_of(kernel) == before
    assert not is_loaded()


def test_a_table_that_changes_meanwhile_is_not_flushed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out = migration.carry_out

    def with_another(wanted: State, target: Director) -> None:
        carry_out(wanted, target)
        ipvsadm(["-A", "-t", "192.168.101.100:81"], kernel)

    monkeypatch.setattr(migration, "carry_out", with_another)
    with pytest.raises(PylvsError, match="was changed meanwhile, so it was not flushed"):
        run(["migrate", "--to", "ebpf"])
    assert len(kernel.services()) == 3
