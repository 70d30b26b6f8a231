"""``sightline doctor``: what this home folder needs to run, what of it is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.home_file import EngineSettings, home_file, load_home_file
from sightline.spec.loader import load_monitor, load_monitors, monitor_files


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `error` is None where it is as it should be."""

    about: str
    state: str
    error: SightlineError | None = None


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--no-start", is_flag=True, help="Do not start a session of Spark to see whether it answers.")
def command(form: str, no_start: bool) -> None:
    """Look at what this home folder needs: its files, rights, engine. Exit code 1 if something is missing."""
    home = Home.from_env()
    found = list(_findings(home, starts=not no_start))
    if form == "json":
        rows = [{"about": f.about, "state": f.state, "error": str(f.error) if f.error else None} for f in found]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for finding in found:
            click.echo(f"{'lacks' if finding.error else 'ok':<6} {finding.about}: {finding.state}")
            if finding.error is not None:
                click.echo(f"       {finding.error}".replace("\n", "\n       "))
    sys.exit(1 if any(finding.error for finding in found) else 0)


def _findings(home: Home, *, starts: bool) -> Iterator[Finding]:
    yield Finding("python", f"{sys.version.split()[0]}, sightline {importlib.metadata.version('sightline')}")
    yield _tried("home folder", str(home.root), lambda: _writable(home))
    files = monitor_files(home)
    yield Finding("monitors", f"{len(files)} files in {home.monitors}")
    for file in files:
        yield _tried(f"monitor {file.stem}", file.name, lambda file=file: load_monitor(file))
    yield from _sources(home)
    settings: list[EngineSettings] = []
    named = home_file(home).name if home_file(home).is_file() else "by default: there is no sightline.yaml"
    yield _tried("settings", named, lambda: settings.append(load_home_file(home).engine))
    for engine in settings:
        yield from _engine(engine, starts=starts)


def _sources(home: Home) -> Iterator[Finding]:
    """Databases, stores and brokers, as they were when they were last looked at; `sightline sources` says more."""
    from sightline.lake.intake.fetching import state_of

    for spec in load_monitors(home, freeze=False)[0].values():
        for side in ("inferences", "labels"):
            if (state := state_of(spec, home.monitor(spec.id), side)) is not None:
                yield Finding(f"source {spec.id} {side}", state.place, state.error)


def _engine(settings: EngineSettings, *, starts: bool) -> Iterator[Finding]:
    if settings.kind == "duckdb":
        yield Finding("engine", f"DuckDB {importlib.metadata.version('duckdb')}")
        return
    from sightline.engines.spark import requirements, session_answers

    missing = requirements.lacking(settings)
    for error in missing:
        yield Finding("engine", f"Spark, {settings.master}", error)
    if missing:
        return
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in requirements.PACKAGES)
    yield Finding("engine", f"Spark, {settings.master}: {versions}")
    if starts:
        yield _tried("session", f"{settings.master} gives executors", lambda: session_answers(settings))


def _tried(about: str, state: str, look: Callable[[], object]) -> Finding:
    try:
        look()
    except SightlineError as error:
        return Finding(about, state, error)
    return Finding(about, state)


def _writable(home: Home) -> None:
    if not os.access(home.root, os.R_OK | os.W_OK | os.X_OK):
        fix = "give this user the right to read and write it, or set SIGHTLINE_HOME to another folder"
        raise SightlineError("the folder cannot be written to", where=str(home.root), fix=fix)
