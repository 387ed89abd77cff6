"""The cases of test_conn.py that do not come out as from the kernel's IPVS, and why."""

from __future__ import annotations

_PHASE = "how the traffic fell on the kernel's two seconds is not recorded; tests/packets/test_rate.py has its figures"
_MARKS = "docs/differences.md: a firewall-mark service and one by address"
_CLOSE_CALL = "the template looks for its connections a second before the last one ends, not a second after it"
_TEMPLATE = "docs/differences.md: a template whose server may not be used any more"

EXCLUDED = {
    ("stats", "rates: 10 connections a second for 20 s, then silence"): _PHASE,
    ("persistence", "firewall mark and an address service for the same packets: which one wins"): _MARKS,
    ("persistence", "weight 0 and templates: expire_quiescent_template 0 (default)"): _TEMPLATE,
    ("persistence", "a template lives on while its connections live"): _CLOSE_CALL,
    ("udp-sctp", "persistence engine sip: one Call-ID, many clients"): "docs/differences.md: persistence engines",
}
"""An entry that has become unnecessary fails its test."""
