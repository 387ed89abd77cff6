"""script/guest: run one command on Linux 6.1.

usage: script/guest [-c CPUS] COMMAND [ARGUMENT...]

It boots a virtual machine with Debian 12's kernel and programs, in which this tree, as it is now, is /pylvs and the
folder to start in, and runs the command there as root. What the command says is shown and its exit status returned;
the machine is gone afterwards. There is no network but what you make in it. For example:

  script/guest pylvs demo nat
  script/guest ipvsadm -A -t 192.0.2.80:80 -s rr
  script/guest python3 -m pytest -q tests/packets/test_rows.py
"""

from __future__ import annotations

import argparse
import sys

from pylvs.errors import PylvsError
from tests.guest.machine import booted


def main() -> int:
    """The command's exit status; 125 if there is no guest to run it in."""
    assert __doc__
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=__doc__, add_help=False)
    parser.add_argument("-c", dest="cpus", type=int, default=1)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    if asked.help or not asked.command:
        print(__doc__.strip(), file=sys.stdout if asked.help else sys.stderr)
        return 0 if asked.help else 2
    try:
        with booted(asked.cpus) as guest:
            return guest.run(asked.command, seconds=24 * 3600, echo=True).returncode
    except PylvsError as error:
        print(f"guest: {error}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
