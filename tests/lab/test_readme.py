"""What README.md shows is what happens: its ```console runnable blocks are run, and their output compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```console(?P<runnable> runnable)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NAMESPACE = f"pylvs-readme-{os.getpid()}"
NETWORK = """
link set lo up
link add eth0 type veth peer name cable
link set eth0 up
link set cable up
address add 192.168.101.200/24 dev eth0
address add 192.168.101.100/24 dev eth0
""".strip()

Step = tuple[str, str]  # a command, and what it prints


def steps(text: str) -> list[Step]:
    """The `$ ` lines of a block, each with the lines below it."""
    _, *commands = re.split(r"^\$ ", text, flags=re.MULTILINE)
    return [(command, printed) for command, _, printed in (one.partition("\n") for one in commands)]


def blocks(*, runnable: bool) -> list[list[Step]]:
    return [steps(one["text"]) for one in BLOCK.finditer(README.read_text()) if bool(one["runnable"]) == runnable]


def without_trailing_blanks(text: str) -> str:
    """ipvsadm pads its last column, a Markdown file doesn't."""
    return "\n".join(line.rstrip() for line in text.splitlines())


def run(command: str) -> subprocess.CompletedProcess[str]:
    """As root on a director would type it, with the pylvs of this Python."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{NAMESPACE}", "sh", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def director() -> Iterator[None]:
    """A namespace with the DIP and the VIP that README speaks of, and nothing else on the wire."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "-batch", "-"], input=NETWORK, text=True, check=True)
        yield
        run("pylvs ipvsadm -C; pylvs detach")
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


def test_a_block_is_read_as_commands_with_their_output() -> None:
    assert steps("$ one -a\n$ two\nprinted\n  $ indented\n") == [("one -a", ""), ("two", "printed\n  $ indented\n")]


def test_readme_shows_both_kinds_of_commands() -> None:
    shown = [command for block in blocks(runnable=False) for command, _ in block]
    assert shown[:2] == ["script/demo", "script/test"]
    assert [len(block) for block in blocks(runnable=True)] == [5], "five commands for people who know ipvsadm"


@pytest.mark.parametrize("command", [command for block in blocks(runnable=False) for command, _ in block])
def test_a_script_that_readme_names_can_be_run(command: str) -> None:
    script = command.split(maxsplit=1)[0]
    assert script == "pylvs" or os.access(ROOT / script, os.X_OK)


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes a network namespace and loads BPF programs")
@pytest.mark.usefixtures("director")
def test_runnable_blocks_print_what_readme_says() -> None:
    for block in blocks(runnable=True):
        for command, printed in block:
            done = run(command)
            assert (done.returncode, done.stderr) == (0, ""), command
            assert without_trailing_blanks(done.stdout) == without_trailing_blanks(printed), command


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces and loads BPF programs")
@pytest.mark.usefixtures("director")
def test_the_lab_does_what_readme_says() -> None:
    lab = next(block for block in blocks(runnable=False) if block[0][0].startswith("pylvs lab up"))
    name = f"readme-{os.getpid()}"
    try:
        for command, printed in lab:
            done = run(command.replace("--name try", f"--name {name}"))
            assert (done.returncode, done.stderr) == (0, ""), command
            assert printed in ("", done.stdout), command
    finally:
        run(f"pylvs lab down --name {name}")
