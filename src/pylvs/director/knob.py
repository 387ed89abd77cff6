"""The knobs: the kernel's net.ipv4.vs.* under its own names, and a few of pylvs's own, all in one table.

Names, defaults and ranges are the kernel's, so that what tunes IPVS tunes pylvs; docs/sysctl.md is made from the table.
"""

from __future__ import annotations

import os
import re

from pylvs.errors import InvalidKnob
from pylvs.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "net.ipv4.vs."
KnobValue = int | tuple[int, int]
"""What a knob is set to: a number, or two where the kernel keeps two under one name."""

_INT = (-(1 << 31), (1 << 31) - 1)
_MODE = (0, 3)
_PORT = (1, 65535)
_LONGEST = 40  # what is longer than that is no number of 32 bits in any notation
_HZ = 250
_SECONDS = (-_INT[1] // _HZ + 1, _INT[1] // _HZ)

_NO_QUEUE = "nothing waits in a queue: what could not be sent yet is found in the table again"
_BOTH_FORWARD = "no packet asks whether a backup runs; give the VIP to one director at a time"
_NO_LBLC = "pylvs does not have this scheduler yet"
_NO_ESTIMATOR = "rates are made from the counters when they are asked for"


class Knob(Value):
    """Its default is None where that depends on the machine. `custom` is what is asked beside the range;
    `without_effect` says why nothing in pylvs reads it, and is empty where something does.
    """

    name: str
    default: KnobValue | None
    range: tuple[int, int]
    meaning: str
    without_effect: str = ""
    custom: str = ""


def _all(*knobs: Knob) -> dict[str, Knob]:
    return {knob.name: knob for knob in knobs}


KNOBS = _all(
    Knob("am_droprate", 10, _INT, "drop_packet=3: one new connection in so many is dropped"),
    Knob(
        "amemthresh",
        1024,
        _INT,
        "free memory, in pages, below which the defences of mode 1 and 2 are on",
        "it is the connection table that runs short here: they are on while less than a quarter of it is free",
    ),
    Knob("backup_only", 0, _INT, "1: a backup director does not forward", _BOTH_FORWARD),
    Knob(
        "cache_bypass",
        0,
        _INT,
        "1: a mark's packets go to where they were bound for when no cache server is available",
        "without a server they are dropped as `no_server`",
    ),
    Knob("conn_reuse_mode", 1, _INT, "a SYN on a closed connection's port: 0 keeps its server, 1 is scheduled anew"),
    Knob(
        "conntrack",
        0,
        _INT,
        "1: connections are known to the kernel's connection tracking",
        "pylvs forwards before connection tracking sees a packet",
    ),
    Knob(
        "debug_level",
        0,
        _INT,
        "how much is told in the kernel's log",
        "`pylvs watch` and `pylvs drops` tell what happens",
    ),
    Knob("drop_entry", 0, _MODE, "half-open connections are ended: 0 never, 1 and 2 while room is short, 3 always"),
    Knob(
        "drop_packet", 0, _MODE, "new connections are dropped by a rate: 0 never, 1 and 2 while room is short, 3 always"
    ),
    Knob("est_nice", 0, (-20, 19), "the priority of the kernel's threads that make rates", _NO_ESTIMATOR),
    Knob("expire_nodest_conn", 0, _INT, "1: a connection ends with the next packet after its real server was deleted"),
    Knob("expire_quiescent_template", 0, _INT, "1: persistence does not keep clients at a server of weight 0"),
    Knob(
        "ignore_tunneled",
        0,
        _INT,
        "1: packets of protocols that are not balanced are never looked at",
        "they always go on to the kernel, as with 1",
    ),
    Knob("lblc_expiration", 86400, _SECONDS, "seconds after which lblc forgets an unused destination", _NO_LBLC),
    Knob("lblcr_expiration", 86400, _SECONDS, "seconds after which lblcr forgets an unused destination", _NO_LBLC),
    Knob(
        "nat_icmp_send",
        0,
        _INT,
        "1: what a NAT server sends from its port, and no connection knows, is answered by port unreachable;"
        " answers to the director's own health checks, too",
    ),
    Knob("pmtu_disc", 1, _INT, "1: a tunnel keeps the packet's DF bit; 0: its outer header has none"),
    Knob("run_estimation", 1, _INT, "0: rates are not made", _NO_ESTIMATOR),
    Knob("schedule_icmp", 0, _INT, "1: an ICMP error of no connection is scheduled as its packet would be"),
    Knob("secure_tcp", 0, _MODE, "the strict TCP states and timeouts: 0 never, 1 and 2 while room is short, 3 always"),
    Knob("sloppy_sctp", 0, _INT, "1: any SCTP packet opens a connection, not only INIT"),
    Knob("sloppy_tcp", 0, _INT, "1: any TCP packet but RST opens a connection, not only SYN"),
    Knob(
        "snat_reroute",
        1,
        _INT,
        "1: a reply is routed as if it came from the director",
        "replies are always routed so, as with 1",
    ),
    Knob("sync_persist_mode", 0, _INT, "1: of a persistent service a backup is told of templates only"),
    Knob(
        "sync_ports",
        1,
        _INT,
        "how many UDP ports the sync daemons use, from when they start; 64 at most",
        "",
        "a power of two",
    ),
    Knob("sync_qlen_max", None, (0, (1 << 32) - 1), "messages that may wait to be sent to the backup", _NO_QUEUE),
    Knob(
        "sync_refresh_period",
        0,
        _SECONDS,
        "seconds after which a connection's state is sent again, 0: half of its timeout",
    ),
    Knob("sync_retries", 0, (0, 3), "how often a state is sent again within sync_refresh_period"),
    Knob("sync_sock_size", 0, _INT, "bytes of the sync daemons' socket buffers, from when they start; 0: the usual"),
    Knob(
        "sync_threshold",
        (3, 50),
        (0, 65535),
        "the second: 0, and sync_refresh_period 0, and a state is sent only once; other values have no effect",
        "",
        "two numbers, the first below the second or the second 0",
    ),
    Knob("sync_version", 1, (0, 1), "the version of the sync daemon's messages"),
    Knob(
        "local_port_first",
        1024,
        _PORT,
        "FULLNAT: the first port of a local address that is used",
        "",
        "at most local_port_last",
    ),
    Knob(
        "local_port_last",
        32767,
        _PORT,
        "FULLNAT: the last one; the director's own connections should come from higher ports",
        "",
        "at least local_port_first",
    ),
)
"""Every knob by its name, in the order in which they are listed."""


def defaults() -> dict[str, KnobValue]:
    """What every knob is set to at first."""
    pages = os.sysconf("SC_PHYS_PAGES")
    return {name: pages // 32 if knob.default is None else knob.default for name, knob in KNOBS.items()}


def named(text: str) -> Knob:
    """The knob of a name, with or without what stands before it, with dots or slashes; raises `InvalidKnob`."""
    name = text.strip().replace("/", ".").removeprefix(".proc.sys.").removeprefix(PREFIX)
    if name in KNOBS:
        return KNOBS[name]
    from difflib import get_close_matches

    near = get_close_matches(name, KNOBS, 1, cutoff=0.0)
    raise InvalidKnob(f"there is no knob {text!r}", hint=f"the nearest is {near[0]}; `pylvs sysctl` lists all")


def number(text: str) -> int | None:
    """A number as the kernel reads it: decimal, 0x hexadecimal or 0 octal."""
    if len(text) > _LONGEST or not re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", text):
        return None
    digits = text.lstrip("-").lower()
    found = int(digits, 8 if digits.startswith("0") and "x" not in digits else 0)
    return -found if text.startswith("-") else found


def parsed(knob: Knob, text: str, current: KnobValue) -> KnobValue:
    """A value from its text. Of two numbers the second may be left as it is. Raises `InvalidKnob`."""
    words = text.split()
    numbers = [value for value in map(number, words) if value is not None]
    wanted = 2 if isinstance(current, tuple) else 1
    if not words or len(numbers) != len(words) or len(words) > wanted:
        raise InvalidKnob(
            f"{knob.name}: {text[:_LONGEST]!r} is not {'two numbers' if wanted == 2 else 'a number'}",
            hint=_allowed(knob),
        )
    if isinstance(current, tuple):
        return numbers[0], [*numbers, current[1]][1]
    return numbers[0]


def text(value: KnobValue) -> str:
    """As the kernel writes it."""
    return "\t".join(map(str, value)) if isinstance(value, tuple) else str(value)


def check(changes: Mapping[str, KnobValue], current: Mapping[str, KnobValue]) -> None:
    """Raises `InvalidKnob` unless every knob may be set so, as the kernel would judge."""
    wanted = {**current, **changes}
    for name, value in changes.items():
        knob = named(name)
        values = value if isinstance(value, tuple) else (value,)
        fits = isinstance(value, tuple) == isinstance(knob.default, tuple)
        in_range = all(knob.range[0] <= each <= knob.range[1] for each in values)
        if not (fits and in_range and _CUSTOM.get(name, _anything)(wanted)):
            raise InvalidKnob(f"{name} can't be {text(value)!r}", hint=_allowed(knob))


def _anything(_: Mapping[str, KnobValue]) -> bool:
    return True


def _ports_in_order(wanted: Mapping[str, KnobValue]) -> bool:
    return wanted["local_port_first"] <= wanted["local_port_last"]  # type: ignore[operator]


def _power_of_two(wanted: Mapping[str, KnobValue]) -> bool:
    ports = wanted["sync_ports"]
    return isinstance(ports, int) and ports > 0 and not ports & (ports - 1)


def _below_period(wanted: Mapping[str, KnobValue]) -> bool:
    threshold, period = wanted["sync_threshold"]  # type: ignore[misc]
    return not period or threshold < period


_CUSTOM: dict[str, Callable[[Mapping[str, KnobValue]], bool]] = {
    "local_port_first": _ports_in_order,
    "local_port_last": _ports_in_order,
    "sync_ports": _power_of_two,
    "sync_threshold": _below_period,
}


def _allowed(knob: Knob) -> str:
    return f"it takes {range_text(knob)}"


def range_text(knob: Knob) -> str:
    """What values it may have, in words."""
    numbers = "any number" if knob.range == _INT else f"{knob.range[0]} to {knob.range[1]}"
    return f"{numbers}, {knob.custom}" if knob.custom else numbers
