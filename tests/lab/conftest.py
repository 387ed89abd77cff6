"""Labs for tests: each with a name of its own, gone when its test ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pylvs.lab import command, node
from pylvs.lab.topology import Hook, Lab, Topology, topology
from pylvs.model import ForwardingMethod

_NOT_ROOT = "needs root: it builds network namespaces"
_SECONDS = 60.0


class LabUnderTest:
    """A lab that is up."""

    def __init__(self, asked: Lab) -> None:
        self.name = asked.name
        self.topology: Topology = topology(asked)
        command.up(asked)

    @property
    def vip(self) -> str:
        return str(self.topology.vip)

    @property
    def vips(self) -> list[str]:
        """One for each family of its services."""
        return [str(vip) for vip in self.topology.vips]

    @property
    def rips(self) -> list[str]:
        """As the real servers say hello, in the order of rs1, rs2, ..."""
        return [str(server.address) for server in self.topology.servers]

    def exec(self, where: str, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command on a node to its end, as `pylvs lab exec` would."""
        return node.run(self.topology.namespace(where), *argv, stdin=stdin, timeout=_SECONDS)

    def pylvs(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run this pylvs on the director."""
        return self.exec("director", *node.PYLVS, *arguments, stdin=stdin)

    def namespace(self, where: str) -> str:
        """For `pylvs.lab.namespace.inside`, or for processes that outlive a call."""
        return self.topology.namespace(where)

    def down(self) -> None:
        """Not an error when it is down already."""
        if self.name in command.present():
            command.down(self.name)


LabFactory = Callable[..., LabUnderTest]


@pytest.fixture
def lab() -> Iterator[LabFactory]:
    """`lab("nat", hook="tc")` builds one, with the fields of `Lab` as they are asked; each is removed at the end."""
    if os.geteuid() != 0:
        pytest.skip(_NOT_ROOT)
    built: list[LabUnderTest] = []

    def build(method: str, *, hook: str = "auto", **asked: Any) -> LabUnderTest:
        name = f"test-{os.getpid()}-{len(built)}"
        built.append(LabUnderTest(Lab(name, ForwardingMethod(method), Hook(hook), **asked)))
        return built[-1]

    yield build
    for each in built:
        each.down()
