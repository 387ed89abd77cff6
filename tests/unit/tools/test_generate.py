"""From C to Python: layouts as the compiler made them, names as Python has them, comments as a page."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from pylvs.director import knob
from tools import abi, bpf, drops, generate, header, knobs
from tools.btf import Btf, BtfError, section

TYPES = """
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
"""


def in_python(directory: Path, text: str) -> SimpleNamespace:
    """The module that a header becomes."""
    path = directory / "director.h"
    path.write_text(TYPES + text)
    btf, constants = header.compiled(path)
    names: dict[str, object] = {}
    source = abi.module("director.h", btf, header.named("struct", text), header.named("enum", text), constants)
    exec(compile(source, "abi", "exec"), names)  # noqa: S102
    return SimpleNamespace(**names)


LAYOUTS = {
    "scalars of every width": ("__u8 a; __u16 b; __u32 c; __u64 d;", {"a": 0, "b": 2, "c": 4, "d": 8}, 16),
    "signed and truth": ("signed char a; short b; int c; _Bool d;", {"a": 0, "b": 2, "c": 4, "d": 8}, 12),
    "an array": ("__u8 a; __u32 b[3];", {"a": 0, "b": 4}, 16),
    "an array of arrays": ("__u16 a[2][3]; __u8 b;", {"a": 0, "b": 12}, 14),
    "a struct inside": ("__u8 a; struct inner { __u64 x; } b;", {"a": 0, "b": 8}, 16),
    "a union": ("union { __u64 a; __u8 b[3]; } c; __u8 d;", {"c": 0, "d": 8}, 16),
    "a cache line": ("__u32 a; __u32 b __attribute__((aligned(64)));", {"a": 0, "b": 64}, 128),
    "packed": ("__u8 a; __u32 b; } __attribute__((packed)); struct other { __u8 c;", {"a": 0, "b": 1}, 5),
    "const and volatile": ("const __u32 a; volatile __u64 b;", {"a": 0, "b": 8}, 16),
    "an enum's field": ("enum colour { RED } a; __u8 b;", {"a": 0, "b": 4}, 8),
}


@pytest.mark.parametrize(("members", "offsets", "size"), LAYOUTS.values(), ids=LAYOUTS)
def test_layout(members: str, offsets: dict[str, int], size: int, tmp_path: Path) -> None:
    thing = in_python(tmp_path, f"struct thing {{ {members} }};").Thing
    assert {name: getattr(thing, name).offset for name in offsets} == offsets
    assert ctypes.sizeof(thing) == size


def test_network_byte_order_reads_as_plain_integers(tmp_path: Path) -> None:
    packet = in_python(tmp_path, "struct packet { __be16 port; __u16 host; __be32 word[2]; };").Packet
    made = packet(port=80, host=80)
    made.word[1] = 0x0A000001
    assert bytes(made) == b"\0\x50\x50\0\0\0\0\0\x0a\0\0\x01"
    assert (made.port, made.word[1]) == (80, 0x0A000001)


def test_the_members_of_an_anonymous_union_are_its_parents(tmp_path: Path) -> None:
    address = in_python(tmp_path, "struct address { __u32 family; union { __be32 word; __u8 byte[4]; }; };").Address
    assert list(address(word=0x01020304).byte) == [1, 2, 3, 4]


def test_text_reads_as_bytes(tmp_path: Path) -> None:
    assert in_python(tmp_path, "struct service { char scheduler[16]; };").Service(scheduler=b"wlc").scheduler == b"wlc"


@pytest.mark.parametrize(
    ("member", "why"),
    [
        pytest.param("__u8 version : 4;", "bitfields are not supported", id="bitfield"),
        pytest.param("void *next;", "cannot be shared with Python", id="pointer"),
    ],
)
def test_what_python_cannot_read_is_refused(member: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(BtfError, match=why):
        in_python(tmp_path, f"struct thing {{ {member} }};")


def test_constants_are_computed_by_the_compiler(tmp_path: Path) -> None:
    text = """
