"""``sightline sources [MONITOR]``: what is fetched from elsewhere, how far, and what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from metrics_py.wording import count
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.model import MonitorSpec

SIDES = ("inferences", "labels")


@click.command()
@click.argument("monitor", required=False)
@click.option("--fetch", is_flag=True, help="Fetch what is new now; the next run loads it.")
@click.option(
    "--restart",
    type=click.Choice(SIDES),
    help="Forget how far this side of MONITOR was read: all is fetched once more, known rows count as duplicates.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(monitor: str | None, fetch: bool, restart: str | None, form: str) -> None:
    """Say how the sources of MONITOR (default: of all) are: databases, object stores, table formats and brokers.

    Exit code 1 if one of them cannot be read.
    """
    from sightline.lake.intake.fetching import fetch_all
    from sightline.spec.loader import find_monitor, load_monitors

    home = Home.from_env()
    if restart and not monitor:
        raise SightlineError("--restart needs the monitor", fix="sightline sources MONITOR --restart SIDE")
    specs = [find_monitor(home, monitor)] if monitor else list(load_monitors(home, freeze=False)[0].values())
    if restart:
        _restart(home, specs[0], restart)
    if fetch:
        for spec in specs:
            for side in SIDES:
                fetch_all(spec, home.monitor(spec.id), side, home)
    told = [_state(home, spec, side) for spec in specs for side in SIDES]
    found = [state for state in told if state]
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(line for state in found for line in _lines(state)) or "no source is fetched")
    if any(state["problem"] for state in found):
        sys.exit(1)


def _restart(home: Home, spec: MonitorSpec, side: str) -> None:
    from sightline.lake.fetch.spool import open_spool
    from sightline.lake.intake.fetching import source_of

    found = source_of(spec, side)
    if found is None:
        raise SightlineError(f"{spec.id} fetches no {side}", fix="see `sources` in its file")
    with open_spool(home.monitor(spec.id)) as spool:
        spool.restart(found.source)


def _state(home: Home, spec: MonitorSpec, side: str) -> dict[str, Any] | None:
    from sightline.lake.fetch.spool import open_spool
    from sightline.lake.intake.fetching import source_of

    found = source_of(spec, side)
    if found is None:
        return None
    with open_spool(home.monitor(spec.id), create=False) as spool:
        state = spool.state(found.source)
        n_held = spool.n_held(found.source)
    told: dict[str, Any] = {"monitor": spec.id, "side": side, "kind": found.key, "n_held": n_held}
    if state is None:
        return {**told, "place": None, "counts": {}, "fetched_at": None, "answered_at": None, "problem": None}
    known = asdict(state)
    return {**told, **{name: value for name, value in known.items() if name not in ("source", "side", "state")}}


def _lines(state: dict[str, Any]) -> Iterator[str]:
    yield f"{state['monitor']} {state['side']}: {state['place'] or state['kind']}"
    if state["answered_at"] is None and not state["problem"]:
        yield "  not looked at yet: `sightline ui` does, or `sightline sources MONITOR --fetch`"
        return
    counts = dict(state["counts"])
    rows, files = counts.pop("rows", 0), counts.pop("files", 0)
    others = "".join(f", {n:,} {name.replace('_', ' ')}" for name, n in sorted(counts.items()) if n)
    newest = f", the newest at {_moment(state['fetched_at'])}" if state["fetched_at"] else ""
    told = f"{count(rows, 'rows')} in " if rows else ""
    yield f"  {told}{count(files, 'files')} fetched{newest}{others}"
    if state["n_held"]:
        yield f"  {count(state['n_held'], 'files')} of a backlog wait until the rest of it is fetched"
    if state["answered_at"]:
        yield f"  last read without a mistake: {_moment(state['answered_at'])}"
    if state["problem"]:
        problem = state["problem"]
        yield f"  CANNOT BE READ since {_moment(state['failing_since'])}: {problem['where']}: {problem['what']}"
        yield f"  fix: {problem['fix']}"


def _moment(text: str) -> str:
    return f"{text[:19].replace('T', ' ')} UTC"
