"""The real server's programs on its interfaces. Nothing is pinned: they and their maps live while they are attached."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pylvs.director.ebpf import attach, libbpf, load
from pylvs.director.ebpf.convert import pack_address
from pylvs.director.ebpf.table import word
from pylvs.errors import DataPlaneError
from pylvs.model import IPAddress
from pylvs.model.value import Value
from pylvs.role import abi

_HANDLE, _PRIORITY = 0x1, 0xF
"""Before a director's: that one is not to schedule again what a tunnel brought to this host."""
_POINTS = {libbpf.TC_INGRESS: "realserver_in", libbpf.TC_EGRESS: "realserver_out"}
_MAPS = {"rs_settings", "rs_addresses"}


class Programs:
    """Loaded, with all that they need to know, and not attached yet; a program that is attached keeps itself alive."""

    def __init__(self, settings: abi.RealserverSettings, roles: Mapping[IPAddress, int]) -> None:
        if len(roles) > abi.REALSERVER_ADDRESSES:
            raise DataPlaneError(
                f"{len(roles)} addresses are more than the {abi.REALSERVER_ADDRESSES} there is room for"
            )
        opened = libbpf.Object(load.object_path("realserver"))
        try:
            _keep_counters(opened)
            load.verify(opened)
            self._fds = {point: opened.program_fd(name) for point, name in _POINTS.items()}
            _fill(opened, settings, roles)
        finally:
            opened.close()

    def fd(self, point: int) -> int:
        """Of libbpf.TC_INGRESS or TC_EGRESS."""
        return self._fds[point]

    def attach(self, index: int) -> None:
        """In place of those that are there."""
        for point, fd in self._fds.items():
            libbpf.attach_tc(index, fd, handle=_HANDLE, priority=_PRIORITY, point=point)

    def close(self) -> None:
        """What is attached stays."""
        for fd in self._fds.values():
            os.close(fd)


def _fill(opened: libbpf.Object, settings: abi.RealserverSettings, roles: Mapping[IPAddress, int]) -> None:
    fds = [opened.map_fd(name) for name in ("rs_settings", "rs_addresses")]
    try:
        libbpf.update(fds[0], word(0), bytes(settings))
        for address, role in roles.items():
            libbpf.update(fds[1], pack_address(address), word(role))
    finally:
        for fd in fds:
            os.close(fd)


def _keep_counters(opened: libbpf.Object) -> None:
    """What was counted so far, if the running programs count the same things."""
    with maps() as running:
        fd = running.get("rs_counters")
        if fd is not None and libbpf.map_info(fd).max_entries == abi.RealserverCounter.REALSERVER_COUNTERS:
            opened.reuse("rs_counters", fd)


@contextmanager
def maps() -> Iterator[Mapping[str, int]]:
    """Descriptors of the running programs' maps, by name; empty where none runs."""
    numbers = (_attached(index, point) for index, _ in socket.if_nameindex() for point in _POINTS)
    found: dict[str, int] = next((opened for number in numbers if (opened := _maps_of(number))), {})
    try:
        yield found
    finally:
        for fd in found.values():
            os.close(fd)


def _attached(index: int, point: int) -> int:
    return libbpf.attached_tc(index, handle=_HANDLE, priority=_PRIORITY, point=point)


def _maps_of(number: int) -> dict[str, int]:
    """Empty when it is no program of ours."""
    if not number:
        return {}
    fd = libbpf.program_fd_by_id(number)
    try:
        found = libbpf.program_maps(fd)
    finally:
        os.close(fd)
    if found.keys() >= _MAPS:
        return found
    for one in found.values():
        os.close(one)
    return {}


def _is_ours(number: int) -> bool:
    found = _maps_of(number)
    for fd in found.values():
        os.close(fd)
    return bool(found)


def running(index: int) -> bool:
    """Whether both programs are on an interface."""
    return all(_is_ours(_attached(index, point)) for point in _POINTS)


def detach(index: int) -> None:
    """Take our programs off an interface, whichever are there."""
    for point in _POINTS:
        if _is_ours(_attached(index, point)):
            libbpf.detach_tc(index, handle=_HANDLE, priority=_PRIORITY, point=point)


def settings() -> abi.RealserverSettings | None:
    """What the running programs are set to; None where none runs."""
    with maps() as found:
        size = ctypes.sizeof(abi.RealserverSettings)
        if not found or libbpf.map_info(found["rs_settings"]).value_size != size:
            return None
        return abi.RealserverSettings.from_buffer_copy(
            libbpf.lookup(found["rs_settings"], word(0), size) or bytes(size)
        )


def knows(address: IPAddress, role: int) -> bool:
    """Whether the running programs take an address for that."""
    with maps() as found:
        raw = libbpf.lookup(found["rs_addresses"], pack_address(address), 4) if found else None
    return bool(raw) and bool(int.from_bytes(raw or b"", "little") & role)


def counters() -> dict[str, int]:
    """By name; empty where no program runs."""
    names = list(abi.RealserverCounter)[:-1]
    cpus = libbpf.possible_cpus()
    with maps() as found:
        if not found:
            return {}
        raw = {name: libbpf.lookup(found["rs_counters"], word(name), 8 * cpus) or b"" for name in names}
    return {name.name.lower(): sum(memoryview(value).cast("Q")) for name, value in raw.items()}


class Qdisc(Value):
    """The clsact qdisc that programs hang on; it goes again unless others use it by then."""

    interface: str
    index: int

    @property
    def what(self) -> tuple[object, ...]:
        return (Qdisc, self.index)

    @property
    def holds(self) -> bool:
        from pyroute2 import IPRoute

        with IPRoute() as route:
            return any(one.get("TCA_KIND") == "clsact" for one in route.get_qdiscs(index=self.index))

    @property
    def problem(self) -> str:
        return f"{self.interface} has no clsact qdisc"

    def apply(self) -> None:
        libbpf.create_ingress(self.index)

    def undo(self) -> None:
        if _is_there(self.index) and not attach.has_filters(self.index):
            libbpf.destroy_ingress(self.index)


class Attachment(Value):
    """Our programs on an interface, in and out. `Programs.attach` is what applies it."""

    interface: str
    index: int

    @property
    def what(self) -> tuple[object, ...]:
        return (Attachment, self.index)

    @property
    def holds(self) -> bool:
        return running(self.index)

    @property
    def problem(self) -> str:
        return f"the programs are not on {self.interface}"

    def apply(self) -> None:
        raise NotImplementedError("only loaded programs can be attached")

    def undo(self) -> None:
        if _is_there(self.index):
            detach(self.index)


def _is_there(index: int) -> bool:
    return any(index == one for one, _ in socket.if_nameindex())
