"""Commands run in the guest as they would here."""

from __future__ import annotations

import pytest

from pylvs import __version__
from tests.guest.machine import Guest

pytestmark = pytest.mark.slow


def test_it_is_the_oldest_kernel_that_pylvs_supports(guest: Guest) -> None:
    assert guest.release.startswith("6.1.")
    assert guest.run(["uname", "-r"]).stdout == guest.release + "\n"


def test_a_command_gets_its_input_and_gives_back_both_outputs_and_its_status(guest: Guest) -> None:
    done = guest.run(["sh", "-c", "cat; echo problem >&2; exit 7"], stdin="für\n" * 50_000)
    assert (done.stdout, done.stderr, done.returncode) == ("für\n" * 50_000, "problem\n", 7)


def test_files_are_there_and_bytes_stay_what_they_are(guest: Guest) -> None:
    done = guest.run(["od", "-An", "-tx1", "/root/some/bytes"], files={"/root/some/bytes": b"\x00\xff\n\xc3"})
    assert done.stdout == " 00 ff 0a c3\n"


def test_a_command_that_is_not_there_or_takes_too_long_is_no_trouble_for_the_next(guest: Guest) -> None:
    assert guest.run(["no-such-command"]).returncode == 127
    assert guest.run(["sleep", "1000"], seconds=0.5).returncode == 124
    assert guest.run(["sh", "-c", "sleep 1000 & echo $PWD $WORD"], env={"WORD": "too"}).stdout == "/pylvs too\n"


def test_it_has_ipvs_and_this_pylvs(guest: Guest) -> None:
    assert guest.run(["ipvsadm", "-A", "-t", "192.0.2.80:80", "-s", "mh"]).returncode == 0
    assert "TCP  192.0.2.80:80 mh" in guest.run(["ipvsadm", "-Ln"]).stdout
    assert guest.run(["ipvsadm", "-C"]).returncode == 0
    assert __version__ in guest.run(["pylvs", "--version"]).stdout
