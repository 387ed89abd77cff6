"""The cases of test_conn.py that do not come out as from the kernel's IPVS, and why."""

from __future__ import annotations

_NOT_YET = {
    "stats": [
        "NAT: exact counts, crafted packets",
        "TUN: exact counts, crafted packets",
        "rates: 10 connections a second for 20 s, then silence",
    ],
}
"""What is still to be made, by file."""

_MARKS = "docs/differences.md: a firewall-mark service and one by address"
_CLOSE_CALL = "the template looks for its connections a second before the last one ends, not a second after it"
_TEMPLATE = "docs/differences.md: a template whose server may not be used any more"

EXCLUDED = {
    **{(file, case): "not yet" for file, cases in _NOT_YET.items() for case in cases},
    ("persistence", "firewall mark and an address service for the same packets: which one wins"): _MARKS,
    ("persistence", "weight 0 and templates: expire_quiescent_template 0 (default)"): _TEMPLATE,
    ("persistence", "a template lives on while its connections live"): _CLOSE_CALL,
    ("udp-sctp", "persistence engine sip: one Call-ID, many clients"): "docs/differences.md: persistence engines",
}
"""An entry that has become unnecessary fails its test."""
