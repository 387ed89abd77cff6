"""What can be done with a lab: up, down, exec. Whatever goes wrong on the way up is undone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from pylvs.director.ebpf import bpffs, control
from pylvs.errors import NotPermitted
from pylvs.lab import interruption, namespace, node, service, state
from pylvs.lab.errors import LabError, LabExists, NoSuchCommand, NoSuchLab, NoSuchNode, WhichLab
from pylvs.lab.topology import Lab, Topology, namespace_of, topology

_SECONDS = 600.0  # the verifier takes minutes on a CPU that is emulated, or shared by many
_AT_ONCE = 4  # starting Python is work, and a lab may have 64 real servers


def up(lab: Lab) -> Topology:
    """Build a lab, start its real servers, and unless it is to be without, the service on its director.

    Raises `NotPermitted`, `LabExists`, `LabBusy`, `LabError`.
    """
    need_root("building a lab")
    with state.locked(lab.name), interruption.raised():
        if state.begun(lab.name) or lab.name in namespace.labs():
            raise LabExists(f"lab {lab.name} is there already", hint=f"pylvs lab down --name {lab.name} removes it")
        try:
            return _up(lab)
        except BaseException:
            _remove(lab.name)
            raise


def down(name: str) -> None:
    """Remove a lab, or what is left of it: by what is there, not by what is remembered.

    Raises `NotPermitted`, `NoSuchLab`, `LabBusy`, `LabError`.
    """
    need_root("removing a lab")
    if name not in present():
        raise NoSuchLab(f"there is no lab {name}")
    with state.locked(name), interruption.raised():
        _remove(name)


def present() -> list[str]:
    """Every lab of which anything is there: a namespace, or only its directory."""
    return sorted(state.names() | namespace.labs().keys())


def chosen(name: str | None) -> str:
    """The lab that is meant: the one named, or else the only one. Raises `NoSuchLab`, `WhichLab`."""
    labs = present()
    if name is None and len(labs) > 1:
        raise WhichLab(f"several labs are up: {', '.join(labs)}")
    if name is None and not labs:
        raise NoSuchLab("no lab is up")
    if name is not None and name not in labs:
        raise NoSuchLab(f"there is no lab {name}")
    return name or labs[0]


def enter(name: str, where: str, command: Sequence[str]) -> None:
    """Become a command on a node; its exit code is this process's. Raises `NoSuchNode`, `NoSuchCommand`."""
    need_root("entering a lab")
    nodes = namespace.labs().get(name, set())
    if where not in nodes:
        raise NoSuchNode(f"lab {name} has no node {where}", hint=f"it has {', '.join(sorted(nodes)) or 'none'}")
    if not node.which(command[0]):
        raise NoSuchCommand(f"{command[0]}: there is no such command")
    os.execvpe(  # noqa: S606 - not a shell but the command itself, in this process's place
        "ip", node.on(namespace_of(name, where), *command), dict(node.environment())
    )


def _up(lab: Lab) -> Topology:
    from pylvs.lab.build import build  # pyroute2 takes long to import, and only this needs it

    if lab.service:
        bpffs.ensure_mounted()  # here, because `ip netns exec` would mount it for itself alone
    home = state.save(state.State(lab))
    network = topology(lab)
    build(network)
    servers = node.start_servers(network, home)
    if lab.service:
        _serve(network)
    state.save(state.State(lab, tuple(servers.items()), complete=True))
    return network


def _serve(network: Topology) -> None:
    """Set up the real servers, then the director, and last what gives packets their mark."""
    if words := service.realserver(network):
        commands = [(server.name, (*node.PYLVS, "realserver", *words)) for server in network.servers]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda command: _on(network, *command), commands))
    lines = "".join(" ".join(rule) + "\n" for rule in service.rules(network))
    _on(network, "director", (*node.PYLVS, "attach", "--hook", network.lab.hook))
    _on(network, "director", (*node.PYLVS, "ipvsadm", "-R"), stdin=lines)
    if rules := service.marking(network):
        _on(network, "director", ("nft", "-f", "-"), stdin=rules)


def _on(network: Topology, where: str, argv: Sequence[str], stdin: str | None = None) -> None:
    words = argv if argv[0] not in node.PYTHON else ("pylvs", *argv[len(node.PYLVS) :])
    if not node.which(argv[0]):
        raise LabError(f"{where}: the {argv[0]} command is missing", hint=f"install it: script/setup {argv[0]}")
    try:
        done = node.run(network.namespace(where), *argv, stdin=stdin, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise LabError(f"{where}: {' '.join(words)}: not done after {_SECONDS:.0f} seconds") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{where}: {' '.join(words)}: {said[0] if said else done.returncode}")


def _remove(name: str) -> None:
    from pylvs.role import realserver  # it needs pyroute2 as well

    with interruption.postponed():
        nodes = namespace.labs().get(name, set())
        names = [namespace_of(name, where) for where in sorted(nodes)]
        lived_in = namespace.identities(names) | namespace.of_servers(name)
        namespace.end_processes(lived_in)
        director = _detach(namespace_of(name, "director")) if "director" in nodes else None
        servers = {_cookie(namespace_of(name, where)) for where in nodes if where.startswith("rs")}
        # Without their names nobody enters them any more, so none can slip in behind the last look.
        if names:
            namespace.delete(names)
        namespace.end_processes(lived_in)
        if director is not None:
            control.forget(director)
        realserver.forget({cookie for cookie in servers if cookie is not None})
        _reap(name)
        state.forget(name)


def _reap(name: str) -> None:
    """A caller that lives on, and whose children the real servers are, keeps no zombies."""
    known = state.load(name)
    for _, pid in known.servers if known else ():
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _detach(director: str) -> int | None:
    """As far as it can be done; returns the namespace's cookie, by which it is known what stays pinned."""
    with suppress(subprocess.TimeoutExpired):
        node.run(director, *node.PYLVS, "detach", timeout=_SECONDS)
    return _cookie(director)


def _cookie(where: str) -> int | None:
    with suppress(OSError), namespace.inside(where):
        return bpffs.netns_cookie()
    return None


def need_root(doing: str) -> None:
    """Raises `NotPermitted`."""
    if os.geteuid() != 0:
        raise NotPermitted(f"{doing} needs root", hint="run it with sudo, or as root")
