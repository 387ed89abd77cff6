"""What pylvs's command line can do that ipvsadm's can't: --full, --atomic, --dry-run."""

from __future__ import annotations

import pytest

from pylvs.cli.ipvsadm import grammar
from pylvs.director.memory import MemoryDirector
from tests.ipvsadm import director, ipvsadm

RULES = """\
-A -t 192.0.2.80:80 -s rr -p 300 -M 255.255.255.0
-a -t 192.0.2.80:80 -r 198.51.100.12:80 -m -w 2 -x 100 -y 50
-a -t 192.0.2.80:80 -r 198.51.100.11:80 -m -w 1
-A -u 192.0.2.80:53 -s sh -o -b flag-3
-A -f 4294967295 -6 -s wlc
-a -f 4294967295 -6 -r [fd00::1]:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
--set 901 121 301
--sysctl drop_entry=1
--sysctl sync_threshold=4,51
"""


def _loaded(rules: str = RULES) -> MemoryDirector:
    table = director()
    assert ipvsadm(["-R"], table, rules) == ("", "", 0)
    return table


def _all(table: MemoryDirector) -> tuple[str, ...]:
    """All that a director holds, as its listings tell it."""
    listings = (["-Ln"], ["-Ln", "--thresholds"], ["-Ln", "--tun-info"], ["-L", "--timeout"], ["-Sn", "--full"])
    return tuple(ipvsadm(words, table).stdout for words in listings)


@pytest.mark.parametrize("how", [["-R"], ["-R", "--atomic"]])
def test_nothing_is_lost_by_saving_in_full(how: list[str]) -> None:
    table = _loaded()
    text = ipvsadm(["-Sn", "--full"], table).stdout
    for word in ("-x 100 -y 50", "--set 901 121 301", "drop_entry=1", "sync_threshold=4,51", "-f 4294967295", "flag-3"):
        assert word in text
    again = director()
    assert ipvsadm(how, again, text) == ("", "", 0)
    assert _all(again) == _all(table)


def test_saving_without_it_is_as_ever() -> None:
    text = ipvsadm(["-Sn"], _loaded()).stdout
    assert "-x" not in text
    assert "--" not in text.replace("--tun-", "")


def test_ipvsadm_itself_stops_at_the_first_line() -> None:
    """With "Try `ipvsadm -h'", as at any first word that it does not know, and with nothing done yet."""
    first = ipvsadm(["-S", "--full"], _loaded()).stdout.splitlines()[0]
    assert [row.meaning for row in grammar.COMMANDS if f"--{row.long}" == first] == [
        "nothing: what follows belongs together up to --end (not in ipvsadm)"
    ]


FAULTS = {
    "what can't be read": ("-A -t 192.0.2.9:9\n--nonsense\n", 255, "line 2: Try `ipvsadm -h'"),
    "an unknown option": ("\n\n-A -t 192.0.2.9:9 --foo\n", 255, "line 3: --foo: unknown option; nothing"),
    "what is refused": ("-A -t 192.0.2.9:9\n-A -t 192.0.2.9:9\n", 255, "line 2: Service already exists; nothing"),
    "an argument too many": ("# x\n-A -t 192.0.2.9:9 x\n", 2, "line 2: unexpected argument x; nothing"),
    "a server without its service": ("-a -t 192.0.2.9:9 -r 198.51.100.1:9\n", 255, "line 1: Service not defined; noth"),
    "cut off in a line": (
        "-A -t 192.0.2.9:9\n-a -t 192.0.2.9:9 -r 198.51.100.1",
        2,
        "line 2: it is cut off: it has no",
    ),
    "cut off after a line": ("--begin\n-A -t 192.0.2.9:9\n", 2, "line 2: the file is cut off: it ends without its --e"),
    "nothing at all": ("", 2, "line 0: there are no rules (to delete all: ipvsadm -C); nothing"),
    "comments only": ("# one\n# two\n", 2, "line 2: there are no rules"),
    "a listing": ("-A -t 192.0.2.9:9\n-Ln\n", 2, "line 2: -Ln is no rule, and --atomic takes nothing else; nothing"),
    "counters": ("-Z\n", 2, "line 1: -Z is no rule"),
    "-R": ("-A -t 192.0.2.9:9\n-R\n", 2, "line 2: -R is no rule"),
    "the help": ("-A -t 192.0.2.9:9\n-h\n", 2, "line 2: -h is no rule"),
    "a dry run": ("-C --dry-run\n", 2, "line 1: -C is no rule"),
    "a knob that is not there": ("--sysctl drop_entri=1\n", 2, "line 1: there is no knob 'drop_entri'; nothing"),
    "a knob's value": ("--sysctl drop_entry=x\n", 2, "line 1: drop_entry: 'x' is not a number; nothing"),
}


