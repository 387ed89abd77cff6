"""Everything that is asked of libbpf, through ctypes: the only file that knows its calling conventions.

A call that fails raises `OSError` with the kernel's errno; `load` raises `VerifierError`.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import Structure, byref, c_char_p, c_int, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p

from pylvs.errors import DataPlaneError, NotSupportedHere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

MAP_TYPE_ARRAY = 2
F_INNER_MAP = 1 << 12
TC_INGRESS = 1
TC_EGRESS = 2
TC_REPLACE = 1
XDP_DRIVER_MODE = 1 << 2
XDP_REPLACE = 1 << 4
_ANY = 0
_LARGEST_FRAME = 16384  # that BPF makes
_TELLING = (errno.EPERM, errno.ENOMEM, errno.E2BIG, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of loading that mean what they say."""
_NO_BATCH = (errno.EOPNOTSUPP, 524)
"""How a kernel says that it has no such operation for a kind of map (524 is its own ENOTSUPP)."""


class VerifierError(DataPlaneError):
    """The kernel refused a program; `log` is all that the verifier said."""

    hint = "pylvs needs Linux 6.1 or newer"

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class _TestRunOptions(Structure):
    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class _TcHook(Structure):
    _fields_ = (("sz", c_size_t), ("ifindex", c_int), ("attach_point", c_int), ("parent", c_uint32), ("_pad", c_uint32))


class _TcOptions(Structure):
    _fields_ = (
        ("sz", c_size_t),
        ("prog_fd", c_int),
        ("flags", c_uint32),
        ("prog_id", c_uint32),
        ("handle", c_uint32),
        ("priority", c_uint32),
        ("_pad", c_uint32),
    )


class _XdpOptions(Structure):
    _fields_ = (("sz", c_size_t), ("old_prog_fd", c_int), ("_pad", c_uint32))


class _MapInfo(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", ctypes.c_char * 16),
        ("_rest", c_uint8 * 200),
    )


class _ProgramInfo(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_length", c_uint32),
        ("xlated_length", c_uint32),
        ("jited", c_uint64),
        ("xlated", c_uint64),
        ("loaded_at", c_uint64),
        ("created_by", c_uint32),
        ("map_count", c_uint32),
        ("map_ids", c_uint64),
    )


def _load_library() -> Any:
    try:
        return ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise NotSupportedHere(
            "libbpf.so.1 is missing", hint="install it: apt-get install libbpf1 (it comes with iproute2)"
        ) from error


_library: Any = None


def _lib() -> Any:
    global _library  # noqa: PLW0603  # loaded on first use, so that a machine without it can still print help
    if _library is None:
        _library = _load_library()
        for name in ("bpf_object__open_file", "bpf_object__find_map_by_name", "bpf_object__find_program_by_name"):
            getattr(_library, name).restype = c_void_p
        _library.bpf_map__initial_value.restype = c_void_p
        _library.libbpf_set_print(None)
    return _library


def _check(result: int, what: str) -> int:
    """libbpf 1.x returns -errno or sets errno."""
    if result < 0:
        number = -result if result != -1 else ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


_PRINTER = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


