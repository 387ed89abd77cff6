"""pylvs drops: what was dropped, why, and what to do about it."""

from __future__ import annotations

import json

import click

from pylvs.director.ebpf import control
from pylvs.views import drops as view


@click.command()
@click.option("--all", "everything", is_flag=True, help="The reasons that have not happened, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, by reason; always all of them.")
def drops(*, everything: bool, as_json: bool) -> None:
    """How many packets were dropped since the data plane was loaded: the reason, its meaning, and what to do.

    The most frequent reason comes first. docs/drops.md has the same as a page; `pylvs watch --only dropped` shows the
    packets as they are dropped.
    """
    counts = control.drops()
    if as_json:
        click.echo(json.dumps(view.as_fields(counts), indent=2))
    else:
        view.show(counts, everything=everything)
