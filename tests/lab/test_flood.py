"""A flood of first packets from a million spoofed clients, into a table that is too small for them.

Not all of them get to the director: the cable to it loses some, as cables do in a flood.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from pylvs.lab import namespace, node
from pylvs.lab.topology import Hook, Lab
from pylvs.model import ForwardingMethod
from tests.lab.client import ask, connect, drops, fetch, ipvsadm
from tests.lab.conftest import LabUnderTest

pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it builds network namespaces"),
]
MATRIX = [(ForwardingMethod.NAT, Hook.XDP, "-m"), (ForwardingMethod.DR, Hook.TC, "-g")]
FLOODED = 81
SLOTS, SPOOFED = 262144, 1_000_000
SILENCE = f"""
add table ip silent
add chain ip silent in {{ type filter hook input priority 0; }}
add rule ip silent in tcp dport {FLOODED} drop
"""
FLOOD = """
import random, socket, struct, sys
vip, gateway, port, count = socket.inet_aton(sys.argv[1]), bytes.fromhex(sys.argv[2]), *map(int, sys.argv[3:])
sender = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
to = ("eth0", 0x0800, 0, 0, gateway)
header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes(4), vip)
syn = bytearray(header + struct.pack("!HHIIBBHHH", 0, port, 0, 0, 0x50, 0x02, 512, 0, 0))
fixed = sum(struct.unpack("!10H", syn[:20]))
for number in range(count):
    source = 0x0B000000 + random.getrandbits(26)
    total = fixed + (source >> 16) + (source & 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!HI", syn, 10, 0xFFFF - (total & 0xFFFF) - (total >> 16), source)
    struct.pack_into("!H", syn, 20, 1024 + number % 60000)
    sender.sendto(syn, to)
"""


@pytest.fixture(scope="module", params=MATRIX, ids=lambda row: f"{row[0]}-{row[1]}")
def up(request: pytest.FixtureRequest) -> Iterator[LabUnderTest]:
    """With a small table; the real servers are silent on the port that is flooded, as victims are."""
    method, hook, letter = request.param
    built = LabUnderTest(Lab(f"flood-{os.getpid()}-{method}", method, hook))
    rules = ipvsadm(built, "-Sn")
    assert built.pylvs("detach").returncode == 0
    assert built.pylvs("attach", "--hook", hook, "--connections", str(SLOTS), "eth0").returncode == 0
    rules += f"-A -t {built.vip}:{FLOODED} -s rr\n"
    for number, rip in enumerate(built.rips, 1):
        rules += f"-a -t {built.vip}:{FLOODED} -r {rip}:{FLOODED} {letter}\n"
        assert built.exec(f"rs{number}", "nft", SILENCE).returncode == 0
    assert built.pylvs("ipvsadm", "-R", stdin=rules).returncode == 0
    yield built
    built.down()


def flood(lab: LabUnderTest) -> subprocess.Popen[bytes]:
    """First packets from a million addresses and ports that are nobody's."""
    gateway = lab.exec("router", "cat", "/sys/class/net/eth0/address").stdout.strip().replace(":", "")
    argv = [*node.PYTHON, "-c", FLOOD, lab.vip, gateway, str(FLOODED), str(SPOOFED)]
    with namespace.inside(lab.namespace("client")):
        return subprocess.Popen(argv, env=node.environment())


def test_it_ends_no_connection_and_keeps_nobody_out(up: LabUnderTest) -> None:
    with connect(up) as held:
        served = ask(held)
        attackers = flood(up)
        newcomers = 0
        try:
            while attackers.poll() is None:
                assert fetch(up) in up.rips
                newcomers += 1
                assert ask(held) == served
        finally:
            attackers.kill()
            attackers.wait()
        assert newcomers > 10
        stats = next(line for line in ipvsadm(up, "-Ln --stats --exact").splitlines() if f":{FLOODED} " in line)
        scheduled = int(stats.split()[2])
        refused = drops(up, "table_full")
        assert scheduled > SLOTS, "more than the table has room for, so that some were evicted"
        assert refused < scheduled / 10
        assert len(ipvsadm(up, "-Lnc").splitlines()) <= SLOTS
        assert ask(held) == served
    assert fetch(up) in up.rips
