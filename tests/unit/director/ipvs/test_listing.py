"""Lines of /proc/net/ip_vs_conn as a real kernel wrote them."""

from __future__ import annotations

from pylvs.director.ipvs.listing import parsed
from pylvs.views.connection import connections
from pylvs.views.endpoint import numeric

LINES = """\
TCP fd00:0010:0000:0000:0000:0000:0000:0002 55F0 fd00:0020:0000:0000:0000:0000:0000:0100 0050 0A28000C 0050 SYN_RECV         59
UDP 0A0A0102 13C4 0A140064 13C4 0A1E000B 13C4 UDP             299
UDP 0A0A0102 0000 0A140064 13C4 0A1E000B 13C4 NONE             59 sip call-two@h
IP  0A0A0002 0000 00000007 0000 0A1E000B 0000 ASSURED        3600
"""  # noqa: E501

LISTED = """\
TCP 00:59  SYN_RECV    [fd00:10::2]:22000 [fd00:20::100]:80  10.40.0.12:80
UDP 04:59  UDP         10.10.1.2:5060     10.20.0.100:5060   10.30.0.11:5060
UDP 00:59  NONE        10.10.1.2:0        10.20.0.100:5060   10.30.0.11:5060
IP  60:00  ASSURED     10.10.0.2:0        0.0.0.7:0          10.30.0.11:0
"""


def test_every_line_is_a_connection() -> None:
    listed = "".join(connections(parsed(LINES.splitlines(keepends=True)), numeric))
    assert listed.partition("destination\n")[2] == LISTED


def test_what_an_engine_knows_is_shown_if_asked_for() -> None:
    line = "UDP C0000201 0000 C0000201 13C4 C000020B 13C4 NONE             59 sip call-one@h\n"
    *_, listed = connections(parsed([line]), numeric, persistence_engine=True)
    assert listed == (
        "UDP 00:59  NONE        192.0.2.1:0        192.0.2.1:5060     192.0.2.11:5060  sip                call-one@h\n"
    )
