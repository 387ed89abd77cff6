"""Programs of the director itself, as clients of its services and as real servers of NAT.

What they send to a VIP comes in by the loopback interface, so the data plane sits there, too. What answers them comes
from an address of the director's own, which the host takes there only if it is set so. What a real server on the
director answers leaves by an interface; the data plane looks at that only where there is such a server.
"""

from __future__ import annotations

from pylvs.director.ebpf import abi, attach, libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pylvs.director.ebpf.table import Table

_LOOPBACK = 1
"""The index of that interface, in every network namespace."""
_SETTINGS = {"accept_local": 1, "rp_filter": 2}
"""Of the loopback interface. Nothing but what the data plane hands over there is routed as it comes in."""
_CHANGED, _ANSWERING = abi.ForOwnPrograms.LOOPBACK_CHANGED, abi.ForOwnPrograms.SEES_ANSWERS


def attach_to(table: Table) -> None:
    """Put the data plane wherever the director's own programs need it. Where /proc/sys is read-only they go without."""
    if not table.settings.own_programs & _CHANGED:
        try:
            former = [_read(name) for name in _SETTINGS]
            table.settings.own_programs |= (
                int.from_bytes(former, "little") | _CHANGED
            )  # before it is done: it can be undone then
            for name, value in _SETTINGS.items():
                _write(name, value)
        except OSError:
            return
    libbpf.create_ingress(_LOOPBACK)
    libbpf.attach_tc(_LOOPBACK, table.fd("director_tc"), handle=attach.TC_HANDLE, priority=attach.BESIDE_PRIORITY)
    if table.settings.own_programs & _ANSWERING:
        answer(table)


def answer(table: Table) -> None:
    """A real server of NAT is the director itself: see to its answers on all interfaces."""
    table.settings.own_programs |= _ANSWERING
    for attachment in attach.attachments(table):
        libbpf.attach_tc(
            attachment.interface.index,
            table.fd("director_answers"),
            handle=attach.TC_HANDLE,
            priority=attach.BESIDE_PRIORITY,
            point=libbpf.TC_EGRESS,
        )


def stop_answering(table: Table) -> None:
    """Unless there still is such a server, or a connection of one that was deleted."""
    if any(map(_answers, _servers(table))):
        return
    for attachment in attach.attachments(table):
        attach.detach_answers(attachment.interface.index)
    table.settings.own_programs &= ~_ANSWERING


def _servers(table: Table) -> list[abi.Server]:
    return [table.servers[number] for number in range(table.settings.servers_used)]


def _answers(server: abi.Server) -> bool:
    there = server.phase == abi.ServerPhase.AVAILABLE or server.load
    return bool(there and server.local and server.method == abi.ForwardingMethod.NAT)


def detach(table: Table) -> None:
    """The loopback interface is as it was, but for what others have changed there since."""
    libbpf.detach_tc(_LOOPBACK, handle=attach.TC_HANDLE, priority=attach.BESIDE_PRIORITY)
    if not attach.has_filters(_LOOPBACK):
        libbpf.destroy_ingress(_LOOPBACK)
    if table.settings.own_programs & _CHANGED:
        former = table.settings.own_programs.to_bytes(4, "little")
        for (name, ours), value in zip(_SETTINGS.items(), former, strict=False):
            if _read(name) == ours:
                _write(name, value)
        table.settings.own_programs &= ~_CHANGED


def _path(name: str) -> str:
    return f"/proc/sys/net/ipv4/conf/lo/{name}"


def _read(name: str) -> int:
    with open(_path(name)) as file:
        return int(file.read())


def _write(name: str, value: int) -> None:
    with open(_path(name), "w") as file:
        file.write(str(value))
