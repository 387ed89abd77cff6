"""Which interfaces the data plane sits on, and putting it there: tc everywhere, XDP before it where that is right.

What is attached is asked of the kernel, never remembered; the `interfaces` map only tells the XDP program what it may
trust.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

from pylvs.director.ebpf import abi, libbpf
from pylvs.director.ebpf.table import word
from pylvs.errors import DataPlaneError, NotSupportedHere, UsageError
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pylvs.director.ebpf.table import Table

HOOKS = ("auto", "tc", "xdp")
TC_HANDLE, TC_PRIORITY = 0x1, 0x10
BESIDE_PRIORITY = TC_PRIORITY + 1
"""Of programs that don't make an interface one that the director is attached to."""
_SIOCGIFHWADDR, _SIOCGIFFLAGS, _SIOCETHTOOL = 0x8927, 0x8913, 0x8946
_ETHTOOL_GDRVINFO, _ETHTOOL_GFLAGS, _RX_VLAN = 0x3, 0x25, 1 << 8
_ETHERNET = 1
_UP, _LOOPBACK = 0x1, 0x8
_LINK_SCOPE = 253
_LEAVE_CHECKSUMS_UNDONE = ("veth", "virtio_net", "tun", "vif", "bridge", "dummy", "bonding", "802.1Q VLAN Support")
"""Drivers whose frames may have a checksum left to hardware that isn't there: tc keeps those right, XDP can't."""


class Interface(Value):
    """An interface that frames come in by; `mac` is six bytes."""

    index: int
    name: str
    mac: bytes


class Attachment(Value):
    """An interface and the hooks that the data plane has on it."""

    interface: Interface
    tc: bool
    xdp: bool


def _ask(request: int, name: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        return fcntl.ioctl(control.fileno(), request, struct.pack("16s24x", os.fsencode(name)))[16:]


def interface_named(name: str) -> Interface:
    """Raises `UsageError` for an interface that isn't there, or isn't Ethernet."""
    try:
        hardware = _ask(_SIOCGIFHWADDR, name)
        index = socket.if_nametoindex(name)
    except OSError as error:
        known = ", ".join(name for _, name in socket.if_nameindex())
        raise UsageError(f"interface {name!r} does not exist", hint=f"there are: {known}") from error
    if int.from_bytes(hardware[:2], "little") != _ETHERNET:
        raise UsageError(
            f"interface {name} is not Ethernet", hint="attach to the Ethernet interface that clients reach"
        )
    return Interface(index, name, hardware[2:8])


def _is_up(name: str) -> bool:
    flags = int.from_bytes(_ask(_SIOCGIFFLAGS, name)[:2], "little")
    return bool(flags & _UP) and not flags & _LOOPBACK


def candidates() -> list[Interface]:
    """Every interface through which packets enter this namespace's IP stack: Ethernet, up, with an address.

    Not one that IPv6 gave it by itself: such have a bridge's ports as well.
    """
    from pyroute2 import IPRoute

    with IPRoute() as route:
        addressed = {
            message["index"]
            for message in route.get_addr()
            if message["family"] == socket.AF_INET or message["scope"] != _LINK_SCOPE
        }
    found = []
    for index, name in socket.if_nameindex():
        if index not in addressed or not _is_up(name):
            continue
        try:
            found.append(interface_named(name))
        except UsageError:
            continue
    return found


class _DriverInfo(ctypes.Structure):
    """The start of `struct ethtool_drvinfo`."""

    _fields_ = (("command", ctypes.c_uint32), ("driver", ctypes.c_char * 32), ("rest", ctypes.c_char * 160))


def _driver(name: str) -> str:
    """As `ethtool -i` says: /sys may show another namespace's interfaces. Empty where the driver doesn't say."""
    info = _DriverInfo(command=_ETHTOOL_GDRVINFO)
    request = struct.pack("16sQ16x", os.fsencode(name), ctypes.addressof(info))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control.fileno(), _SIOCETHTOOL, request)
        except OSError:
            return ""
    driver: bytes = info.driver
    return driver.decode()


def _strips_vlan_tags(name: str) -> bool:
    """XDP would take another VLAN's frames for its own when the NIC has moved the tag out of them; tc sees the tag."""
    value = (ctypes.c_uint32 * 2)(_ETHTOOL_GFLAGS, 0)
    request = struct.pack("16sQ16x", os.fsencode(name), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control.fileno(), _SIOCETHTOOL, request)
        except OSError:
            return False
    return bool(value[1] & _RX_VLAN)


def _wants_xdp(interface: Interface, hook: str) -> bool:
    if hook != "auto":
        return hook == "xdp"
    driver = _driver(interface.name)
    return bool(driver) and driver not in _LEAVE_CHECKSUMS_UNDONE and not _strips_vlan_tags(interface.name)


def attach(table: Table, interfaces: Iterable[Interface], hook: str = "auto") -> None:
    """Attach to each of them; `hook` is one of HOOKS. With `auto` an interface that can't do XDP has tc alone."""
    for interface in interfaces:
        made_clsact = libbpf.create_ingress(interface.index) or _entry(table, interface.index).made_clsact
        libbpf.attach_tc(interface.index, table.fd("director_tc"), handle=TC_HANDLE, priority=TC_PRIORITY)
        xdp = _wants_xdp(interface, hook) and _attach_xdp(table, interface, required=hook == "xdp")
        sending = _sending(interface) if xdp else abi.XdpSending.NOT
        _tell(table, interface, sending, made_clsact=bool(made_clsact))


