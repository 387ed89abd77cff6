"""The rules of every run: nothing is skipped in CI, and a failed check before the tests fails the run."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.packets.plane import Plane

# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("pylvs", settings.default, deadline=None)
settings.load_profile("pylvs")


def pytest_addoption(parser: pytest.Parser) -> None:
    """For script/test and CI."""
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails, as with CI set in the environment")
    parser.addoption("--slow", action="store_true", help="also what takes minutes: all of it on Linux 6.1")
    parser.addoption("--failed-check", action="append", default=[], help="a check that failed before the tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes runs only when it is asked for."""
    if not config.getoption("--slow"):
        left_out = [item for item in items if item.get_closest_marker("slowest")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _refuse_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips."""
    report = yield
    _refuse_skip(report, collector.config)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if report.outcome == "skipped" and (config.getoption("--no-skips") or os.environ.get("CI")):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason} (in CI nothing may be skipped)"


def pytest_collection_finish(session: pytest.Session) -> None:
    """A check that failed before the tests is an error of the run, and stands in its summary."""
    for name in session.config.getoption("--failed-check"):
        failed = pytest.CollectReport(f"script/{name}", "failed", "it failed: see above the tests", None)
        session.ihook.pytest_collectreport(report=failed)


@pytest.fixture(scope="session")
def loaded() -> Generator[Plane]:
    """One director in a fresh network namespace for all packet tests, of whatever folder; skips where it can't be."""
    # not above: the tests of this file run it where there is no such package
    from tests.packets.plane import director_apart

    if os.geteuid() != 0:
        pytest.skip("packet tests load BPF programs and make network namespaces: run them as root")
    with director_apart() as (plane, _):
        yield plane
