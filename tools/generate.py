"""Writes what is generated: from bpf/director.h the structs and enums for Python and the manual of the drops; from the
table of the knobs, their page.

    python -m tools.generate [--check]

With --check nothing is written, and the exit code says whether a file is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tools import abi, drops, header, knobs
from tools.bpf import ROOT, CompileError
from tools.btf import BtfError


def files() -> dict[str, str]:
    """Path below the project's root, and content."""
    text = header.HEADER.read_text()
    btf, constants = header.compiled()
    structs, enums = header.named("struct", text), header.named("enum", text)
    reasons = header.comments("drop_reason", text)
    return {
        "src/pylvs/director/ebpf/abi.py": abi.module(btf, structs, enums, constants),
        "src/pylvs/director/ebpf/reason.py": drops.module(reasons),
        "docs/drops.md": drops.page(reasons),
        "docs/sysctl.md": knobs.page(),
    }


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
