"""pylvs bench's options, and how a report is shown."""

from __future__ import annotations

import json

import pytest

from pylvs.bench.result import Budget, Report, Row, Subject
from pylvs.cli.bench import bench
from pylvs.errors import UsageError
from pylvs.views.bench import as_fields, show

MACHINE = {"cpu": "A CPU", "cpus": 2, "kernel": "6.1", "pylvs": "0", "date": "2026-01-01T00:00:00+00:00"}
REPORT = Report(
    MACHINE,
    {"rounds": 2},
    160.04,
    [
        Row(Subject("empty program", "xdp", draw="uniform"), 25, 24, 26, 0),
        Row(Subject("director", "xdp", "dr", "request", 1024, "uniform"), 65, 64, 70.25, 40, 0.714285),
    ],
    [Budget("half of it", 0.7142, 0.5, "x"), Budget("misses", 1.0, 1.5)],
)


@pytest.mark.parametrize("flows", ["1000", "0", "128", "32M", "1g", "-1k", "k", ""])
def test_flows_that_cannot_be_are_refused(flows: str) -> None:
    with pytest.raises(UsageError, match="power of two"):
        bench.main(["--flows", flows], standalone_mode=False)


def test_a_cpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="--cpu 9999 is not a CPU"):
        bench.main(["--cpu", "9999"], standalone_mode=False)


def test_a_report_as_tables(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPORT)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        ["A", "CPU,", "2", "CPUs,", "Linux", "6.1,", "2026-01-01T00:00:00+00:00"],
        ["one", "load", "from", "memory:", "160", "ns"],
        [
            "Program",
            "Hook",
            "Method",
            "Family",
            "Packets",
            "Flows",
            "Draw",
            "ns",
            "min..max",
            "over",
            "empty",
            "x",
            "yardstick",
        ],
        ["empty", "program", "xdp", "ipv4", "uniform", "25.0", "24.0..26.0", "0.0"],
        ["director", "xdp", "dr", "ipv4", "request", "1024", "uniform", "65.0", "64.0..70.2", "40.0", "0.71"],
        ["Budget", "Value", "Limit", "Holds"],
        ["half", "of", "it", "0.71", "x", "0.50", "x", "no"],
        ["misses", "1.00", "1.50", "yes"],
    ]


def test_a_report_for_programs() -> None:
    fields = json.loads(json.dumps(as_fields(REPORT)))
    assert fields["machine"] == MACHINE
    assert fields["miss_ns"] == 160.0
    assert fields["rows"][1] == {
        "program": "director",
        "hook": "xdp",
        "method": "dr",
        "family": "ipv4",
        "packets": "request",
        "flows": 1024,
        "draw": "uniform",
        "ns": 65,
        "ns_min": 64,
        "ns_max": 70.2,
        "ns_over_empty": 40,
        "ratio": 0.714,
    }
    assert [budget["holds"] for budget in fields["budgets"]] == [False, True]
