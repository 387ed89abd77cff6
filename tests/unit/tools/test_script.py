"""The scripts on machines that lack something: one clear line each."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.bpf import ROOT

SYSTEM = ("basename", "cat", "dirname", "flock", "grep", "id", "ldconfig", "mkdir", "sha256sum", "sort", "tail")


class Machine:
    """A copy of script/setup with a PATH of its own: `without` these commands, `saying` that to those."""

    def __init__(self, directory: Path) -> None:
        self.commands = directory / "commands"
        self.commands.mkdir()
        for name in SYSTEM:
            if found := shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin"):
                (self.commands / name).symlink_to(found)
        self.says("ip", "exit 0")
        self.says("python3", "exit 0")
        self.says("ldconfig", "echo libbpf.so.1")
        script = directory / "script/setup"
        script.parent.mkdir()
        for name in ("pyproject.toml", "hatch_build.py"):
            (directory / name).write_text("")
        script.write_text((ROOT / "script/setup").read_text().replace("$PATH:/usr/sbin:/sbin", "$PATH"))
        self.script = script

    def says(self, command: str, answer: str) -> None:
        """Give a command another body."""
        path = self.commands / command
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{answer}\n")
        path.chmod(0o755)

    def setup(self, *arguments: str) -> tuple[int, str]:
        """Exit code and what it said."""
        bash = shutil.which("bash") or "/bin/bash"
        command = [bash, str(self.script), *arguments]
        environment = {"PATH": str(self.commands)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_old_python(machine: Machine) -> None:
    machine.says("python3", "exit 1")
    assert machine.setup() == (1, "setup: Python 3.11 or newer is needed, and there is none on the PATH\n")


def test_packages_are_missing_and_nobody_may_install_them(machine: Machine) -> None:
    machine.says("id", "echo 1000")
    machine.says("ldconfig", "exit 0")
    (machine.commands / "ip").unlink()
    code, said = machine.setup("nft")
    assert (code, said) == (
        1,
        "setup: Debian packages are missing (iproute2 libbpf1 nftables): run this as root, or install sudo\n",
    )


def test_packages_are_missing_on_something_that_is_not_debian(machine: Machine) -> None:
    machine.says("id", "echo 0")
    code, said = machine.setup("tcpdump")
    assert (code, said) == (1, "setup: no apt-get here: install what Debian calls tcpdump, then run this again\n")


def test_a_failed_installation_shows_its_log(machine: Machine, tmp_path: Path) -> None:
    machine.says("id", "echo 0")
    machine.says("apt-get", "echo the network is down; exit 100")
    code, said = machine.setup("tcpdump")
    assert code == 1
    assert "the network is down\n" in said
    assert said.endswith(f"failed: apt-get update -q; all of it is in {tmp_path}/.cache/setup.log\n")


@pytest.fixture
def installing(machine: Machine, tmp_path: Path) -> Machine:
    """A machine where installing packages works, and says whether anything might have been started meanwhile."""
    policy = tmp_path / "policy-rc.d"
    machine.script.write_text(machine.script.read_text().replace("/usr/sbin/policy-rc.d", str(policy)))
    machine.says("id", "echo 0")
    machine.says("apt-get", f'[ "$1" = update ] || {{ echo "$@"; cat {policy}; }} >{tmp_path}/installed')
    machine.says("systemctl", f'echo "$@" >>{tmp_path}/disabled')
    for name in ("chmod", "env", "rm", "sh"):
        (machine.commands / name).symlink_to(shutil.which(name) or name)
    machine.says("python3", "exit 1")  # it is the packages that are looked at here
    return machine


def test_no_package_may_start_anything(installing: Machine, tmp_path: Path) -> None:
    assert installing.setup("tshark", "vsftpd")[1].startswith("setup: installing Debian packages: tshark vsftpd\n")
    words, *policy = (tmp_path / "installed").read_text().splitlines()
    assert words.endswith(" tshark vsftpd")
    assert policy == ["#!/bin/sh", "exit 101"]
    assert not (tmp_path / "policy-rc.d").exists()
    assert (tmp_path / "disabled").read_text() == "disable vsftpd.service\n"


def test_an_administrators_policy_is_left_alone(installing: Machine, tmp_path: Path) -> None:
    (tmp_path / "policy-rc.d").write_text("mine\n")
    installing.setup("tshark")
    assert (tmp_path / "installed").read_text().splitlines()[1:] == ["mine"]
    assert (tmp_path / "policy-rc.d").read_text() == "mine\n"
    assert not (tmp_path / "disabled").exists()


def test_a_failed_installation_takes_its_policy_back(installing: Machine, tmp_path: Path) -> None:
    installing.says("apt-get", '[ "$1" = update ]')
    assert installing.setup("tshark")[0] == 1
    assert not (tmp_path / "policy-rc.d").exists()


def test_help_knows_what_every_script_is_for() -> None:
    said = subprocess.run([ROOT / "script/help"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in said] == sorted(f"script/{path.name}" for path in (ROOT / "script").iterdir())
    assert all(len(line.split()) > 3 for line in said)
