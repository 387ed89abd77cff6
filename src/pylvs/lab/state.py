"""What is remembered of a lab between commands, and the lock that keeps two commands off the same one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pylvs.lab.errors import LabBusy
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod, Tunnel, TunnelChecksum, TunnelType, Value

HOME = Path("/run/pylvs/lab")
_FILE = "state.json"


class State(Value):
    """A lab as it was asked for, the processes of its real servers, and whether `lab up` reached its end."""

    lab: Lab
    servers: tuple[tuple[str, int], ...] = ()
    complete: bool = False


def to_json(state: State) -> str:
    """The content of a state file."""
    lab = state.lab
    fields: Mapping[str, object] = {
        "name": lab.name,
        "method": lab.method,
        "hook": lab.hook,
        "servers": lab.servers,
        "scheduler": lab.scheduler,
        "service": lab.service,
        "families": lab.families,
        "server_family": lab.server_family,
        "tunnel": [lab.tunnel.type, lab.tunnel.port, lab.tunnel.checksum],
        "persistence": lab.persistence,
        "mark": lab.mark,
        "complete": state.complete,
        "processes": dict(state.servers),
    }
    return json.dumps(fields, indent=2) + "\n"


def from_json(text: str) -> State:
    """Raises `ValueError` when it is not a state file's content."""
    try:
        fields = json.loads(text)
        tunnel_type, tunnel_port, checksum = fields["tunnel"]
        lab = Lab(
            name=fields["name"],
            method=ForwardingMethod(fields["method"]),
            hook=Hook(fields["hook"]),
            servers=fields["servers"],
            scheduler=fields["scheduler"],
            service=fields["service"],
            families=tuple(fields["families"]),
            server_family=fields["server_family"],
            tunnel=Tunnel(TunnelType(tunnel_type), tunnel_port, TunnelChecksum(checksum)),
            persistence=fields["persistence"],
            mark=fields["mark"],
        )
        return State(lab, tuple(fields["processes"].items()), fields["complete"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the state of a lab: {error}") from error


def names() -> set[str]:
    """Every lab that has a directory: it may be empty after a crash."""
    with suppress(FileNotFoundError):
        return {entry.name for entry in os.scandir(HOME) if entry.is_dir()}
    return set()


def load(name: str) -> State | None:
    """None when there is nothing to read, or nothing that makes sense."""
    try:
        return from_json((HOME / name / _FILE).read_text())
    except (OSError, ValueError):
        return None


def save(state: State) -> Path:
    """Replace the file in one step, in the directory that `locked` made; returns that."""
    home = HOME / state.lab.name
    new = home / f"{_FILE}.new"
    new.write_text(to_json(state))
    new.rename(home / _FILE)
    return home


def begun(name: str) -> bool:
    """Whether somebody got as far as to write down what the lab is to be."""
    return (HOME / name / _FILE).exists()


def forget(name: str) -> None:
    """Remove the lab's directory."""
    with suppress(FileNotFoundError):
        shutil.rmtree(HOME / name)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lab's directory, made if need be. Raises `LabBusy` at once when another process holds it."""
    descriptor = _lock(name, HOME / name)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(name: str, home: Path) -> int:
    while True:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LabBusy(f"lab {name} is being built or removed by another process") from None
        if home.exists() and home.samefile(f"/proc/self/fd/{descriptor}"):
            return descriptor
        os.close(descriptor)  # its former holder removed it between our open and our lock
