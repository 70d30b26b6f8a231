"""Fetch what a monitor's sources elsewhere hold, before it is loaded."""

from __future__ import annotations

from collections.abc import Collection

from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.fetch.reading import Needs, Reader
from sightline.lake.fetch.run import Fetched, Named, columns_of, fetch, named, open_reader
from sightline.lake.fetch.spool import SourceState, open_spool
from sightline.lake.intake.roles import roles
from sightline.spec.model import MonitorSpec


def source_of(spec: MonitorSpec, side: str) -> Named | None:
    """The source of ``inferences`` or ``labels`` that is fetched; None if there is none."""
    return named(side, spec.sources.inferences if side == "inferences" else spec.sources.labels)


def fetch_new(spec: MonitorSpec, paths: MonitorPaths, side: str, home: Home, *, waits: bool = True) -> Fetched | None:
    """Fetch what is new, as much as one look reads.

    Parameters
    ----------
    spec, paths, home
        The monitor and its folders.
    side : str
        ``inferences`` or ``labels``.
    waits : bool
        As of `sightline.lake.fetch.run.fetch`.

    Returns
    -------
    Fetched or None
        None if nothing is to be fetched. A source that cannot be read is no error: it is told in `Fetched.problem`.
    """
    found = source_of(spec, side)
    if found is None:
        return None
    return fetch(found, spec.id, paths, home, _needs(spec, side, found), waits=waits)


def fetch_all(spec: MonitorSpec, paths: MonitorPaths, side: str, home: Home) -> Fetched | None:
    """The same until nothing more is there, the source cannot be read, or another process reads it."""
    while (found := fetch_new(spec, paths, side, home)) is not None:
        if found.is_done or found.is_busy or found.problem is not None:
            return found
    return None


def state_of(spec: MonitorSpec, paths: MonitorPaths, side: str) -> SourceState | None:
    """How the source of a side is; None if nothing is to be fetched, or it was never looked at."""
    found = source_of(spec, side)
    if found is None:
        return None
    with open_spool(paths, create=False) as spool:
        return spool.state(found.source)


def reader_of(spec: MonitorSpec, side: str, home: Home) -> tuple[Named, Reader] | None:
    """The reader of a source, for a look at its columns.

    Raises
    ------
    SightlineError
        A package or a secret is missing.
    """
    found = source_of(spec, side)
    return None if found is None else (found, open_reader(found, spec.id, home, _needs(spec, side, found)))


def columns_found(spec: MonitorSpec, side: str, home: Home) -> tuple[str, dict[str, str]] | None:
    """Place of a source, and the columns it has now with their types; None if nothing is to be fetched.

    Raises
    ------
    SightlineError
        It cannot be read, or lacks a column that the monitor needs.
    """
    opened = reader_of(spec, side, home)
    if opened is None:
        return None
    found, reader = opened
    columns = columns_of(found, reader, spec.id)
    if columns:  # an empty store or topic has none yet
        _needs(spec, side, found)(columns)
    return reader.place, columns


def _needs(spec: MonitorSpec, side: str, found: Named) -> Needs:
    """Refuses a table without the columns that are required: its cursor stays where it is until they are there."""

    def check(columns: Collection[str]) -> None:
        lacking = [role.column for role in roles(spec, side) if role.is_lacking(columns)]
        if not lacking:
            return
        told, listed = " and ".join(map(repr, lacking)), ", ".join(map(repr, list(columns)[:50]))
        raise SightlineError(
            f"there is no column {told}; the table has {listed}",
            where=f"{spec.id}: sources.{side}.{found.key}",
            fix="name the column as it is now in the monitor's file, or give it back its name: it is read on from here",
        )

    return check
