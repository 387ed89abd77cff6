"""What is remembered, and the lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pylvs.lab import state
from pylvs.lab.errors import LabBusy
from pylvs.lab.state import State
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod, Tunnel, TunnelChecksum, TunnelType

LAB = Lab("one", ForwardingMethod.DR, Hook.XDP, servers=3, scheduler="wlc", service=False)
TUN = Lab(
    "two",
    ForwardingMethod.TUN,
    families=(4, 6),
    server_family=6,
    tunnel=Tunnel(TunnelType.GUE, 6080, TunnelChecksum.CSUM),
    persistence=60,
    mark=10,
)
STATE = State(LAB, (("rs1", 10), ("rs2", 11)), complete=True)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "HOME", tmp_path / "lab")
    return tmp_path / "lab"


@pytest.mark.parametrize("kept", [STATE, State(LAB), State(TUN)], ids=["complete", "begun", "everything"])
def test_round_trip(kept: State) -> None:
    assert state.from_json(state.to_json(kept)) == kept


DAMAGED = {
    "empty": "",
    "cut off": state.to_json(STATE)[:40],
    "another type": "[]",
    "a field missing": json.dumps({"name": "one"}),
    "a value of the wrong type": state.to_json(STATE).replace("3", '"three"'),
    "an unknown hook": state.to_json(STATE).replace("xdp", "dpdk"),
    "an unknown tunnel": state.to_json(STATE).replace("ipip", "vxlan"),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_damaged(text: str, home: Path) -> None:
    with pytest.raises(ValueError, match=r"."):
        state.from_json(text)
    (home / "one").mkdir(parents=True)
    (home / "one" / "state.json").write_text(text)
    assert state.load("one") is None
    assert state.begun("one")


def test_save_load_forget(home: Path) -> None:
    with state.locked("one"):
        assert not state.begun("one")
        assert state.save(STATE) == home / "one"
        assert state.load("one") == STATE
        assert state.names() == {"one"}
        state.forget("one")
    assert state.load("one") is None
    assert state.names() == set()


def test_nothing_there() -> None:
    assert state.names() == set()
    assert state.load("one") is None
    state.forget("one")


def test_two_at_once() -> None:
    with state.locked("one"), pytest.raises(LabBusy, match="lab one is being built"), state.locked("one"):
        pass


def test_two_labs_are_two_locks() -> None:
    with state.locked("one"), state.locked("two"):
        pass


def test_a_lock_is_free_again_even_after_its_directory_went() -> None:
    with state.locked("one"):
        state.forget("one")
    with state.locked("one"):
        assert not state.begun("one")