@pytest.mark.parametrize(("text", "status", "message"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_all_or_nothing(text: str, status: int, message: str, dry: list[str]) -> None:
    table = _loaded()
    before = _all(table)
    outcome = ipvsadm(["-R", "--atomic", *dry], table, text)
    assert (outcome.stdout, outcome.rc) == ("", status)
    assert outcome.stderr.startswith(message)
    assert outcome.stderr.splitlines()[0].endswith("; nothing was changed")
    assert _all(table) == before


def test_every_cut_of_a_full_save_is_noticed() -> None:
    table = _loaded()
    text = ipvsadm(["-Sn", "--full"], table).stdout
    before = _all(table)
    for length in range(0, len(text), 7):
        assert ipvsadm(["-R", "--atomic"], table, text[:length]).rc != 0
        assert _all(table) == before


def test_the_table_becomes_what_the_file_says() -> None:
    table = _loaded()
    wanted = "# rules\nipvsadm -A -t 192.0.2.80:80 -s wrr\n-a -t 192.0.2.80:80 -r 198.51.100.11:80 -m -w 7\n"
    assert ipvsadm(["-R", "--atomic"], table, wanted) == ("", "", 0)
    assert ipvsadm(["-Sn"], table).stdout.splitlines() == [
        "-A -t 192.0.2.80:80 -s wrr",
        "-a -t 192.0.2.80:80 -r 198.51.100.11:80 -m -w 7",
    ]
    assert ipvsadm(["-L", "--timeout"], table).stdout == "Timeout (tcp tcpfin udp): 901 121 301\n"


DRY = {
    "-A": (["-A", "-t", "192.0.2.9:9"], "-A -t 192.0.2.9:9 -s wlc\n"),
    "-E": (["-E", "-t", "vip:80", "-s", "lc"], "-E -t 192.0.2.80:80 -s lc\n"),
    "-D": (["-D", "-t", "192.0.2.80:80"], "-D -t 192.0.2.80:80\n"),
    "-a": (
        ["-a", "-t", "vip:80", "-r", "198.51.100.13", "-x", "9"],
        "-a -t 192.0.2.80:80 -r 198.51.100.13:80 -g -w 1 -x 9\n",
    ),
    "-e": (
        ["-e", "-t", "vip:80", "-r", "rs1:80", "-m", "-w", "0"],
        "-e -t 192.0.2.80:80 -r 198.51.100.11:80 -m -w 0\n",
    ),
    "-d": (["-d", "-t", "vip:80", "-r", "rs1:80"], "-d -t 192.0.2.80:80 -r 198.51.100.11:80\n"),
    "-C": (["-C"], "-D -t 192.0.2.80:80\n-D -u 192.0.2.80:53\n-D -f 4294967295 -6\n"),
    "--set": (["--set", "7", "0", "9"], "--set 7 121 9\n"),
    "--sysctl": (["--sysctl", "sync_threshold=5"], "--sysctl sync_threshold=5,51\n"),
    "-Z": (["-Z"], "-Z\n"),
    "-Z of one": (["-Z", "-u", "vip:53"], "-Z -u vip:53\n"),
    "what is so already": (["-e", "-t", "vip:80", "-r", "rs1:80", "-m"], ""),
}


@pytest.mark.parametrize(("words", "printed"), DRY.values(), ids=DRY)
def test_dry_run(words: list[str], printed: str) -> None:
    table = _loaded()
    before = _all(table)
    outcome = ipvsadm([*words, "--dry-run"], table)
    assert sorted(outcome.stdout.splitlines()) == sorted(printed.splitlines())
    assert outcome[1:] == ("", 0)
    assert _all(table) == before
    if words[0] != "-Z":
        done = ipvsadm(words, table)
        assert done == ("", "", 0)
        assert (_all(table) == before) == (not printed)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-A", "-t", "vip:80"], ("", "Service already exists\n", 255)),
        (["-Z", "-t", "192.0.2.9:9"], ("", "No such service\n", 255)),
        (["-d", "-t", "vip:80", "-r", "1.2.3.4:80"], ("", "No such destination\n", 255)),
        (["-L"], ("", "Illegal 'dry-run' option with the 'list' command\n", 2)),
        (["-S"], ("", "Illegal 'dry-run' option with the 'save' command\n", 2)),
        (["-A", "-t"], ("", "illegal virtual server address[:port] specified\n", 2)),
    ],
)
def test_a_dry_run_fails_as_the_real_one_would(words: list[str], told: tuple[str, str, int]) -> None:
    assert ipvsadm([*words, "--dry-run"], _loaded()) == told


def test_a_dry_restore() -> None:
    table = _loaded()
    before = _all(table)
    outcome = ipvsadm(["-R", "--dry-run"], table, "-D -u vip:53\n-A -t vip:80\n-A -t vip:81\n-D -t 192.0.2.9:9\n")
    assert outcome == (
        "-A -t 192.0.2.80:81 -s wlc\n-D -u 192.0.2.80:53\n",
        "Service already exists\nNo such service\n",
        255,
    )
    assert _all(table) == before


def test_a_dry_atomic_restore() -> None:
    table = _loaded()
    before = _all(table)
    outcome = ipvsadm(["-R", "--atomic", "--dry-run"], table, "-A -u vip:53 -s rr\n")
    assert outcome.stdout == "-E -u 192.0.2.80:53 -s rr\n-D -t 192.0.2.80:80\n-D -f 4294967295 -6\n" or sorted(
        outcome.stdout.splitlines()
    ) == ["-D -f 4294967295 -6", "-D -t 192.0.2.80:80", "-E -u 192.0.2.80:53 -s rr"]
    assert _all(table) == before