enum { SLOTS = 8, /* a comment, with a comma */ BYTES = 64 * SLOTS };
#define ACTIVE (1ULL << 32)
#define FUNCTION(x) (x)
"""
    made = in_python(tmp_path, text)
    assert (made.SLOTS, made.BYTES, made.ACTIVE) == (8, 512, 1 << 32)
    assert not hasattr(made, "FUNCTION")


def test_an_enum_that_nothing_refers_to_is_there_all_the_same(tmp_path: Path) -> None:
    reason = in_python(tmp_path, "enum drop_reason {\n DROP_NO_ROUTE,\n DROP_FULL = 7,\n DROP_REASONS,\n};").DropReason
    assert [(member.name, member.value) for member in reason] == [("NO_ROUTE", 0), ("FULL", 7), ("REASONS", 8)]


@pytest.mark.parametrize(
    ("members", "cut"),
    [
        pytest.param(["DROP_A", "DROP_B"], ["A", "B"], id="one word"),
        pytest.param(["METHOD_NAT", "METHOD_DR", "METHODS"], ["NAT", "DR", "METHODS"], id="the count lacks it"),
        pytest.param(["STATE_SYN_SENT", "STATE_SYN_RECV"], ["SENT", "RECV"], id="two words"),
        pytest.param(["IP_4", "IP_6"], ["IP_4", "IP_6"], id="the rest is no name"),
        pytest.param(["ALONE_HERE"], ["ALONE_HERE"], id="only one"),
        pytest.param(["RED", "BLUE"], ["RED", "BLUE"], id="nothing in common"),
        pytest.param(["SIDE", "SIDE_CLIENT"], ["SIDE", "SIDE_CLIENT"], id="one is the beginning of the other"),
    ],
)
def test_the_prefix_of_an_enum(members: list[str], cut: list[str]) -> None:
    assert abi.cut_prefix(members) == cut


def test_drops_become_rows() -> None:
    text = """
enum drop_reason {
    DROP_NO_ROUTE,  /* no route | no way; see
                     * `ip route get` */
    DROP_FULL = 3,  /* the table, all of it, is full; enlarge it */
    DROP_REASONS,
};
"""
    rows = drops.page("", header.comments("drop_reason", text)).splitlines()[-2:]
    assert rows == [
        r"| `no_route` | no route \| no way | see `ip route get` |",
        "| `full` | the table, all of it, is full | enlarge it |",
    ]


def test_drops_become_a_module() -> None:
    text = """
enum drop_reason {
    DROP_NO_ROUTE,  /* no \"route\"; see it */
    DROP_REASONS,
};
"""
    names: dict[str, object] = {}
    exec(drops.module(header.comments("drop_reason", text)), names)  # noqa: S102  # it was made a line ago
    assert names["MANUAL"] == {"no_route": ('no "route"', "see it")}


def test_every_knob_has_a_row() -> None:
    rows = [line for line in knobs.page().splitlines() if line.startswith("| `")]
    assert {row.split("`")[1] for row in rows} == knob.KNOBS.keys()
    assert "| `sync_threshold` | 3 50 |" in knobs.page()


@pytest.mark.parametrize("comment", ["", "/* a cause without a remedy */"])
def test_a_drop_without_a_remedy_is_refused(comment: str) -> None:
    text = f"enum drop_reason {{\n\tDROP_FULL, {comment}\n\tDROP_REASONS,\n}};\n"
    with pytest.raises(drops.UndocumentedDrop, match="DROP_FULL"):
        drops.page("", header.comments("drop_reason", text))


def test_check_tells_what_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "docs/drops.md is out of date: run script/gen-abi" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_an_object_without_btf_is_named(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match="not a little-endian ELF64 object"):
        section(b"\x7fELF\x01", ".BTF")
    with pytest.raises(BtfError, match="not BTF"):
        Btf(bytes(32))


def test_the_programs_agree_with_the_header() -> None:
    """The maps of the director's object have the types of the header, of the same size."""
    bpf.build()
    linked = Btf(section((bpf.ROOT / "src/pylvs/bpf/director.bpf.o").read_bytes(), ".BTF"))
    probed, _ = header.compiled()
    for name in ("connection", "service", "server", "settings"):
        assert linked.struct(name).size == probed.struct(name).size
