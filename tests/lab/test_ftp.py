"""Passive FTP through NAT and DR with a real vsftpd, set up as the tutorials say: its ports in a range, `pasv_address`
for NAT, and one persistent service for port 21.
"""

from __future__ import annotations

import ftplib
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylvs.lab import namespace, node
from pylvs.lab.server import pattern
from pylvs.lab.topology import Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import SECONDS, ipvsadm
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
CONFIGURATION = """
listen=YES
listen_ipv6=NO
background=NO
seccomp_sandbox=NO
anonymous_enable=YES
no_anon_password=YES
local_enable=NO
write_enable=YES
anon_upload_enable=YES
anon_umask=022
anon_root={root}
secure_chroot_dir={empty}
ftpd_banner={name}
pasv_min_port=10000
pasv_max_port=20000
"""
METHODS = {"nat": "-m", "dr": "-g"}
FILE = b"".join(pattern(3_000_000))


def start(lab: LabUnderTest, name: str, home: Path) -> subprocess.Popen[bytes]:
    """A real server's vsftpd; it ends with its lab."""
    root, empty, settings = home / "root", home / "empty", home / "vsftpd.conf"
    for directory in (home, root, empty):
        directory.mkdir(mode=0o755)
    (root / "incoming").mkdir()
    (root / "incoming").chmod(0o777)
    (root / "file").write_bytes(FILE)
    words = CONFIGURATION.format(root=root, empty=empty, name=name)
    if lab.topology.lab.method is ForwardingMethod.NAT:
        words += f"pasv_address={lab.vip}\n"
    settings.write_text(words)
    program = node.which("vsftpd") or "vsftpd is missing: script/setup vsftpd"
    with namespace.inside(lab.namespace(name)):
        return subprocess.Popen([program, str(settings)], stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module", params=METHODS)
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabUnderTest]:
    home = tmp_path_factory.mktemp("ftp")
    for directory in (home, *list(home.parents)[:2]):
        directory.chmod(0o755)  # vsftpd's own user has to get there
    built = LabUnderTest(Lab(f"ftp-{os.getpid()}", ForwardingMethod(request.param)))
    daemons = [start(built, server.name, home / server.name) for server in built.topology.servers]
    ipvsadm(built, f"-A -t {built.vip}:21 -s rr -p 300")
    for rip in built.rips:
        ipvsadm(built, f"-a -t {built.vip}:21 -r {rip}:21 {METHODS[request.param]}")
    yield built
    built.down()
    for daemon in daemons:
        daemon.wait(SECONDS)


class Client(ftplib.FTP):  # in a network of our own: who could listen?
    """One that believes what the server says of its address."""

    trust_server_pasv_ipv4_address = True


def session(lab: LabUnderTest, host: str) -> ftplib.FTP:
    """To be used inside the client's namespace: each transfer opens a connection."""
    ftp = Client(timeout=SECONDS)
    for attempt in range(50):
        try:
            ftp.connect(host, 21)
            break
        except ConnectionRefusedError:  # it has only just been started
            if attempt == 49:
                raise
            lab.exec("client", "sleep", "0.1")
    ftp.login()
    return ftp


def fetched(ftp: ftplib.FTP, path: str) -> bytes:
    content = io.BytesIO()
    ftp.retrbinary(f"RETR {path}", content.write)
    return content.getvalue()


def test_every_real_server_can_be_reached_without_the_director(up: LabUnderTest) -> None:
    """And is as it should be: what fails below, fails in the director."""
    with namespace.inside(up.namespace("client")):
        for rip, name in zip(up.rips, ("rs1", "rs2"), strict=True):
            with session(up, rip) as ftp:
                assert name in ftp.getwelcome()
                announced = up.vip if up.topology.lab.method is ForwardingMethod.NAT else rip
                assert ftp.makepasv()[0] == announced


def test_a_file_comes_and_goes_and_comes_back(up: LabUnderTest) -> None:
    """Control and data connections of one client meet the same real server, whichever ports they have."""
    with namespace.inside(up.namespace("client")), session(up, up.vip) as ftp:
        first = ftp.getwelcome()
        for number in range(3):
            assert fetched(ftp, "file") == FILE
            ftp.storbinary(f"STOR incoming/{number}", io.BytesIO(FILE))
            assert ftp.size(f"incoming/{number}") == len(FILE)
        assert set(ftp.nlst("incoming")) == {"incoming/0", "incoming/1", "incoming/2"}
        with session(up, up.vip) as again:
            assert again.getwelcome() == first


def test_the_listing_shows_the_template_and_its_connections(up: LabUnderTest) -> None:
    with namespace.inside(up.namespace("client")), session(up, up.vip) as ftp:
        assert fetched(ftp, "file") == FILE
        lines = [line.split() for line in ipvsadm(up, "-Lnc").splitlines()[2:]]
    templates = [words for words in lines if words[3].endswith(":0")]
    assert [(words[2], words[4], words[5].rpartition(":")[2]) for words in templates] == [
        ("ASSURED", f"{up.vip}:0", "0")
    ]
    data = [words for words in lines if int(words[4].rpartition(":")[2]) in range(10000, 20001)]
    assert data
    assert len({words[5].rpartition(":")[0] for words in lines}) == 1, "all at one real server"
