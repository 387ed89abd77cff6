"""pylvs sysctl: the kernel's knobs under their own names."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from pylvs.director import knob
from pylvs.director.backend import IPVS, open_director
from pylvs.director.knob import KnobValue
from pylvs.errors import InvalidKnob, UsageError
from pylvs.views import knob as view


@click.command()
@click.argument("words", metavar="[NAME[=VALUE]]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, by name.")
@click.option("-w", "write", is_flag=True, help="As sysctl(8) takes it: every word must set something.")
@click.pass_obj
def sysctl(backend: str, words: tuple[str, ...], *, as_json: bool, write: bool) -> None:
    """Show or set the knobs that the kernel has as net.ipv4.vs.*; without a NAME, all of them with what they mean.

    Names are taken with or without that prefix, as sysctl(8) writes them or as paths. Values hold from the next packet
    on, until the data plane is detached. Either all that is set is right, or nothing is changed.
    """
    names = [knob.named(word.partition("=")[0]).name for word in words]
    if write and (not words or any("=" not in word for word in words)):
        raise UsageError("-w sets, so every word must be NAME=VALUE", hint="pylvs sysctl -w drop_entry=1")
    director = open_director(backend)
    try:
        values = director.knobs()
        for name in names:
            if name not in values:
                raise InvalidKnob(f"the kernel's IPVS has no knob {name}", hint="`pylvs sysctl` lists those it has")
        changes = _changes(words, values)
        if changes:
            director.set_knobs(changes)
    finally:
        director.close()
    shown = {name: {**values, **changes}[name] for name in names or values}
    _print(shown, as_json=as_json, named=bool(names), kernel=backend == IPVS)


def _changes(words: tuple[str, ...], values: Mapping[str, KnobValue]) -> dict[str, KnobValue]:
    """What is asked for, each on top of those before it."""
    changes: dict[str, KnobValue] = {}
    for word in words:
        name, sets, text = word.partition("=")
        if sets:
            each = knob.named(name)
            changes[each.name] = knob.parsed(each, text, {**values, **changes}[each.name])
    return changes


def _print(values: dict[str, KnobValue], *, as_json: bool, named: bool, kernel: bool) -> None:
    if as_json:
        click.echo(json.dumps(view.as_fields(values, kernel=kernel), indent=2))
    elif named:
        for name, value in values.items():
            click.echo(view.line(name, value))
    else:
        view.show(values, kernel=kernel)
