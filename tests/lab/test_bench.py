"""The benchmark runs, and measures everything that it should. How fast anything is, is no test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from pylvs.bench import place
from pylvs.errors import NotPermitted

IS_ROOT = os.geteuid() == 0
NEEDS_ROOT = pytest.mark.skipif(not IS_ROOT, reason="needs root: it loads BPF programs in namespaces of its own")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pylvs", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


@pytest.fixture(scope="module")
def report() -> Any:
    before = set(os.listdir("/sys/class/net"))
    done = run("--quick", "--zipf", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(os.listdir("/sys/class/net")) == before, "it leaves no interface behind"
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def full() -> Any:
    done = run("--quick", "--full", "--flows", "1k", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.slow
@NEEDS_ROOT
class TestFullReport:
    def test_every_method_is_there_in_both_families(self, full: Any) -> None:
        found = Counter((row["hook"], row["method"], row["family"], row["packets"]) for row in full["rows"])
        for family in ("ipv4", "ipv6"):
            for method in ("nat", "fullnat"):
                for hook in ("xdp", "tc"):
                    assert found[hook, method, family, "request"] == found[hook, method, family, "reply"] == 1
            for method in ("tun ipip", "tun gue"):
                assert found["xdp", method, family, "request"] == 1
            assert found["xdp", "dr", family, "new"] >= 1

    def test_so_is_every_kind_of_service(self, full: Any) -> None:
        found = {(row["program"], row["packets"]) for row in full["rows"]}
        for kind in ("persistent", "every port", "thresholds", "beside marks"):
            assert {(f"director, {kind}", "request"), (f"director, {kind}", "new")} <= found

    def test_a_table_really_holds_as_many_connections_as_its_memory_is_shared_by(self, full: Any) -> None:
        memory = {budget["what"].split(":")[0]: budget for budget in full["budgets"] if "memory" in budget["what"]}
        assert set(memory) == {"DR", "TUN", "NAT", "FULLNAT"}
        assert all(budget["holds"] for budget in memory.values())


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.slow
@NEEDS_ROOT
def test_rows_can_be_picked() -> None:
    done = run("--quick", "--flows", "1k", "--only", "tc director nat ipv6", "--json")
    rows = [row for row in json.loads(done.stdout)["rows"] if row["program"] == "director"]
    assert [(row["hook"], row["method"], row["family"], row["packets"]) for row in rows] == [
        ("tc", "nat", "ipv6", "request"),
        ("tc", "nat", "ipv6", "reply"),
    ]


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.slow
@NEEDS_ROOT
class TestReport:
    def test_there_is_a_row_for_everything(self, report: Any) -> None:
        found = Counter((row["hook"], row["method"], row["packets"], row["flows"]) for row in report["rows"])
        for flows, draws in ((1024, 1), (8192, 2)):
            for hook in ("xdp", "tc"):
                assert found[hook, "dr", "request", flows] == 2 * draws, "the director and its yardstick"
                assert found[hook, "nat", "request", flows] == draws
                assert found[hook, "nat", "reply", flows] == draws
        assert found["xdp", None, "new", 4096] == 2, "insertions into LRU_HASH and HASH"
        assert found["xdp", "dr", "new", 4096] == 2, "rr and wlc"
        assert found["xdp", "nat", "new", 4096] == 1

    def test_the_floor_is_measured_too(self, report: Any) -> None:
        floor = [(row["program"], row["hook"], row["draw"]) for row in report["rows"] if not row["packets"]]
        assert floor == [
            ("XDP_PASS alone", "xdp", None),
            ("empty program", "xdp", "uniform"),
            ("empty program", "xdp", "zipf"),
            ("empty program", "tc", "uniform"),
            ("empty program", "tc", "zipf"),
            ("empty program", "xdp", "ordered"),
        ]

    def test_budgets_say_whether_they_hold(self, report: Any) -> None:
        limits = [budget["limit"] for budget in report["budgets"]]
        assert limits == [1.0, 0.5, 1.5, 20.0, 20.0, 0.6]
        assert all(budget["holds"] == (budget["value"] <= budget["limit"]) for budget in report["budgets"])

    def test_the_machine_is_named(self, report: Any) -> None:
        assert report["machine"]["kernel"] == os.uname().release
        assert report["miss_ns"] > 0


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPermitted, match="root"):
        place.enter()


def test_bad_numbers_of_flows_are_refused() -> None:
    done = run("--flows", "1000")
    assert done.returncode == 2
    assert "power of two" in done.stderr