class Object:
    """A compiled BPF object between opening and loading."""

    def __init__(self, path: str) -> None:
        lib = _lib()
        self._log: list[str] = []
        self._printer = _PRINTER(self._print)
        lib.libbpf_set_print(self._printer)
        self._object = lib.bpf_object__open_file(path.encode(), None)
        if not self._object:
            raise DataPlaneError(f"{path} is not a BPF object: {os.strerror(ctypes.get_errno())}")

    def _print(self, _level: int, template: bytes, arguments: int) -> int:
        buffer = ctypes.create_string_buffer(1 << 16)
        ctypes.CDLL(None).vsnprintf(buffer, c_size_t(len(buffer)), template, c_void_p(arguments))
        self._log.append(buffer.value.decode(errors="replace"))
        return 0

    def _map(self, name: str) -> c_void_p:
        found = _lib().bpf_object__find_map_by_name(c_void_p(self._object), name.encode())
        if not found:
            raise DataPlaneError(f"the BPF object has no map {name}")
        return c_void_p(found)

    def set_max_entries(self, name: str, entries: int) -> None:
        """The capacity of a map, to be set before loading."""
        _check(_lib().bpf_map__set_max_entries(self._map(name), c_uint32(entries)), f"resize {name}")

    def reuse(self, name: str, fd: int) -> None:
        """Use a live map in place of a new one."""
        _check(_lib().bpf_map__reuse_fd(self._map(name), c_int(fd)), f"reuse {name}")

    def set_constants(self, section: str, data: bytes) -> None:
        """The start of a section of read-only data, before loading."""
        size = c_size_t()
        start = _lib().bpf_map__initial_value(self._map(section), byref(size))
        whole = data + ctypes.string_at(start, size.value)[len(data) :]
        _check(_lib().bpf_map__set_initial_value(self._map(section), whole, size), "set the constants")

    def load(self) -> None:
        """Create maps and verify programs; raises `VerifierError`, or `OSError` where it isn't the programs' fault."""
        result = _lib().bpf_object__load(c_void_p(self._object))
        if result < 0:
            log = "".join(self._log)
            if -result in _TELLING and "PROG LOAD LOG" not in log:
                raise OSError(-result, os.strerror(-result))
            raise VerifierError(f"the kernel refused the data plane: {os.strerror(-result)}", log)

    def map_fd(self, name: str) -> int:
        """A descriptor of one's own for a loaded map."""
        return os.dup(_check(_lib().bpf_map__fd(self._map(name)), name))

    def program_fd(self, name: str) -> int:
        """A descriptor of one's own for a loaded program."""
        program = _lib().bpf_object__find_program_by_name(c_void_p(self._object), name.encode())
        if not program:
            raise DataPlaneError(f"the BPF object has no program {name}")
        return os.dup(_check(_lib().bpf_program__fd(c_void_p(program)), name))

    def close(self) -> None:
        """Drop the object; descriptors handed out stay good."""
        _lib().bpf_object__close(c_void_p(self._object))
        _lib().libbpf_set_print(None)


def pin(fd: int, path: str) -> None:
    """Give a map or program a name in a bpffs."""
    _check(_lib().bpf_obj_pin(fd, path.encode()), f"pin {path}")


def pinned(path: str) -> int:
    """The descriptor of what is pinned there; raises `FileNotFoundError`."""
    return _check(_lib().bpf_obj_get(path.encode()), path)


def possible_cpus() -> int:
    """How many values a per-CPU map keeps for each key."""
    return _check(_lib().libbpf_num_possible_cpus(), "count CPUs")


def bind_map(program: int, map_fd: int) -> None:
    """Let a program hold a map that it doesn't use: as long as it is attached, the map is there."""
    _check(_lib().bpf_prog_bind_map(program, map_fd, None), "bind a map")


def create_inner_array(name: str, value_size: int, entries: int) -> int:
    """An array that can stand in a map of maps."""

    class Options(Structure):
        _fields_ = (
            ("sz", c_size_t),
            ("btf", c_uint32 * 4),
            ("inner_map_fd", c_uint32),
            ("map_flags", c_uint32),
            ("rest", c_uint32 * 8),
        )

    options = Options(sz=ctypes.sizeof(Options), map_flags=F_INNER_MAP)
    fd = _lib().bpf_map_create(MAP_TYPE_ARRAY, name.encode(), 4, value_size, entries, byref(options))
    return _check(fd, "create a ring")


def lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """The value of a key; of a per-CPU map, all CPUs' values. None when there is no such key."""
    value = ctypes.create_string_buffer(value_size)
    result = _lib().bpf_map_lookup_elem(fd, key, value)
    if result < 0 and ctypes.get_errno() == 2:
        return None
    _check(result, "look up")
    return value.raw


def update(fd: int, key: bytes, value: bytes) -> None:
    """Set the value of a key."""
    _check(_lib().bpf_map_update_elem(fd, key, value, c_uint64(_ANY)), "update")


def update_words(fd: int, words: Sequence[int], each: int) -> None:
    """Fill an array, each of whose elements is so many 32-bit words, from its start."""
    elements = len(words) // each
    count = c_uint32(elements)
    keys = (c_uint32 * elements)(*range(elements))
    data = (c_uint32 * len(words))(*words)
    _check(_lib().bpf_map_update_batch(fd, keys, data, byref(count), None), "fill a ring")


