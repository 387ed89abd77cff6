"""Reads the types of a BPF object from its .BTF section (Documentation/bpf/btf.rst). Little-endian ELF64 only."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAGIC = 0xEB9F


class BtfError(Exception):
    """Not an object with BTF, or a type that is not understood."""


@dataclass(frozen=True, slots=True)
class Type:
    """What every type has; `target` is the id of what a typedef, pointer, qualifier or variable refers to."""

    kind: str
    name: str
    size: int = 0
    target: int = 0


@dataclass(frozen=True, slots=True)
class Int(Type):
    signed: bool = False
    char: bool = False
    truth: bool = False


@dataclass(frozen=True, slots=True)
class Array(Type):
    count: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """`bit` is the offset in the struct; `bits` is 0 but for a bitfield."""

    name: str
    type: int
    bit: int
    bits: int


@dataclass(frozen=True, slots=True)
class Composite(Type):
    """A struct or a union."""

    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Enum(Type):
    signed: bool = False
    members: tuple[tuple[str, int], ...] = ()


def section(elf: bytes, name: str) -> bytes:
    """The content of one section; raises `BtfError`."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise BtfError("not a little-endian ELF64 object")
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + entry * index) for index in range(count)]
    strings = headers[names][4]
    for label, _, _, _, offset, size in headers:
        if _string(elf, strings + label) == name:
            return elf[offset : offset + size]
    raise BtfError(f"no section {name}: built without -g?")


class Btf:
    """The types by id; id 0 is void."""

    def __init__(self, raw: bytes) -> None:
        magic, _, _, header, types, types_size, strings, _ = struct.unpack_from("<HBBIIIII", raw)
        if magic != MAGIC:
            raise BtfError(f"not BTF: magic {magic:#x}")
        names = raw[header + strings :]
        self.types = [Type("VOID", "void"), *_types(raw[header + types : header + types + types_size], names)]

    def enum(self, name: str) -> Enum:
        """The enum of that name; raises `BtfError`."""
        for found in self.types:
            if isinstance(found, Enum) and found.name == name:
                return found
        raise BtfError(f"no enum {name} in the BTF")

    def struct(self, name: str) -> Composite:
        """The struct of that name; raises `BtfError`."""
        for found in self.types:
            if isinstance(found, Composite) and (found.kind, found.name) == ("STRUCT", name):
                return found
        raise BtfError(f"no struct {name} in the BTF")


def _types(raw: bytes, names: bytes) -> Iterator[Type]:
    at = 0
    while at < len(raw):
        name, info, size = struct.unpack_from("<III", raw, at)
        if (kind := info >> 24 & 0x1F) not in _KINDS:
            raise BtfError(f"BTF kind {kind} is not known")
        label, each, fixed, read = _KINDS[kind]
        end = at + 12 + fixed + each * (info & 0xFFFF)
        yield read(Type(label, _string(names, name), size, size), raw[at + 12 : end], bool(info >> 31), names)
        at = end


def _plain(head: Type, rest: bytes, flag: bool, names: bytes) -> Type:
    return head


def _int(head: Type, rest: bytes, flag: bool, names: bytes) -> Type:
    encoding = rest[3]
    return Int(head.kind, head.name, head.size, 0, bool(encoding & 1), bool(encoding & 2), bool(encoding & 4))


def _array(head: Type, rest: bytes, flag: bool, names: bytes) -> Type:
    element, _, count = struct.unpack("<III", rest)
    return Array(head.kind, "", 0, element, count)


def _composite(head: Type, rest: bytes, flag: bool, names: bytes) -> Type:
    members = []
    for name, target, offset in struct.iter_unpack("<III", rest):
        bit, bits = (offset & 0xFFFFFF, offset >> 24) if flag else (offset, 0)
        members.append(Member(_string(names, name), target, bit, bits))
    return Composite(head.kind, head.name, head.size, 0, tuple(members))


def _enum(head: Type, rest: bytes, flag: bool, names: bytes) -> Type:
    rows = struct.iter_unpack("<Ii" if flag else "<II", rest)
    return Enum(head.kind, head.name, head.size, 0, flag, tuple((_string(names, name), value) for name, value in rows))


def _enum64(head: Type, rest: bytes, flag: bool, names: bytes) -> Type:
    rows = struct.iter_unpack("<IIi" if flag else "<III", rest)
    members = tuple((_string(names, name), high << 32 | low) for name, low, high in rows)
    return Enum(head.kind, head.name, head.size, 0, flag, members)


def _string(raw: bytes, at: int) -> str:
    return raw[at : raw.index(b"\0", at)].decode()


# What each kind is called, its bytes for each element and besides, and who reads it.
_KINDS: dict[int, tuple[str, int, int, Callable[[Type, bytes, bool, bytes], Type]]] = {
    1: ("INT", 0, 4, _int),
    2: ("PTR", 0, 0, _plain),
    3: ("ARRAY", 0, 12, _array),
    4: ("STRUCT", 12, 0, _composite),
    5: ("UNION", 12, 0, _composite),
    6: ("ENUM", 8, 0, _enum),
    7: ("FWD", 0, 0, _plain),
    8: ("TYPEDEF", 0, 0, _plain),
    9: ("VOLATILE", 0, 0, _plain),
    10: ("CONST", 0, 0, _plain),
    11: ("RESTRICT", 0, 0, _plain),
    12: ("FUNC", 0, 0, _plain),
    13: ("FUNC_PROTO", 8, 0, _plain),
    14: ("VAR", 0, 4, _plain),
    15: ("DATASEC", 12, 0, _plain),
    16: ("FLOAT", 0, 0, _plain),
    17: ("DECL_TAG", 0, 4, _plain),
    18: ("TYPE_TAG", 0, 0, _plain),
    19: ("ENUM", 12, 0, _enum64),
}
