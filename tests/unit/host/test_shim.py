"""The programs and the unit that pylvs writes for others, and what it does to files that others wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pylvs.__main__ import main
from pylvs.host import program, shim, unit

SCRIPT = "#!/bin/sh\necho somebody else's\n"


def test_installs_three_programs_and_removes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shim", "install", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(shim.NAMES)
    assert all(os.access(path, os.X_OK) for path in tmp_path.iterdir())
    assert main(["shim", "remove", str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []
    assert f"removed {tmp_path}/ipvsadm-save" in capsys.readouterr().out


def test_the_programs_run_pylvs(tmp_path: Path) -> None:
    shim.install(tmp_path)
    done = subprocess.run([tmp_path / "ipvsadm-save", "-x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "ipvsadm-save: Script to save the IPVS table to stdout.",
    )


def test_imports_nothing_from_the_current_directory(tmp_path: Path) -> None:
    shim.install(tmp_path)
    (tmp_path / "pylvs.py").write_text("raise SystemExit('somebody else is run as root')")
    done = subprocess.run([tmp_path / "ipvsadm-save", "-x"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "somebody else" not in done.stderr


def test_installs_again_over_its_own(tmp_path: Path) -> None:
    shim.install(tmp_path)
    (tmp_path / "ipvsadm").write_text(f"# {program.MARK} of an older version\n")
    shim.install(tmp_path)
    assert (tmp_path / "ipvsadm").read_text().startswith("#!/bin/sh\n")


@pytest.mark.parametrize("name", shim.NAMES)
def test_overwrites_nobody_else(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text(SCRIPT)
    assert main(["shim", "install", str(tmp_path)]) == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == [SCRIPT]
    assert capsys.readouterr().err.startswith(f"pylvs: {tmp_path}/{name} is there already and is not pylvs's")
    assert main(["shim", "remove", str(tmp_path)]) == 0
    assert (tmp_path / name).read_text() == SCRIPT


def test_does_not_write_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "ipvsadm").symlink_to(tmp_path / "elsewhere")
    assert main(["shim", "install", str(tmp_path)]) == 1
    assert not (tmp_path / "elsewhere").exists()


def test_says_where_there_is_no_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shim", "install", str(tmp_path / "none")]) == 1
    assert (
        capsys.readouterr().err == f"pylvs: {tmp_path}/none is not a directory\nhint: make it first, or name another\n"
    )


def test_status_knows_what_a_shell_would_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, others = tmp_path / "ours", tmp_path / "others"
    for directory in (ours, others):
        directory.mkdir()
    monkeypatch.setenv("PATH", str(ours))
    assert main(["shim", "status", str(ours)]) == 1
    shim.install(ours)
    assert main(["shim", "status", str(ours)]) == 0
    (others / "ipvsadm").write_text(SCRIPT)
    (others / "ipvsadm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{others}:{ours}")
    capsys.readouterr()
    assert main(["shim", "status", str(ours)]) == 1
    assert f"{ours}/ipvsadm: pylvs; but the PATH finds {others}/ipvsadm first\n" in capsys.readouterr().out


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    assert main(["systemd", "install", "--root", str(tmp_path)]) == 0
    text = (tmp_path / unit.UNIT).read_text()
    assert "@" not in text
    assert text.count("ExecStart=") == 2
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", tmp_path / unit.UNIT], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_goes_and_changed_settings_stay(tmp_path: Path) -> None:
    unit.install(tmp_path)
    assert set(unit.remove(tmp_path)) == {tmp_path / unit.UNIT, tmp_path / unit.DEFAULTS}
    unit.install(tmp_path)
    (tmp_path / unit.DEFAULTS).write_text('INTERFACES="eth7"\n')
    unit.install(tmp_path)
    assert unit.remove(tmp_path) == [tmp_path / unit.UNIT]
    assert (tmp_path / unit.DEFAULTS).read_text() == 'INTERFACES="eth7"\n'


def test_a_unit_of_somebody_else_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / unit.UNIT).parent.mkdir(parents=True)
    (tmp_path / unit.UNIT).write_text("[Unit]\n")
    assert main(["systemd", "install", "--root", str(tmp_path)]) == 1
    assert "is not pylvs's" in capsys.readouterr().err
    assert unit.remove(tmp_path) == []
    assert (tmp_path / unit.UNIT).read_text() == "[Unit]\n"


def test_the_first_rules_that_are_there(tmp_path: Path) -> None:
    assert unit.rules(tmp_path) is None
    for path in reversed(unit.RULES):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
        assert unit.rules(tmp_path) == tmp_path / path


def test_rules_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systemd", "load", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"pylvs: {tmp_path}/none: No such file or directory\nhint: see RULES")