def swap_inner_maps(fd: int, inner: Mapping[int, int]) -> None:
    """Put maps (by descriptor) into places of a map of maps, all at once: each call waits for packets on their way."""
    count = c_uint32(len(inner))
    places = (c_uint32 * len(inner))(*inner.keys())
    values = (c_uint32 * len(inner))(*inner.values())
    result = _lib().bpf_map_update_batch(fd, places, values, byref(count), None)
    if result < 0 and ctypes.get_errno() in _NO_BATCH:
        for place, value in inner.items():
            update(fd, place.to_bytes(4, "little"), value.to_bytes(4, "little"))
        return
    _check(result, "swap rings")


def delete(fd: int, key: bytes) -> None:
    """Delete a key; nothing happens when it isn't there."""
    result = _lib().bpf_map_delete_elem(fd, key)
    if result < 0 and ctypes.get_errno() != 2:
        _check(result, "delete")


def map_info(fd: int) -> _MapInfo:
    """Type, sizes and capacity of a map."""
    info = _MapInfo()
    _check(_lib().bpf_obj_get_info_by_fd(fd, byref(info), byref(c_uint32(ctypes.sizeof(info)))), "ask about a map")
    return info


_SAMPLE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)


class RingBuffer:
    """The reader of a ring of records. A ring knows one reader only: two would take each other's records."""

    MOST = 4096
    """Records of one `read`."""

    def __init__(self, fd: int) -> None:
        lib = _lib()
        lib.ring_buffer__new.restype = c_void_p
        self._records: list[bytes] = []
        self._sample = _SAMPLE(self._take)
        self._ring = lib.ring_buffer__new(fd, self._sample, None, None)
        if not self._ring:
            raise OSError(ctypes.get_errno(), f"read a ring: {os.strerror(ctypes.get_errno())}")

    def _take(self, _context: int | None, record: int, size: int) -> int:
        """Called by libbpf: a negative result ends its round."""
        self._records.append(ctypes.string_at(record, size))
        return -errno.ENOBUFS if len(self._records) >= self.MOST else 0

    def read(self, milliseconds: int) -> list[bytes]:
        """What is there, at most MOST; waits for the first one so long. A signal ends the waiting."""
        result = _lib().ring_buffer__poll(c_void_p(self._ring), c_int(milliseconds))
        if result not in (-errno.EINTR, -errno.ENOBUFS):
            _check(result, "read a ring")
        records, self._records = self._records, []
        return records

    def close(self) -> None:
        """Whoever comes next reads on from here."""
        _lib().ring_buffer__free(c_void_p(self._ring))
        self._ring = None


class TestRun:
    """What a program did with one packet: its return value, the frame afterwards, and nanoseconds a run."""

    __test__ = False  # it is no test class of pytest's

    def __init__(self, retval: int, data: bytes, duration: int) -> None:
        self.retval = retval
        self.data = data
        self.duration = duration


def test_run(
    fd: int, data: bytes = bytes(64), *, context: bytes = b"", repeat: int = 1, flags: int = 0, batch: int = 0
) -> TestRun:
    """Run a program on a frame, `repeat` times over. `context` is its `xdp_md` or `__sk_buff`, where it matters."""
    frame = ctypes.create_string_buffer(data, len(data))
    out = ctypes.create_string_buffer(len(data) + _LARGEST_FRAME)
    context_in = ctypes.create_string_buffer(context, len(context)) if context else None
    options = _TestRunOptions(
        sz=ctypes.sizeof(_TestRunOptions),
        data_in=ctypes.addressof(frame),
        data_out=None if flags else ctypes.addressof(out),
        data_size_in=len(data),
        data_size_out=0 if flags else len(out),
        ctx_in=ctypes.addressof(context_in) if context_in else None,
        ctx_size_in=len(context),
        repeat=repeat,
        flags=flags,
        batch_size=batch,
    )
    _check(_lib().bpf_prog_test_run_opts(fd, byref(options)), "run a program")
    return TestRun(options.retval, out.raw[: options.data_size_out], options.duration)


def _hook(interface: int, point: int) -> _TcHook:
    return _TcHook(sz=ctypes.sizeof(_TcHook), ifindex=interface, attach_point=point)


