"""Connections as a real kernel's IPVS listed them: states, times, templates and counts, under the same packets."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.golden.acting import Acting
from tests.golden.conn_excluded import EXCLUDED
from tests.golden.listed import agree
from tests.golden.network import Network
from tests.ipvsadm import Outcome

pytestmark = [pytest.mark.root, pytest.mark.lab]

FILES = ("states", "persistence", "udp-sctp", "stats")
CASES = {
    (file, case["name"]): case["steps"]
    for file in FILES
    for case in json.loads((Path(__file__).parent / "conn" / f"{file}.json").read_text())["cases"]
}

MEANT = {
    "3 SYNs from each of 10.10.0.2 and 10.10.1.1 (ports 23000-23002)": [
        f"SYN from {client}:{port} to port 80" for client in ("10.10.0.2", "10.10.1.1") for port in range(23000, 23003)
    ],
    "SYNs from 10.10.0.2:23020 to ports 80, 443, 22, 8080; from 10.10.1.1:23020 to port 25": [
        "SYN from 10.10.0.2:23020 to port 80,443,22,8080",
        "SYN from 10.10.1.1:23020 to port 25",
    ],
    "SYNs from 10.10.0.2 to ports 80, 443, 80, 443": [
        f"SYN from 10.10.0.2:{sport} to port {port}" for sport, port in ((23110, 80), (23473, 443)) * 2
    ],
    "SYNs from 10.10.0.2 to ports 21 and 5000": [
        "SYN from 10.10.0.2:23041 to port 21",
        "SYN from 10.10.0.2:23042 to port 5000",
    ],
    "a new SYN of the same client (port 23051)": ["SYN from 10.10.0.2:23051 to port 80"],
    "a new SYN of the same client (port 23052)": ["SYN from 10.10.0.2:23052 to port 80"],
    "SYNs from fd00:10::2, fd00:10::77, fd00:11::1": [
        f"SYN from {client}:23080 to port 80" for client in ("fd00:10::2", "fd00:10::77", "fd00:11::1")
    ],
    "4 SYNs from [fd00:10::2]:22000-22003": [f"SYN from fd00:10::2:{port} to port 80" for port in range(22000, 22004)],
    "a datagram from 10.10.0.2:24000": ["1 datagram of 1 bytes from 10.10.0.2:24000"],
    "another datagram of the same client and port": ["1 datagram of 1 bytes from 10.10.0.2:24000"],
    "an answer from 10.30.0.11:53": ["an answer of 1 bytes to port 24002"],
    "4 datagrams from 10.10.0.2:24006": ["4 datagrams of 1 bytes from 10.10.0.2:24006"],
    "3 times: SYN (40 bytes of IP), ACK (40), PSH with 100 bytes (140); no answers": [
        f"client port {port}: iS iA iPA+100" for port in range(25000, 25003)
    ],
    "3 answers of 1040 bytes from 10.30.0.11 to ports 25000-25002": [
        f"10.30.0.11 to client port {port}: oPA+1000" for port in range(25000, 25003)
    ],
}
"""What the sentences of single cases mean."""

UNSAID = {
    ("states", "the server is gone from the table: its connections stay"): {2: ["client port 21006: iS oSA iA"]},
    ("states", "secure_tcp=3: SYNACK"): {2: ["sysctl net.ipv4.vs.secure_tcp=3", "1 s pass"]},
    ("persistence", "firewall mark without persistence: ports are not grouped"): {
        4: [
            "packets for ports 80 and 443 get mark 7",
            *(f"SYN from 10.10.0.2:{20033 + number} to port {(80, 443)[number % 2]}" for number in range(4)),
        ]
    },
    ("persistence", "weight 0 and templates: expire_quiescent_template 0 (default)"): {
        3: ["SYN from 10.10.0.2:23050 to port 80"]
    },
    ("stats", "statistics of a deleted and again added server"): {
        0: [
            "ipvsadm -A -t 10.20.0.100:80 -s rr",
            *(f"ipvsadm -a -t 10.20.0.100:80 -r 10.30.0.1{number}:80 -m" for number in (1, 2)),
            *(f"SYN from 10.10.0.2:{port} to port 80" for port in range(26000, 26200)),
            "ipvsadm -Z",
        ]
    },
    ("udp-sctp", "UDP through TUN"): {2: ["1 datagram of 1 bytes from 10.10.0.2:24001"]},
    ("udp-sctp", "UDP, the answer refreshes too (NAT)"): {
        2: ["1 datagram of 1 bytes from 10.10.0.2:24002", "20 s pass"]
    },
    ("udp-sctp", "UDP persistent"): {3: [f"1 datagram of 1 bytes from 10.10.0.2:{port}" for port in (24003, 24004)]},
    ("udp-sctp", "no one-packet scheduling: all datagrams of a port go to one server"): {
        4: ["7 datagrams of 1 bytes from 10.10.0.2:24007", "4 s pass"]
    },
    ("udp-sctp", "SCTP persistent"): {2: ["i:INIT (client port 30001)"]},
}
"""What happened before a step though the recording doesn't say so: known from what it lists."""

BEFORE_THE_KERNEL_COUNTS = {
    ("stats", "NAT: exact counts, crafted packets"): [4],
    ("stats", "TUN: exact counts, crafted packets"): [4],
}
"""Listings of what the kernel, which adds up every two seconds, had not counted yet."""


def _disagreements(acting: Acting, key: tuple[str, str]) -> list[str]:
    """All that differs, until a step can't be taken."""
    found = []
    for number, step in enumerate(CASES[key]):
        for sentence in UNSAID.get(key, {}).get(number, ()):
            acting.do(sentence)
        if "seen" in step:
            for sentence in MEANT.get(step["seen"], [step["seen"]]):
                acting.do(sentence)
        elif step["argv"][0] == "ipvsadm":
            words = step["argv"][1:]
            seen, recorded = acting.ipvsadm(words), Outcome(step["stdout"], step["stderr"], step["rc"])
            if number not in BEFORE_THE_KERNEL_COUNTS.get(key, ()) and not agree(words, seen, recorded):
                found.append(f"{shlex.join(words)}\n{''.join(seen[:2])}recorded:\n{''.join(recorded[:2])}")
    return found


def _cases() -> list[Any]:
    return [pytest.param(key, id=f"{key[0]}: {key[1]}") for key in CASES]


@pytest.mark.parametrize("wires", ["tc"], indirect=True, scope="module")
@pytest.mark.parametrize("key", _cases())
def test_case(wires: Network, key: tuple[str, str]) -> None:
    acting = Acting(wires)
    try:
        found = _disagreements(acting, key)
    except KeyError:
        assert key in EXCLUDED, "this step can't be replayed"
        return
    finally:
        acting.end()
    if key in EXCLUDED:
        assert found, "it comes out the same by now: take it off EXCLUDED in conn_excluded.py"
        return
    assert not found, "\n".join(found)


def test_every_exclusion_names_a_case() -> None:
    assert EXCLUDED.keys() <= CASES.keys()
    assert UNSAID.keys() <= CASES.keys()