def _attach_xdp(table: Table, interface: Interface, *, required: bool) -> bool:
    if _attached_xdp(table, interface):
        return True
    try:
        libbpf.attach_xdp(interface.index, table.fd("director_xdp"))
    except OSError as error:
        if not required:
            return False
        if error.errno in {16, 17}:
            raise DataPlaneError(
                f"{interface.name} has another XDP program",
                hint=f"take it off (ip link set dev {interface.name} xdp off), or use --hook tc",
            ) from error
        raise NotSupportedHere(
            f"{interface.name} can't run XDP in its driver: {error.strerror}", hint="use --hook tc"
        ) from error
    return True


def _sending(interface: Interface) -> abi.XdpSending:
    return abi.XdpSending.BY_REDIRECT if _driver(interface.name) == "veth" else abi.XdpSending.DIRECT


def _entry(table: Table, index: int) -> abi.Interface:
    """What the map holds of an interface; zeros where it holds nothing, or another one."""
    raw = libbpf.lookup(table.fd("interfaces"), word(index % abi.INTERFACES), ctypes.sizeof(abi.Interface))
    entry = abi.Interface.from_buffer_copy(raw) if raw else abi.Interface()
    return entry if entry.index == index else abi.Interface()


def _tell(table: Table, interface: Interface, sending: abi.XdpSending, *, made_clsact: bool) -> None:
    entry = abi.Interface(index=interface.index, xdp_sending=sending, made_clsact=made_clsact)
    entry.mac[:] = list(interface.mac)
    libbpf.update(table.fd("interfaces"), word(interface.index % abi.INTERFACES), bytes(entry))


def _attached_xdp(table: Table, interface: Interface) -> bool:
    return is_of(table, libbpf.attached_xdp(interface.index))


def filter_on(index: int) -> int:
    """The number of the program on tc ingress where ours would be, 0 for none."""
    return libbpf.attached_tc(index, handle=TC_HANDLE, priority=TC_PRIORITY)


def is_of(table: Table, number: int) -> bool:
    """Whether a program works on this table, whichever version of pylvs it came from."""
    return bool(number) and libbpf.uses_map(number, libbpf.map_info(table.fd("connections")).id)


def _attached_tc(table: Table, interface: Interface) -> bool:
    return is_of(table, filter_on(interface.index))


def attachments(table: Table) -> list[Attachment]:
    """Where the data plane is, by what the kernel says."""
    found = []
    for _, name in socket.if_nameindex():
        try:
            interface = interface_named(name)
        except UsageError:
            continue
        attachment = Attachment(interface, _attached_tc(table, interface), _attached_xdp(table, interface))
        if attachment.tc or attachment.xdp:
            found.append(attachment)
    return found


def detach(table: Table, attached: Sequence[Attachment], *, whole: bool = False) -> None:
    """Take the data plane off interfaces: for good, or (`whole`) because it goes altogether.

    A clsact qdisc that came with it goes, too, unless others use it by now.
    """
    for attachment in attached:
        index = attachment.interface.index
        if attachment.xdp:
            libbpf.detach_xdp(index)
        if attachment.tc:
            libbpf.detach_tc(index, handle=TC_HANDLE, priority=TC_PRIORITY)
            detach_answers(index)
            if _entry(table, index).made_clsact and not has_filters(index):
                libbpf.destroy_ingress(index)
        known = abi.Interface() if whole else abi.Interface(index=index)
        libbpf.update(table.fd("interfaces"), word(index % abi.INTERFACES), bytes(known))


def detach_answers(index: int) -> None:
    """Take the program off that sees to the answers of real servers on the director itself."""
    libbpf.detach_tc(index, handle=TC_HANDLE, priority=BESIDE_PRIORITY, point=libbpf.TC_EGRESS)


def has_filters(index: int) -> bool:
    """Whether anything hangs on the clsact qdisc of an interface, in or out."""
    from pyroute2 import IPRoute

    with IPRoute() as route:
        return any(list(route.get_filters(index=index, parent=parent)) for parent in (0xFFFFFFF2, 0xFFFFFFF3))


def replace(table: Table, attached: Sequence[Attachment]) -> None:
    """Swap the programs on interfaces for the table's."""
    for attachment in attached:
        index = attachment.interface.index
        if attachment.tc:
            libbpf.attach_tc(index, table.fd("director_tc"), handle=TC_HANDLE, priority=TC_PRIORITY)
        if attachment.xdp:
            old = libbpf.program_fd_by_id(libbpf.attached_xdp(index))
            libbpf.attach_xdp(index, table.fd("director_xdp"), instead_of=old)
            os.close(old)


def take_over_xdp(table: Table, interface: Interface, number: int) -> None:
    """Put the table's XDP program in place of the one with this number."""
    old = libbpf.program_fd_by_id(number)
    try:
        libbpf.attach_xdp(interface.index, table.fd("director_xdp"), instead_of=old)
    finally:
        os.close(old)
    _tell(table, interface, _sending(interface), made_clsact=bool(_entry(table, interface.index).made_clsact))


def attach_missing(table: Table, hook: str = "auto") -> bool:
    """Attach to the interfaces that came since the last time. Cheap when there are none, which is False."""
    found = False
    for index, name in socket.if_nameindex():
        if not _entry(table, index).index and _is_up(name):
            missing = [one for one in candidates() if one.index == index]
            attach(table, missing, hook)
            found = found or bool(missing)
    return found
