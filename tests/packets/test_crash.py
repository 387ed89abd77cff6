"""A command killed at its worst moment: what it leaves is mended by the next one, and packets never go astray."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pylvs.director.ebpf import bpffs
from pylvs.director.ebpf import director as director_module
from pylvs.director.ebpf.registry import Registry
from pylvs.model import VirtualService
from tests.packets.plane import SENT, Plane, service
from tests.packets.space import fresh_namespace
from tests.packets.wire import CIP, RIP1, RIP2, RIP3, VIP, tcp, word

pytestmark = pytest.mark.root

WEB = f"tcp {VIP}:80"


class Killed(BaseException):
    """Stands for SIGKILL: nothing below may catch it."""


def killed(*_: object, **__: object) -> None:
    raise Killed


def sees(plane: Plane, port: int, flags: str = "S") -> str:
    return plane.tc(tcp(word(CIP), port, word(VIP), 80, flags)).verdict


def again(plane: Plane) -> None:
    """The next command reads the maps anew."""
    plane.director._slots = None


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "wlc"])
@pytest.mark.parametrize("change", ["add", "edit", "delete"])
def test_killed_before_the_ring_was_swapped(
    change: str, scheduler: str, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.serve(WEB, f"{RIP1}:80", f"{RIP2}:80 3", scheduler=scheduler)
    for port in range(1024, 1029):
        assert sees(plane, port) == SENT
    changes: dict[str, Callable[[], None]] = {
        "add": lambda: plane.add(WEB, f"{RIP3}:80"),
        "edit": lambda: plane.edit(WEB, f"{RIP2}:80 0"),
        "delete": lambda: plane.delete(WEB, f"{RIP2}:80"),
    }
    with monkeypatch.context() as patched:
        patched.setattr(director_module, "swap_rings", killed)
        with pytest.raises(Killed):
            changes[change]()
    again(plane)
    for port in range(2024, 2030):
        assert sees(plane, port) == SENT
        assert sees(plane, port, "A") == SENT
    plane.edit(WEB, f"{RIP1}:80 2")
    if change != "add":
        plane.add(WEB, f"{RIP3}:80")
    assert sees(plane, 3024) == SENT


def test_killed_while_the_scheduler_was_changed(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.serve(WEB, f"{RIP1}:80", scheduler="wlc")
    with monkeypatch.context() as patched:
        patched.setattr(director_module, "swap_rings", killed)
        with pytest.raises(Killed):
            plane.director.edit_service(VirtualService(service(WEB), "rr"))
    again(plane)
    assert plane.director.service(service(WEB)).service.scheduler == "wlc"
    plane.director.edit_service(VirtualService(service(WEB), "rr"))
    number = Registry(plane.table).services[service(WEB)]
    assert plane.table.services[number].selection == 0


def test_a_namespace_that_no_process_began_in_keeps_its_director() -> None:
    """This thread alone lives in it."""
    with fresh_namespace():
        assert bpffs.netns_cookie() in bpffs.live_cookies()


def test_a_slot_freed_just_now_is_waited_for(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.serve(WEB, *(f"192.168.0.{n}:80" for n in range(1, plane.capacity.servers + 1)))
    plane.delete(WEB, "192.168.0.7:80")
    plane.settings.clock_stopped = 0
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        plane.settings.now += 8

    monkeypatch.setattr(time, "sleep", sleep)
    plane.add(WEB, f"{RIP3}:80")
    assert waited


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "wlc"])
def test_what_is_restored_at_once_is_what_comes_one_by_one(scheduler: str, plane: Plane) -> None:
    def change() -> None:
        plane.serve(WEB, f"{RIP1}:80", f"{RIP2}:80 3", f"{RIP3}:80 2", scheduler=scheduler)
        plane.edit(WEB, f"{RIP1}:80 4")
        plane.delete(WEB, f"{RIP2}:80")
        plane.add(WEB, f"{RIP2}:80 2")

    def chosen() -> list[str]:
        for port in range(1024, 1044):
            assert sees(plane, port) == SENT
        return [str(one.server.address) for one in sorted(plane.connections(), key=lambda one: one.client.port)]

    change()
    one_by_one = chosen()
    plane.reset()
    plane.director.begin()
    change()
    plane.director.commit()
    assert chosen() == one_by_one


def test_killed_in_the_middle_of_a_restore(plane: Plane) -> None:
    """A new service in a former one's slot never takes the former one's servers."""
    plane.serve(WEB, f"{RIP1}:80")
    plane.director.flush()
    plane.serve(f"tcp {VIP}:85", f"{RIP1}:80")
    plane.director.delete_service(service(f"tcp {VIP}:85"))
    plane.director.begin()
    plane.serve(WEB, f"{RIP2}:80")
    plane.director._waiting = None
    again(plane)
    assert sees(plane, 5000) == "no_server"
    plane.edit(WEB, f"{RIP2}:80 2")
    assert sees(plane, 5000) == SENT
