"""pylvs bench: what a packet costs."""

from __future__ import annotations

import json
import os
import re

import click

from pylvs.bench.case import Plan
from pylvs.errors import UsageError
from pylvs.views import bench as view

_UNITS = {"": 1, "k": 1 << 10, "M": 1 << 20}
_FEWEST, _MOST = 256, 16 << 20
_USUAL, _QUICK = ("1k", "1M"), ("1k", "8k")


def _flows(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kM]?)", text)
    number = int(match[1]) * _UNITS[match[2]] if match else 0
    if not _FEWEST <= number <= _MOST or number & (number - 1):
        raise UsageError(f"--flows {text} is not a power of two from {_FEWEST} to 16M", hint="--flows 1k --flows 1M")
    return number


def _plan(flows: tuple[str, ...], rounds: int, milliseconds: float, load: float, *, zipf: bool, quick: bool) -> Plan:
    numbers = tuple(sorted({_flows(text) for text in flows or (_QUICK if quick else _USUAL)}))
    if quick:
        return Plan(numbers, 2, 0.2, load, zipf, new_slots=1 << 12, lines=1 << 12, filled_slots=1 << 12)
    return Plan(numbers, rounds, milliseconds, load, zipf)


def _cpu(_context: click.Context, _option: click.Parameter, number: int | None) -> int | None:
    if number is not None and number not in os.sched_getaffinity(0):
        raise UsageError(f"--cpu {number} is not a CPU of this process")
    return number


@click.command()
@click.option("--flows", metavar="N", multiple=True, help="How many connections, as 1k or 4M; may be repeated. [1k 1M]")
@click.option("--load", type=click.FloatRange(0.1, 0.9), default=0.5, show_default=True, help="How full the table is.")
@click.option("--zipf", is_flag=True, help="Draw the flows by Zipf's law (1.1) too, where there are most.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=9, show_default=True, help="Rounds of each.")
@click.option(
    "--milliseconds",
    type=click.FloatRange(0.1, 10000),
    default=125.0,
    show_default=True,
    help="How long a round is. An eighth of a second is one turn of the sweep.",
)
@click.option("--cpu", type=int, callback=_cpu, help="Where to measure. [the last one]")
@click.option("--quick", is_flag=True, help="Only whether everything runs: two short rounds over small tables.")
@click.option("--full", is_flag=True, help="Every method, family and kind of service, and the memory of a connection.")
@click.option("--only", metavar="WORDS", multiple=True, help="Of all these, rows with WORDS in their label.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
def bench(
    *,
    flows: tuple[str, ...],
    load: float,
    zipf: bool,
    rounds: int,
    milliseconds: float,
    cpu: int | None,
    quick: bool,
    full: bool,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Nanoseconds a packet of each hook and forwarding method, beside an empty program and the least that a DR director
    over the kernel's own LRU_HASH can do.

    It measures in namespaces of its own, so the machine's network and a running director stay as they are.
    """
    plan = _plan(flows, rounds, milliseconds, load, zipf=zipf, quick=quick).replace(full=full, only=only)
    from pylvs.bench.run import run

    with view.watching() as progress:
        report = run(plan, cpu, progress)
    if as_json:
        click.echo(json.dumps(view.as_fields(report), indent=2))
    else:
        view.show(report)
