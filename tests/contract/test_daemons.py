"""The contract about connection sync daemons: what any director lists and refuses, as the kernel's IPVS does."""

from __future__ import annotations

import pytest

from pylvs.director.port import Director
from pylvs.errors import DaemonRuns, InvalidOperation, NoDaemon, NoSuchDevice
from pylvs.model import ForwardingMethod, RealServer, SyncDaemon, SyncRole, VirtualService, parse_address
from tests.contract.test_director import VIP, endpoint

pytestmark = pytest.mark.root

MASTER, BACKUP = SyncDaemon(SyncRole.MASTER, sync_id=7), SyncDaemon(SyncRole.BACKUP, sync_id=8)
OF_THE_OTHER_FAMILY = RealServer(endpoint("fd00::11", 80), ForwardingMethod.TUN)


def test_the_master_is_listed_before_the_backup(director: Director) -> None:
    director.start_daemon(BACKUP)
    director.start_daemon(MASTER)
    assert list(director.daemons()) == [MASTER.replace(maxlen=1472), BACKUP.replace(maxlen=1472)]
    director.stop_daemon(SyncRole.MASTER)
    assert list(director.daemons()) == [BACKUP.replace(maxlen=1472)]


def test_a_role_has_one_daemon(director: Director) -> None:
    director.start_daemon(MASTER)
    with pytest.raises(DaemonRuns):
        director.start_daemon(MASTER.replace(sync_id=9))
    assert list(director.daemons()) == [MASTER.replace(maxlen=1472)]


def test_what_does_not_run_can_not_be_stopped(director: Director) -> None:
    with pytest.raises(NoDaemon):
        director.stop_daemon(SyncRole.BACKUP)


def test_an_interface_that_is_not_there_is_refused_first(director: Director) -> None:
    director.start_daemon(MASTER)
    with pytest.raises(NoSuchDevice):
        director.start_daemon(MASTER.replace(interface="nosuch"))


def test_flushing_the_services_does_not_stop_a_daemon(director: Director) -> None:
    director.start_daemon(MASTER)
    director.flush()
    assert director.daemons()


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        (MASTER.replace(maxlen=10), 10),
        (BACKUP.replace(maxlen=10), 1024),
        (MASTER.replace(maxlen=65507, group=parse_address("ff05::81")), 65487),
        (BACKUP.replace(group=parse_address("ff05::81")), 1452),
    ],
)
def test_messages_have_the_length_that_the_kernel_gives_them(director: Director, asked: SyncDaemon, has: int) -> None:
    director.start_daemon(asked)
    assert [daemon.maxlen for daemon in director.daemons()] == [has]


def test_no_server_of_another_family_while_a_daemon_runs(director: Director) -> None:
    director.add_service(VirtualService(VIP, "rr"))
    director.start_daemon(BACKUP)
    with pytest.raises(InvalidOperation):
        director.add_server(VIP, OF_THE_OTHER_FAMILY)
    director.stop_daemon(SyncRole.BACKUP)
    director.add_server(VIP, OF_THE_OTHER_FAMILY)
    with pytest.raises(InvalidOperation):
        director.start_daemon(BACKUP)
