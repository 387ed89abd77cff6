"""Writes what is generated from the headers that Python shares: structs and enums, and the pages of what is counted.

    python -m tools.generate [--check]

With --check nothing is written, and the exit code says whether a file is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tools import abi, drops, header, knobs
from tools.bpf import ROOT, CompileError
from tools.btf import BtfError


def files() -> dict[str, str]:
    """Path below the project's root, and content."""
    director, realserver = header.HEADER.read_text(), header.REALSERVER.read_text()
    reasons = header.comments("drop_reason", director)
    return {
        "src/pylvs/director/ebpf/abi.py": _module(header.HEADER),
        "src/pylvs/role/abi.py": _module(header.REALSERVER),
        "src/pylvs/director/ebpf/reason.py": drops.module(reasons),
        "docs/drops.md": drops.page(drops.HEAD, reasons),
        "docs/sysctl.md": knobs.page(),
        "docs/realserver-counters.md": drops.page(
            drops.REALSERVER_HEAD, header.comments("realserver_counter", realserver)
        ),
    }


def _module(path: Path) -> str:
    text = path.read_text()
    btf, constants = header.compiled(path)
    return abi.module(path.name, btf, header.named("struct", text), header.named("enum", text), constants)


def stale(wanted: dict[str, str]) -> list[str]:
    """The paths whose file is missing or different."""
    return [name for name, text in wanted.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]


def main(arguments: Sequence[str]) -> int:
    """The exit code: 1 if a file is out of date, or cannot be made."""
    try:
        wanted = files()
    except (CompileError, BtfError, drops.UndocumentedDrop) as error:
        print(f"gen-abi: {error}", file=sys.stderr)
        return 1
    found = stale(wanted)
    if "--check" in arguments:
        for name in found:
            print(f"{name} is out of date: run script/gen-abi", file=sys.stderr)
        return 1 if found else 0
    for name in found:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(wanted[name])
        print(f"{name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
