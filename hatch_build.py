"""Compiles the data plane into the wheel, so that installing it needs no compiler."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from tools import bpf


class CompileDataPlane(BuildHookInterface):  # type: ignore[misc]  # hatchling is there only while building
    """Runs before the files of a wheel are gathered, for editable installs too."""

    def dependencies(self) -> list[str]:
        """A compiler from PyPI where the machine has none."""
        return [] if self.target_name != "wheel" or bpf.clang() else [bpf.ZIGLANG]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Every bpf/*.bpf.c becomes src/pylvs/bpf/*.bpf.o; the project's `artifacts` put them into the wheel."""
        del version, build_data
        if self.target_name == "wheel":
            bpf.build(Path(self.root))
