"""A real server of LVS-DR or LVS-TUN: brought up, taken down exactly, and looked at.

The order is such that this host is silent about a VIP before it has it: first the ARP settings, then the VIPs, then
the programs; and backwards when it goes down.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pylvs.director.ebpf import bpffs
from pylvs.director.ebpf.lock import Lock
from pylvs.errors import NotPermitted, PylvsError
from pylvs.host import address, sysctl
from pylvs.host.change import Change
from pylvs.host.journal import Journal, files_of
from pylvs.role import program
from pylvs.role.asked import Asked, from_fields
from pylvs.role.plan import Plan, interface_names, plan
from pylvs.role.state import State, Status

_ROLE = "realserver"
_KINDS = {
    "setting": sysctl.Setting,
    "loopback": address.LoopbackUp,
    "address": address.LoopbackAddress,
    "qdisc": program.Qdisc,
    "attachment": program.Attachment,
}


def _need_root(doing: str) -> None:
    if os.geteuid():
        raise NotPermitted(f"{doing} needs root", hint="run it with sudo")


def _path(cookie: int) -> Path:
    return Path(bpffs.RUN, f"{_ROLE}-{cookie}.json")


def _journal() -> Journal:
    return Journal(_path(bpffs.netns_cookie()), _KINDS)


@contextmanager
def _changing() -> Iterator[Journal]:
    """One process at a time; its lock goes with the last change."""
    cookie = bpffs.netns_cookie()
    lock = Lock(cookie, _ROLE)
    try:
        yield _journal()
    finally:
        if not _path(cookie).exists():
            Path(bpffs.lock_path(cookie, _ROLE)).unlink(missing_ok=True)
        lock.release()


def up(asked: Asked) -> None:
    """Make this host that real server. When it fails, all that it did is undone; what was up before stays."""
    _need_root("bringing a real server up")
    with _changing() as journal:
        _remove_orphans()
        asked = asked.replace(interfaces=interface_names(asked.interfaces))
        wanted = plan(asked)
        existed, was_whole, before = journal.exists, journal.whole, list(journal.changes)
        journal.whole = False
        try:
            _make(journal, wanted)
        except BaseException:
            _undo(journal, [one for one in journal.changes if one not in before])
            journal.whole = was_whole
            journal.write() if existed else journal.remove()
            raise
        _undo(journal, [one for one in before if not wanted.has(one)])
        journal.asked, journal.whole = asked.as_fields(), True
        journal.write()


def _make(journal: Journal, wanted: Plan) -> None:
    programs = program.Programs(wanted.settings, wanted.roles) if wanted.settings else None
    try:
        for change in wanted.changes:
            if isinstance(change, program.Attachment) and programs:
                _note(journal, change)
                programs.attach(change.index)
            elif not change.holds:
                _note(journal, change)
                change.apply()
    finally:
        if programs:
            programs.close()


def _note(journal: Journal, change: Change) -> None:
    if journal.find(change) is None:
        journal.record(change)


def _undo(journal: Journal, changes: list[Change]) -> None:
    for change in reversed(changes):
        change.undo()
        journal.forget(change)


def _remove_orphans() -> None:
    """Journals of network namespaces that are gone, and all that was changed with them."""
    others = {cookie for cookie, _ in files_of(Path(bpffs.RUN), _ROLE)} - {bpffs.netns_cookie()}
    forget(others - bpffs.live_cookies() if others else set())


def forget(cookies: Collection[int]) -> None:
    """Remove what is written down of network namespaces that are gone."""
    for cookie, path in list(files_of(Path(bpffs.RUN), _ROLE)):
        if cookie in cookies:
            path.unlink(missing_ok=True)


def down() -> None:
    """Put back all that was there before; nothing happens when it is down."""
    _need_root("taking a real server down")
    with _changing() as journal:
        if journal.exists:
            journal.whole = False
            _undo(journal, list(journal.changes))
            journal.remove()
        for index, _ in socket.if_nameindex():
            program.detach(index)  # of one whose journal was lost


def status() -> Status:
    """What is, by what the machine says."""
    _need_root("looking at a real server")
    journal = _journal()
    counters = program.counters()
    if not journal.exists:
        left = ["programs are attached, but nothing is known of their `up`; take them down"] if counters else []
        return Status(State.DEGRADED if left else State.STOPPED, None, tuple(left), counters, None)
    asked = from_fields(journal.asked) if journal.asked else None
    problems: tuple[str, ...] = () if journal.whole else ("`up` or `down` was cut short: do it again",)
    problems += _problems(asked) if asked else ()
    return Status(State.DEGRADED if problems else State.RUNNING, asked, problems, counters, _mss())


def _mss() -> tuple[int, int] | None:
    found = program.settings()
    return (found.mss_ipv4, found.mss_ipv6) if found else None


def _problems(asked: Asked) -> tuple[str, ...]:
    try:
        wanted = plan(asked)
    except PylvsError as error:
        return (str(error),)
    found = [change.problem for change in wanted.changes if not change.holds]
    if wanted.settings and not found:
        found += _stale(wanted)
    return tuple(found)


def _stale(wanted: Plan) -> list[str]:
    again = "do `up` again"
    found = [
        f"the programs do not know {one}: {again}" for one, role in wanted.roles.items() if not program.knows(one, role)
    ]
    if wanted.settings and bytes(wanted.settings) != bytes(program.settings() or b""):
        found.append(f"the MTU has changed: {again}")
    return found
