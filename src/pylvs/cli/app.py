"""Every command but `ipvsadm`. A command's module is imported when the command is used."""

from __future__ import annotations

import importlib
import sys

import click

from pylvs import __version__
from pylvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "attach": ("pylvs.cli.control:attach", "Load the data plane and attach it to interfaces."),
    "bench": ("pylvs.cli.bench:bench", "Measure the data plane, packet by packet, beside its yardsticks."),
    "demo": ("pylvs.cli.demo:demo", "Show each forwarding method at work in network namespaces."),
    "detach": ("pylvs.cli.control:detach", "Take the data plane away, with its services and connections."),
    "drops": ("pylvs.cli.drops:drops", "How many packets were dropped, why, and what to do about it."),
    "ipvsadm": ("pylvs.cli.control:ipvsadm", "ipvsadm's own command line (see `pylvs ipvsadm -h`)."),
    "lab": ("pylvs.cli.lab:lab", "A director, real servers and a client in network namespaces."),
    "realserver": ("pylvs.cli.realserver:realserver", "Make this host a real server of LVS-DR or LVS-TUN."),
    "sysctl": ("pylvs.cli.sysctl:sysctl", "Show or set the knobs that the kernel has as net.ipv4.vs.*."),
    "watch": ("pylvs.cli.watch:watch", "Connections that begin and end, and drops, as they happen."),
    "upgrade": ("pylvs.cli.control:upgrade", "Swap the programs under live traffic for this pylvs's."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="pylvs")
def cli() -> None:
    """A complete Linux Virtual Server: an eBPF director with ipvsadm's command line.

    `--scheduler-file FILE` before the command, or PYLVS_SCHEDULER_FILE, names a file with schedulers of your own.
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command; click's own complaints become `UsageError`."""
    try:
        result = cli.main(list(arguments), prog_name="pylvs", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 0
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "pylvs"
        raise UsageError(error.format_message(), hint=f"`{path} --help` tells what it takes") from error
    except BrokenPipeError:
        sys.stdout = None  # nobody reads any more: nothing is to be flushed at exit
        return 0
    return result if isinstance(result, int) else 0
