"""What tests/conftest.py makes of skips, of checks that failed before, and of what takes minutes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.bpf import ROOT

TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.xfail(reason="known")
def test_known():
    raise ValueError
"""
SKIPS = {
    "by a mark": '@pytest.mark.skip(reason="no root here")\ndef test_mark():\n    pass\n',
    "while it runs": 'def test_call():\n    pytest.skip("no root here")\n',
    "a whole module": 'pytest.skip("no root here", allow_module_level=True)\n',
}


def run(directory: Path, text: str, *arguments: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    """One run of pytest under our conftest.py."""
    shutil.copy(ROOT / "tests/conftest.py", directory)
    (directory / "pytest.ini").write_text("[pytest]\naddopts = -ra --continue-on-collection-errors\n")
    (directory / "test_it.py").write_text(TESTS)
    (directory / "test_skip.py").write_text("import pytest\n" + text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"CI": ci}
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("text", SKIPS.values(), ids=SKIPS)
def test_in_ci_a_skip_fails_and_says_why(text: str, tmp_path: Path) -> None:
    done = run(tmp_path, text, ci="true")
    assert done.returncode == 1
    assert "no root here (in CI nothing may be skipped)" in done.stdout
    assert "1 passed, 1 xfailed" in done.stdout.splitlines()[-1]


def test_elsewhere_a_skip_is_only_listed(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPS["by a mark"])
    assert done.returncode == 0
    assert "SKIPPED [1] test_skip.py" in done.stdout


def test_a_check_that_failed_before_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, "", "--failed-check", "lint")
    assert done.returncode == 1
    assert "ERROR script/lint" in done.stdout
    assert done.stdout.splitlines()[-1].count("1 error")


@pytest.mark.parametrize(("arguments", "result"), [((), "1 deselected"), (("--slow",), "2 passed")])
def test_what_takes_minutes_runs_when_it_is_asked_for(arguments: tuple[str, ...], result: str, tmp_path: Path) -> None:
    slowest = "@pytest.mark.slowest\ndef test_slowest():\n    pass\n"
    assert result in run(tmp_path, slowest, *arguments, "-W", "ignore").stdout.splitlines()[-1]
