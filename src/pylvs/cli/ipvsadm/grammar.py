"""The command line of ipvsadm as tables: what may be written, and which options go with which command.

The parser, the checks, the messages and docs/ipvsadm.md are all made from these rows.
"""

from __future__ import annotations

from enum import Enum

from pylvs.model.value import Value


class Takes(Enum):
    """Whether an option is followed by an argument."""

    NOTHING = ""
    ARGUMENT = "argument"
    MAYBE = "[argument]"


class Command(Value):
    """`word` is its name in messages. `letters` are its short forms; only the first word of a command line is one."""

    word: str
    letters: str
    long: str
    meaning: str
    takes: Takes = Takes.NOTHING


class Option(Value):
    """`word` is its name in messages and in LEGAL; several options can share one, and then exclude each other."""

    long: str
    letter: str
    takes: Takes
    word: str
    meaning: str


class Legal(Value):
    """The options of a command: those it needs, those it may have, and those of which it may have one. No others."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


COMMANDS = (
    Command("add-service", "A", "add-service", "add a virtual service"),
    Command("edit-service", "E", "edit-service", "replace everything about a virtual service but its servers"),
    Command("delete-service", "D", "delete-service", "delete a virtual service and its servers"),
    Command("flush", "C", "clear", "delete every virtual service"),
    Command("list", "Ll", "list", "print the table"),
    Command("add-server", "a", "add-server", "add a real server"),
    Command("delete-server", "d", "delete-server", "delete a real server"),
    Command("edit-server", "e", "edit-server", "replace everything about a real server"),
    Command("set", "", "set", "set the timeouts: tcp tcpfin udp, in seconds, 0 to leave one"),
    Command("start-daemon", "", "start-daemon", "start a connection sync daemon, master or backup", Takes.ARGUMENT),
    Command("stop-daemon", "", "stop-daemon", "stop a connection sync daemon", Takes.ARGUMENT),
    Command("restore", "R", "restore", "read commands from standard input, one a line"),
    Command("save", "S", "save", "print the table as commands for --restore"),
    Command("begin", "", "begin", "nothing: what follows belongs together up to --end (not in ipvsadm)"),
    Command("end", "", "end", "nothing: where a file has --begin, it was cut off without this (not in ipvsadm)"),
    Command("sysctl", "", "sysctl", "set a knob, NAME=VALUE; see `pylvs sysctl` (not in ipvsadm)", Takes.ARGUMENT),
    Command("zero", "Z", "zero", "set the counters of one service, or of all, to zero"),
    Command("help", "h", "help", "print the help"),
    Command("version", "v", "version", "print the version"),
)

_NO, _ARG, _MAYBE = Takes.NOTHING, Takes.ARGUMENT, Takes.MAYBE

OPTIONS = (
    Option("numeric", "n", _NO, "numeric", "print addresses and ports as numbers"),
    Option("connection", "c", _NO, "connection", "list the connections"),
    Option("tcp-service", "t", _ARG, "service-address", "a TCP service, host[:port]"),
    Option("udp-service", "u", _ARG, "service-address", "a UDP service, host[:port]"),
    Option("sctp-service", "", _ARG, "service-address", "an SCTP service, host[:port]"),
    Option("fwmark-service", "f", _ARG, "service-address", "a service by firewall mark, 1..4294967295"),
    Option("scheduler", "s", _ARG, "scheduler", "who chooses the real server (default: wlc)"),
    Option("persistent", "p", _MAYBE, "persistent", "keep a client's server for seconds (default: 360)"),
    Option("netmask", "M", _ARG, "netmask", "group the clients of a persistent service: mask, or IPv6 prefix length"),
    Option("real-server", "r", _ARG, "real-server", "host[:port] (default port: the service's)"),
    Option("masquerading", "m", _NO, "forwarding-method", "NAT"),
    Option("ipip", "i", _NO, "forwarding-method", "tunnel"),
    Option("gatewaying", "g", _NO, "forwarding-method", "direct routing (default)"),
    Option("fullnat", "", _NO, "forwarding-method", "FULLNAT: both addresses change (not in ipvsadm)"),
    Option("weight", "w", _ARG, "weight", "0..2147483647 (default: 1)"),
    Option("u-threshold", "x", _ARG, "u-threshold", "connections at which a server gets no more (default: 0, never)"),
    Option("l-threshold", "y", _ARG, "l-threshold", "connections below which it gets new ones again"),
    Option("mcast-interface", "", _ARG, "mcast-interface", "of the sync daemon (default: eth0)"),
    Option("timeout", "", _NO, "timeout", "list the timeouts"),
    Option("daemon", "", _NO, "daemon", "list the sync daemons"),
    Option("stats", "", _NO, "stats", "list counters"),
    Option("rate", "", _NO, "rate", "list counters per second"),
    Option("thresholds", "", _NO, "thresholds", "list the thresholds"),
    Option("persistent-conn", "", _NO, "persistent-conn", "list how many connections are persistent"),
    Option("nosort", "", _NO, "nosort", "list in the director's own order"),
    Option("sort", "", _NO, "", "nothing: sorting is the default"),
    Option("syncid", "", _ARG, "syncid", "of the sync daemon, 0..255 (default: 0)"),
    Option("exact", "X", _NO, "exact", "print large numbers in full"),
    Option("ipv6", "6", _NO, "", "the firewall mark before it is one of IPv6"),
    Option("ops", "o", _NO, "ops", "one-packet scheduling"),
    Option("pe", "", _ARG, "pe", "persistence engine: sip"),
    Option("sched-flags", "b", _ARG, "sched-flags", "comma-separated flags of the scheduler"),
    Option("mcast-group", "", _ARG, "mcast-group", "of the sync daemon (default: 224.0.0.81)"),
    Option("mcast-port", "", _ARG, "mcast-port", "of the sync daemon (default: 8848)"),
    Option("mcast-ttl", "", _ARG, "mcast-ttl", "of the sync daemon (default: 1)"),
    Option("sync-maxlen", "", _ARG, "sync-maxlen", "of the sync daemon's messages (default: 1472)"),
    Option("tun-info", "", _NO, "tun-info", "list the tunnels"),
    Option("tun-type", "", _ARG, "tun-type", "ipip, gue or gre (default: ipip)"),
    Option("tun-port", "", _ARG, "tun-port", "UDP port of a gue tunnel, 1..65535"),
    Option("tun-nocsum", "", _NO, "tun-nocsum", "tunnel without checksums (default)"),
    Option("tun-csum", "", _NO, "tun-csum", "tunnel with checksums"),
    Option("tun-remcsum", "", _NO, "tun-remcsum", "tunnel with remote checksum offload"),
    Option("local-address", "", _ARG, "local-address", "FULLNAT's local addresses A[,B...] (not in ipvsadm)"),
    Option("json", "", _NO, "json", "print JSON (not in ipvsadm; see docs/ipvsadm.schema.json)"),
    Option("full", "", _NO, "full", "save thresholds, timeouts and knobs, too (not in ipvsadm)"),
    Option("atomic", "", _NO, "atomic", "the whole table becomes what is read, or nothing changes (not in ipvsadm)"),
    Option("dry-run", "", _NO, "dry-run", "change nothing: print what would change, as commands (not in ipvsadm)"),
)

WORDS = (
    *("numeric", "connection", "service-address", "scheduler", "persistent", "netmask", "real-server"),
    *("forwarding-method", "weight", "u-threshold", "l-threshold", "mcast-interface", "timeout", "daemon", "stats"),
    *("rate", "thresholds", "persistent-conn", "nosort", "syncid", "exact", "ops", "pe", "sched-flags"),
    *("mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen", "tun-info", "tun-type", "tun-port", "tun-nocsum"),
    *("tun-csum", "tun-remcsum", "local-address", "json", "full", "atomic", "dry-run"),
)
"""Options in the order that they are checked in: the first thing wrong is what the user is told."""

_DRY = ("dry-run",)
_ABOUT_SERVICE = ("scheduler", "persistent", "netmask", "ops", "pe", "sched-flags", "local-address")
TUNNEL_WORDS = ("tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum")
_ABOUT_SERVER = ("forwarding-method", "weight", "u-threshold", "l-threshold", *TUNNEL_WORDS)
COUNTS = ("stats", "rate", "thresholds", "persistent-conn", "tun-info")
"""What a listing can show instead of weights; of several, the first."""
_ABOUT_DAEMON = ("mcast-interface", "syncid", "mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen")

LEGAL = {
    "add-service": Legal(needs=("service-address",), may=(*_ABOUT_SERVICE, *_DRY)),
    "edit-service": Legal(needs=("service-address",), may=(*_ABOUT_SERVICE, *_DRY)),
    "delete-service": Legal(needs=("service-address",), may=_DRY),
    "flush": Legal(may=_DRY),
    "list": Legal(
        may=("numeric", "nosort", "syncid", "exact", *COUNTS, "json"),
        one_of=("connection", "service-address", "timeout", "daemon"),
    ),
    "add-server": Legal(needs=("service-address", "real-server"), may=(*_ABOUT_SERVER, *_DRY)),
    "delete-server": Legal(needs=("service-address", "real-server"), may=_DRY),
    "edit-server": Legal(needs=("service-address", "real-server"), may=(*_ABOUT_SERVER, *_DRY)),
    "set": Legal(may=_DRY),
    "start-daemon": Legal(may=(*_ABOUT_DAEMON, *_DRY)),
    "stop-daemon": Legal(may=("syncid", *_DRY)),
    "restore": Legal(may=("atomic", *_DRY)),
    "save": Legal(may=("numeric", "full")),
    "begin": Legal(),
    "end": Legal(),
    "sysctl": Legal(may=_DRY),
    "zero": Legal(may=("service-address", *_DRY)),
}
"""The options of each command. (`sort` and `ipv6` are not checked: they go with anything.)"""

LEGAL_IN_TUNNEL = {
    "ipip": Legal(),
    "gue": Legal(needs=("tun-port",), one_of=("tun-nocsum", "tun-csum", "tun-remcsum")),
    "gre": Legal(one_of=("tun-nocsum", "tun-csum")),
}
"""The tunnel options of each tunnel type, `tun-type` itself aside."""
