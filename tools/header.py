"""Reads director.h and realserver.h, the contracts with Python: the types and constants they name, and comments."""

from __future__ import annotations

import re
import struct
import tempfile
from pathlib import Path

from tools import bpf
from tools.btf import Btf, section

HEADER = bpf.ROOT / "bpf/director.h"
REALSERVER = bpf.ROOT / "bpf/realserver.h"

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_TAGGED = re.compile(r"^(struct|enum)\s+(\w+)\s*\{", re.MULTILINE)
_ANONYMOUS = re.compile(r"^enum\s*\{([^}]*)\}", re.MULTILINE)
_DEFINED = re.compile(r"^#define\s+([A-Z][A-Z0-9_]*)[ \t]+\S", re.MULTILINE)


def named(kind: str, text: str) -> list[str]:
    """The structs or enums that a header defines, in its order."""
    return [name for what, name in _TAGGED.findall(_COMMENT.sub("", text)) if what == kind]


def constant_names(text: str) -> list[str]:
    """The members of the header's anonymous enums, then its object-like macros."""
    text = _COMMENT.sub("", text)
    members = (re.match(r"\w*", entry.strip()) for body in _ANONYMOUS.findall(text) for entry in body.split(","))
    return [*(found[0] for found in members if found and found[0]), *_DEFINED.findall(text)]


def compiled(header: Path = HEADER) -> tuple[Btf, dict[str, int]]:
    """The types of everything that a header names, and its constants.

    The compiler is asked by way of a probe with a global of each type: a type that nothing refers to is left out of an
    object's BTF, and constants never get in.
    """
    text = header.read_text()
    names = constant_names(text)
    lines = [f'#include "{header.name}"']
    lines += [f"{kind} {name} {kind}_{name};" for kind in ("struct", "enum") for name in named(kind, text)]
    lines += [f'const __u64 probe[] __attribute__((section("constants"))) = {{ {", ".join([*names, "0"])} }};', ""]
    with tempfile.TemporaryDirectory() as scratch:
        probe, made = Path(scratch, "probe.bpf.c"), Path(scratch, "probe.bpf.o")
        probe.write_text("\n".join(lines))
        bpf.compile_object(probe, made, include=header.parent)
        elf = made.read_bytes()
    values = section(elf, "constants")
    return Btf(section(elf, ".BTF")), dict(zip(names, struct.unpack_from(f"<{len(names)}Q", values), strict=True))


def comments(enum: str, text: str) -> dict[str, str]:
    """The comment behind each member of an enum, on one line; empty where there is none."""
    body = re.search(rf"^enum\s+{enum}\s*\{{(.*?)^\}}", text, re.DOTALL | re.MULTILINE)
    if not body:
        raise LookupError(f"no enum {enum}")
    rows = re.findall(r"^\s*([A-Z]\w*)[^,/]*,?[ \t]*(?:/\*(.*?)\*/)?", body[1], re.DOTALL | re.MULTILINE)
    return {name: " ".join(re.sub(r"^\s*\*", "", comment, flags=re.MULTILINE).split()) for name, comment in rows}
