"""Every command but `ipvsadm`. A command's module is imported when the command is used."""

from __future__ import annotations

import importlib
import sys

import click

from pylvs import __version__
from pylvs.director.backend import BACKENDS, EBPF, IPVS, OPTION, VARIABLE
from pylvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "attach": ("pylvs.cli.control:attach", "Load the data plane and attach it to interfaces."),
    "bench": ("pylvs.cli.bench:bench", "Measure the data plane, packet by packet, beside its yardsticks."),
    "connections": ("pylvs.cli.connections:connections", "Show the connections, or end some of them."),
    "demo": ("pylvs.cli.demo:demo", "Show each forwarding method at work in network namespaces."),
    "detach": ("pylvs.cli.control:detach", "Take the data plane away, with its services and connections."),
    "drops": ("pylvs.cli.drops:drops", "How many packets were dropped, why, and what to do about it."),
    "ipvsadm": ("pylvs.cli.control:ipvsadm", "ipvsadm's own command line (see `pylvs ipvsadm -h`)."),
    "ipvsadm-restore": ("pylvs.cli.control:ipvsadm", "The script of this name: the table becomes standard input's."),
    "ipvsadm-save": ("pylvs.cli.control:ipvsadm", "The script of this name: the table on standard output (-n)."),
    "lab": ("pylvs.cli.lab:lab", "A director, real servers and a client in network namespaces."),
    "migrate": ("pylvs.cli.migrate:migrate", "Take the table over into the other backend: the kernel's IPVS, or eBPF."),
    "realserver": ("pylvs.cli.realserver:realserver", "Make this host a real server of LVS-DR or LVS-TUN."),
    "shim": ("pylvs.cli.shim:shim", "Put ipvsadm, ipvsadm-save and ipvsadm-restore on the PATH, by these names."),
    "sysctl": ("pylvs.cli.sysctl:sysctl", "Show or set the knobs that the kernel has as net.ipv4.vs.*."),
    "systemd": ("pylvs.cli.systemd:systemd", "Attach and load the rules at boot."),
    "watch": ("pylvs.cli.watch:watch", "Connections that begin and end, and drops, as they happen."),
    "upgrade": ("pylvs.cli.control:upgrade", "Swap the programs under live traffic for this pylvs's."),
}

_FOR_ANY_BACKEND = {"ipvsadm", "ipvsadm-restore", "ipvsadm-save", "migrate", "realserver", "shim", "sysctl"}


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        asks_for_help = bool({"-h", "--help"}.intersection(rest))
        if ctx.obj == IPVS and name not in _FOR_ANY_BACKEND and not asks_for_help:
            raise UsageError(
                f"pylvs {name} is for the eBPF data plane, and the backend is the kernel's IPVS",
                hint=f"pylvs {OPTION} {EBPF} {name} ({OPTION} or {VARIABLE} says otherwise)",
            )
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


def _only_first(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    """That one never gets here."""
    if value is not None:
        raise UsageError(f"{OPTION} is given once, before everything else")


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="pylvs")
@click.option(
    OPTION,
    type=click.Choice(BACKENDS),
    expose_value=False,
    callback=_only_first,
    help=f"Whose table: pylvs's own data plane's, or that of the kernel's IPVS. It comes first. [ebpf, or ${VARIABLE}]",
)
def cli() -> None:
    """A complete Linux Virtual Server: an eBPF director with ipvsadm's command line.

    `--scheduler-file FILE` before the command, or PYLVS_SCHEDULER_FILE, names a file with schedulers of your own.
    """


def run(arguments: Sequence[str], backend: str = EBPF) -> int:
    """Run a command on a backend (`ctx.obj`); click's own complaints become `UsageError`."""
    try:
        result = cli.main(list(arguments), prog_name="pylvs", standalone_mode=False, obj=backend)
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
