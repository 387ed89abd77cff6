"""What is compiled, when, and what is said when it can't be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import bpf
from tools.btf import Btf, section

PROGRAM = """
int answer(void *context) { (void)context; return 42; }
char _license[] __attribute__((section("license"))) = "GPL";
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one program and one header."""
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf/director.bpf.c").write_text(PROGRAM)
    (tmp_path / "bpf/director.h").write_text("")
    return tmp_path


def made(project: Path) -> Path:
    return project / "src/pylvs/bpf/director.bpf.o"


def test_a_program_becomes_an_object_with_btf(project: Path) -> None:
    assert bpf.build(project) == [made(project)]
    assert section(made(project).read_bytes(), "license") == b"GPL\0"
    assert any(found.name == "answer" for found in Btf(section(made(project).read_bytes(), ".BTF")).types)
    assert list(made(project).parent.iterdir()) == [made(project)]


def test_nothing_is_compiled_twice_until_a_header_changes(project: Path) -> None:
    bpf.build(project)
    assert bpf.build(project) == []
    later = made(project).stat().st_mtime + 1
    os.utime(project / "bpf/director.h", (later, later))
    assert bpf.build(project) == [made(project)]
    assert bpf.build(project, force=True) == [made(project)]


def test_a_program_that_does_not_compile_leaves_the_old_object(project: Path) -> None:
    bpf.build(project)
    before = made(project).read_bytes()
    (project / "bpf/director.bpf.c").write_text("int answer(void) { return nothing; }")
    with pytest.raises(bpf.CompileError, match="nothing"):
        bpf.build(project, force=True)
    assert made(project).read_bytes() == before


def test_a_warning_is_an_error(project: Path) -> None:
    (project / "bpf/director.bpf.c").write_text("int answer(void) { int unused; return 42; }")
    with pytest.raises(bpf.CompileError, match="unused"):
        bpf.build(project)


def test_without_any_compiler_it_says_what_to_install(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "clang", list)
    monkeypatch.setattr(bpf, "zig", list)
    with pytest.raises(bpf.CompileError, match="install clang, or `pip install ziglang`"):
        bpf.build(project)


@pytest.mark.parametrize(
    ("targets", "usable"),
    [
        pytest.param("    bpfeb - BPF (big endian)\n    bpfel - BPF (little endian)", True, id="knows BPF"),
        pytest.param("    x86-64 - 64-bit X86", False, id="knows only its own machine"),
    ],
)
def test_clang_is_used_only_if_it_knows_bpf(
    targets: str, usable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clang = tmp_path / "clang"
    clang.write_text(f"#!/bin/sh\necho '{targets}'\n")
    clang.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bpf.clang() == ([str(clang), "-target", "bpfel"] if usable else [])
