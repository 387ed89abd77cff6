"""Does a test fail when one token of the data plane is wrong? Prints the mutants that survive; no part of script/test.

    python -m tests.packets.mutants [--sample N] [--seed N] [FILE ...]

Everything happens in a copy of the project; a FILE is a header of bpf/ (all of ours, if none is given).
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.bpf import CompileError, compile_object

ROOT = Path(__file__).resolve().parents[2]
HEADERS = (
    *("connection.h", "decide.h", "forward.h", "forward_tc.h", "forward_xdp.h", "icmp.h"),
    *("parse.h", "schedule.h", "state.h", "sweep.h"),
)
SWAPS = (
    (r" == ", " != "),
    (r" != ", " == "),
    (r" <= ", " < "),
    (r" >= ", " > "),
    (r" < ", " <= "),
    (r" > ", " >= "),
    (r" && ", " || "),
    (r" \|\| ", " && "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\+\+;", "--;"),
    (r"if \(!", "if ("),
    (r"return false;", "return true;"),
    (r"return true;", "return false;"),
    (r"\bVERDICT_REQUEST\b", "VERDICT_REPLY"),
    (r" \? (\w+) : (\w+)", r" ? \2 : \1"),
    (r"& ~EXPIRING", ""),
)
NOT_CODE = re.compile(r"^\s*(/\*|\*|#|//|_Static_assert)")
SECONDS = 120


class Mutant(NamedTuple):
    """One changed line; `line` counts from 1."""

    file: str
    line: int
    before: str
    after: str


def mutants(file: str) -> Iterator[Mutant]:
    """Every swap of one token."""
    for number, text in enumerate((ROOT / "bpf" / file).read_text().splitlines(), 1):
        code = text.split("/*", 1)[0]
        if NOT_CODE.match(text):
            continue
        for pattern, replacement in SWAPS:
            for found in re.finditer(pattern, code):
                changed = code[: found.start()] + found.expand(replacement) + text[found.end() :]
                yield Mutant(file, number, text.strip(), changed)


def copy(to: Path) -> None:
    for name in ("bpf", "src", "tests", "tools", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)


def verdict(mutant: Mutant, tree: Path) -> str:
    """`compiler`, `tests`, `time` say what noticed it; `nothing` is bad news."""
    header = tree / "bpf" / mutant.file
    original = header.read_text()
    lines = original.splitlines()
    lines[mutant.line - 1] = mutant.after
    header.write_text("\n".join(lines) + "\n")
    try:
        compile_object(tree / "bpf/director.bpf.c", tree / "src/pylvs/bpf/director.bpf.o")
    except CompileError:
        return "compiler"
    finally:
        header.write_text(original)
    return run(tree)


def run(tree: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "tests/packets"]
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "time"
    if b" skipped" in done.stdout:
        raise SystemExit(done.stdout.decode())
    return "tests" if done.returncode else "nothing"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="so many of them, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("files", nargs="*", default=HEADERS, metavar="FILE")
    asked = parser.parse_args()
    chosen = [mutant for file in asked.files for mutant in mutants(file)]
    if asked.sample and asked.sample < len(chosen):
        chosen = random.Random(asked.seed).sample(chosen, asked.sample)
    survived = 0
    with tempfile.TemporaryDirectory(prefix="pylvs-mutants-") as scratch:
        tree = Path(scratch)
        copy(tree)
        if run(tree) != "nothing":
            raise SystemExit("the tests fail without any mutant")
        for number, mutant in enumerate(chosen, 1):
            noticed = verdict(mutant, tree)
            survived += noticed == "nothing"
            if noticed in {"nothing", "time"}:
                print(f"{mutant.file}:{mutant.line}: {mutant.before}\n    {mutant.after.strip()}: {noticed} noticed")
                sys.stdout.flush()
            print(f"\r{number} of {len(chosen)}, {survived} survived", end="", file=sys.stderr, flush=True)
    print(f"{survived} of {len(chosen)} mutants survived")
    return bool(survived)


if __name__ == "__main__":
    sys.exit(main())
