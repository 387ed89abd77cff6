"""Compiles the data plane: every bpf/*.bpf.c to src/pylvs/bpf/*.bpf.o, with clang or the ziglang wheel.

    python -m tools.bpf [--force] [--quiet]

It imports nothing but the standard library: the build hook of the package runs it too.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ZIGLANG = "ziglang>=0.14"
FLAGS = (
    "-std=gnu11",
    "-O2",
    "-g",  # for the BTF; the DWARF is stripped again
    "-mcpu=v3",  # atomics that return the old value
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-Wall",
    "-Wextra",
    "-Werror",
)


class CompileError(Exception):
    """What the compiler said, or that there is none."""


def clang() -> list[str]:
    """The start of a command line with the machine's own clang; empty if there is none that knows BPF."""
    found = shutil.which("clang")
    if not found:
        return []
    targets = subprocess.run([found, "--print-targets"], capture_output=True, text=True, check=False)
    return [found, "-target", "bpfel"] if " bpfel " in targets.stdout else []


def zig() -> list[str]:
    """The same with the clang inside the ziglang wheel."""
    if not importlib.util.find_spec("ziglang"):
        return []
    return [sys.executable, "-m", "ziglang", "cc", "-target", "bpfel-freestanding-none"]


def compile_object(source: Path, to: Path, *, include: Path | None = None) -> None:
    """One source file to one object; raises `CompileError`. `to` is replaced only when all went well."""
    command = clang() or zig()
    if not command:
        raise CompileError("no compiler for BPF: install clang, or `pip install ziglang`")
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".") as scratch:
        made = Path(scratch, to.name)
        where = [f"-ffile-prefix-map={source.parent.parent}/=", *([f"-I{include}"] if include else [])]
        _run([*command, *FLAGS, *where, "-c", str(source), "-o", str(made)])
        if strip := shutil.which("llvm-strip"):
            _run([strip, "--strip-debug", str(made)])
        made.replace(to)


def pairs(root: Path = ROOT) -> Iterator[tuple[Path, Path]]:
    """Every program's source and object."""
    for source in sorted((root / "bpf").glob("*.bpf.c")):
        yield source, root / "src/pylvs/bpf" / f"{source.name.removesuffix('.c')}.o"


def stale(root: Path = ROOT) -> list[tuple[Path, Path]]:
    """The pairs whose object is missing, or older than anything that it might be made from."""
    inputs = [*(root / "bpf").glob("*.[ch]"), root / "tools/bpf.py"]
    newest = max(path.stat().st_mtime_ns for path in inputs if path.exists())
    return [(source, to) for source, to in pairs(root) if not to.exists() or to.stat().st_mtime_ns <= newest]


def build(root: Path = ROOT, *, force: bool = False) -> list[Path]:
    """Compile what is stale; the objects that were made."""
    made = []
    for source, to in list(pairs(root)) if force else stale(root):
        compile_object(source, to)
        made.append(to)
    return made


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | _caches())
    if done.returncode:
        raise CompileError(f"{' '.join(command)}\n{done.stdout}{done.stderr}".rstrip())


def _caches() -> dict[str, str]:
    """Zig's caches stay inside the project, where they are git-ignored and can be written."""
    cache = str(ROOT / ".cache/zig")
    return {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    try:
        made = build(force="--force" in arguments)
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    for path in made if "--quiet" not in arguments else ():
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
