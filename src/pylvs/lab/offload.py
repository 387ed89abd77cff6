"""Switching an interface's offloads, as `ethtool -K` does."""

from __future__ import annotations

import array
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_SET = {"tx-checksum": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}


def switch(interface: str, offload: str, on: bool) -> None:
    """In the caller's network namespace. Raises `OSError`."""
    value = array.array("B", struct.pack("=II", _SET[offload], on))
    request = struct.pack("16sQ16x", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
