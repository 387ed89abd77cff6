"""Where it is measured: a network and a bpffs that only this process sees, and that go with it however it ends."""

from __future__ import annotations

import ctypes
import os
import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from pylvs.director.ebpf import attach
from pylvs.errors import NotPermitted, NotSupportedHere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.model import IPAddress

PINS = Path("/sys/fs/bpf")
VIP = "192.168.0.250"
OWN = "192.168.0.208"
GATEWAY = "192.168.0.15"
GATEWAY_MAC = "02:00:00:0e:00:01"
CLIENTS = "10.0.0.0"
SERVERS = tuple(f"192.168.0.{last}" for last in range(16, 32))
"""The first of them is a multiple of 16, so that a server's number is the low bits of its address."""
LOCALS = tuple(f"192.168.0.{last}" for last in range(64, 95))
"""What FULLNAT puts in the place of clients: enough for a million connections."""
PREFIX = IPv6Address("2001:db8::")
"""In IPv6 every address is this and the one of IPv4."""

_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18


def address(ipv4: str, family: int) -> IPAddress:
    """An address of this network in the family 4 or 6."""
    return IPv4Address(ipv4) if family == 4 else PREFIX + int(IPv4Address(ipv4))


def server_mac(number: int) -> str:
    """The MAC of the numbered server."""
    return f"02:00:00:05:{number:02x}:00"


def _network() -> str:
    """One arm: clients come through a gateway, servers are next door, and all MACs are known."""
    neighbours = {GATEWAY: GATEWAY_MAC} | {address: server_mac(number) for number, address in enumerate(SERVERS)}
    return "\n".join(
        [
            "link set lo up",
            "link add eth0 type veth peer name wire",
            "link set wire up",
            "link set eth0 up",
            f"address add {OWN}/24 dev eth0",
            f"address add {VIP}/32 dev eth0",
            f"address add {address(OWN, 6)}/120 dev eth0 nodad",
            f"address add {address(VIP, 6)}/128 dev eth0 nodad",
            *(
                f"neigh add {address(known, family)} lladdr {mac} dev eth0 nud permanent"
                for known, mac in neighbours.items()
                for family in (4, 6)
            ),
            f"route add {CLIENTS}/8 via {GATEWAY}",
            f"route add {address(CLIENTS, 6)}/104 via {address(GATEWAY, 6)}",
        ]
    )


def enter() -> attach.Interface:
    """Move this process there; the director's one interface. Raises `NotPermitted` and `NotSupportedHere`."""
    if os.geteuid() != 0:
        raise NotPermitted("Permission denied (you must be root)")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET):
        raise NotPermitted(f"no namespaces of one's own: {os.strerror(ctypes.get_errno())}")
    if libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) or libc.mount(
        b"bpf", str(PINS).encode(), b"bpf", 0, b"mode=0700"
    ):
        raise NotSupportedHere(f"can't mount a bpffs on {PINS}: {os.strerror(ctypes.get_errno())}")
    try:
        subprocess.run(["ip", "-batch", "-"], input=_network(), text=True, capture_output=True, check=True)
    except FileNotFoundError:
        raise NotSupportedHere("the ip command is missing", hint="install iproute2: apt install iproute2") from None
    except subprocess.CalledProcessError as error:
        raise NotSupportedHere(f"can't build a network to measure in: {error.stderr.strip()}") from None
    for knob in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", knob).write_text("1")
    return attach.interface_named("eth0")


def settle(cpu: int) -> None:
    """Stay on one CPU and go first there, as other work only blurs what is measured."""
    os.sched_setaffinity(0, {cpu})
    os.setpriority(os.PRIO_PROCESS, 0, -20)
