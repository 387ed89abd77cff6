"""Running things on a node: commands, pylvs itself, and a real server's process."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pylvs
from pylvs.lab import namespace
from pylvs.lab.errors import LabError
from pylvs.lab.server import READY
from pylvs.lab.topology import Node, Topology

PYTHON = (sys.executable,)
PYLVS = (*PYTHON, "-m", "pylvs")
_START_SECONDS = 20.0


def on(namespace_name: str, *argv: str) -> list[str]:
    """A command's own words, to be run in a namespace as a user would."""
    return ["ip", "netns", "exec", namespace_name, *argv]


def run(
    namespace_name: str, *argv: str, stdin: str | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and keep what it says. Raises `subprocess.TimeoutExpired`."""
    return subprocess.run(
        on(namespace_name, *argv),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        text=True,
        capture_output=True,
        timeout=timeout,
        env=environment(),
        check=False,
    )


def environment() -> Mapping[str, str]:
    """The caller's, in which this very pylvs can be started from everywhere."""
    ours = str(Path(pylvs.__file__).resolve().parents[1])
    others = os.environ.get("PYTHONPATH")
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([ours, *([others] if others else [])]), "PATH": path}


def which(command: str) -> str | None:
    """Where a command is, as a node sees it."""
    return shutil.which(command, path=environment()["PATH"])


def start_servers(topology: Topology, home: Path) -> dict[str, int]:
    """Start every real server at once, wait until all of them listen; their pids. Raises `LabError`."""
    starting = {node.name: _start(topology, node, home) for node in topology.servers}
    try:
        for name, (_, ready) in starting.items():
            _wait(name, ready, _log(home, name))
    finally:
        for _, ready in starting.values():
            os.close(ready)
    return {name: pid for name, (pid, _) in starting.items()}


def _start(topology: Topology, node: Node, home: Path) -> tuple[int, int]:
    """Its pid, and the pipe on which it says that it listens."""
    argv = [*PYTHON, "-m", "pylvs.lab.server"]
    argv += ["--lab", topology.lab.name, "--node", node.name, "--rip", str(node.address)]
    ready, tell = os.pipe()
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, tell, 1),
        (os.POSIX_SPAWN_OPEN, 2, str(_log(home, node.name)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
    ]
    try:
        with namespace.inside(topology.namespace(node.name)):
            return os.posix_spawn(argv[0], argv, environment(), file_actions=files, setsid=True), ready
    finally:
        os.close(tell)


def _wait(name: str, ready: int, log: Path) -> None:
    readable, _, _ = select.select([ready], [], [], _START_SECONDS)
    if not readable or os.read(ready, len(READY)) != READY:
        said = log.read_text().strip().splitlines()
        raise LabError(f"real server {name} does not start: {said[-1] if said else 'it says nothing'}")


def _log(home: Path, name: str) -> Path:
    return home / f"{name}.log"