def create_ingress(interface: int) -> bool:
    """Give an interface a clsact qdisc, which has egress too; False when it has one."""
    result = _lib().bpf_tc_hook_create(byref(_hook(interface, TC_INGRESS)))
    if result == -17:
        return False
    _check(result, "create a clsact qdisc")
    return True


def destroy_ingress(interface: int) -> None:
    """Take the clsact qdisc away, and every filter on it with it."""
    result = _lib().bpf_tc_hook_destroy(byref(_hook(interface, TC_INGRESS | TC_EGRESS)))
    if result not in (-2, -22):
        _check(result, "remove the clsact qdisc")


def attach_tc(interface: int, program: int, *, handle: int, priority: int, point: int = TC_INGRESS) -> None:
    """Put a program on ingress or egress, atomically in place of the one with the same handle and priority."""
    options = _TcOptions(
        sz=ctypes.sizeof(_TcOptions), prog_fd=program, flags=TC_REPLACE, handle=handle, priority=priority
    )
    _check(_lib().bpf_tc_attach(byref(_hook(interface, point)), byref(options)), "attach to tc")


def detach_tc(interface: int, *, handle: int, priority: int, point: int = TC_INGRESS) -> None:
    """Take a program off ingress or egress; nothing happens when there is none."""
    options = _TcOptions(sz=ctypes.sizeof(_TcOptions), handle=handle, priority=priority)
    result = _lib().bpf_tc_detach(byref(_hook(interface, point)), byref(options))
    if result not in (-2, -22):
        _check(result, "detach from tc")


def attached_tc(interface: int, *, handle: int, priority: int, point: int = TC_INGRESS) -> int:
    """The number of the program on ingress or egress with this handle and priority, 0 for none."""
    options = _TcOptions(sz=ctypes.sizeof(_TcOptions), handle=handle, priority=priority)
    result = _lib().bpf_tc_query(byref(_hook(interface, point)), byref(options))
    return 0 if result < 0 else int(options.prog_id)


def attach_xdp(interface: int, program: int, *, instead_of: int | None = None) -> None:
    """Put a program on an interface's driver hook; `instead_of` (a descriptor) is replaced atomically."""
    if instead_of is None:
        result = _lib().bpf_xdp_attach(interface, program, XDP_DRIVER_MODE | 1, None)  # 1: only if there is none
    else:
        options = _XdpOptions(sz=ctypes.sizeof(_XdpOptions), old_prog_fd=instead_of)
        result = _lib().bpf_xdp_attach(interface, program, XDP_DRIVER_MODE | XDP_REPLACE, byref(options))
    _check(result, "attach to XDP")


def detach_xdp(interface: int) -> None:
    """Take the XDP program off the driver hook."""
    _check(_lib().bpf_xdp_detach(interface, XDP_DRIVER_MODE, None), "detach from XDP")


def attached_xdp(interface: int) -> int:
    """The number of the XDP program on the driver hook, 0 for none."""
    number = c_uint32()
    result = _lib().bpf_xdp_query_id(interface, XDP_DRIVER_MODE, byref(number))
    return 0 if result < 0 else number.value


def program_fd_by_id(number: int) -> int:
    """A descriptor of a loaded program; raises `FileNotFoundError`."""
    return _check(_lib().bpf_prog_get_fd_by_id(number), f"open program {number}")


def _map_numbers(program: int) -> list[int]:
    """The numbers of the maps that a program (by descriptor) works on."""
    numbers = (c_uint32 * 64)()
    info = _ProgramInfo()
    info.map_count, info.map_ids = len(numbers), ctypes.addressof(numbers)
    _check(_lib().bpf_obj_get_info_by_fd(program, byref(info), byref(c_uint32(64))), "ask about a program")
    return numbers[: info.map_count]


def uses_map(program: int, map_id: int) -> bool:
    """Whether the program with this number works on the map with that one."""
    fd = program_fd_by_id(program)
    try:
        return map_id in _map_numbers(fd)
    finally:
        os.close(fd)


def program_maps(fd: int) -> dict[str, int]:
    """Descriptors of the maps that a loaded program uses, by their names (of which the kernel keeps 15 characters)."""
    found = {}
    for number in _map_numbers(fd):
        map_fd = _check(_lib().bpf_map_get_fd_by_id(number), f"open map {number}")
        found[map_info(map_fd).name.decode()] = map_fd
    return found
