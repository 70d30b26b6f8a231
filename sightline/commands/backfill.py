"""``sightline backfill MONITOR [FROM [TO]]``: windows are worked up from the shell, as by Dagster's backfill job."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

import click

from sightline.clock import utc_now
from sightline.dagster_setup import environment, prepare
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.loader import find_monitor
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import is_key

PROGRAM = "orchestration.backfill_command"
"""Runs in the place of this process: nothing of Sightline imports Dagster's side."""


@click.command()
@click.argument("monitor")
@click.argument("start", metavar="[FROM]", required=False)
@click.argument("end", metavar="[TO]", required=False)
def command(monitor: str, start: str | None, end: str | None) -> None:
    """Load what has landed and work up windows of MONITOR: aggregates, judgements, alerts and checks.

    FROM and TO are dates or windows (UTC), both included; without TO up to the newest window. Without both: all windows
    with data newer than their judgement, and those that closed or whose labels became due since.

    The runs are those of the job MONITOR__backfill and stay visible in the UI. Exit code 0: worked up; 1: a check
    failed in one of the windows; 2: a run failed.
    """
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    window_range = [] if start is None else list(range_of(spec, start, end, utc_now()))
    prepare(home)
    sys.stdout.flush()
    arguments = [sys.executable, "-m", PROGRAM, spec.id, *window_range]
    os.execve(sys.executable, arguments, environment(home))  # noqa: S606 (this Python, without a shell)


def range_of(spec: MonitorSpec, start: str, end: str | None, now: datetime) -> tuple[str, str]:
    """First and last window between two dates.

    Parameters
    ----------
    spec : MonitorSpec
    start, end : str
        Window keys, dates or moments in ISO 8601, both included; no `end`: the window of `now`.
    now : datetime
        No window after this moment exists.

    Returns
    -------
    tuple of str
        Keys of the first and the last window.

    Raises
    ------
    SightlineError
        One is no date, they are the wrong way round, or there is no window between them.
    """
    first = spec.key(_moment(spec, start, is_end=False))
    current = spec.key(now)
    last = current if end is None else min(current, spec.key(_moment(spec, end, is_end=True)))
    where = f"{spec.id} {start} {end or ''}".rstrip()
    known = spec.key(spec.first_window)
    if first < known:
        fix = f"begin with {known}, or write another `start` into monitors/{spec.id}.yaml"
        raise SightlineError(f"the windows of {spec.id} begin with {known}", where=where, fix=fix)
    if first > last:
        late = first > current
        what = f"the newest window is {current}" if late else "FROM lies after TO"
        fix = f"begin with {current} or earlier" if late else "give the earlier date first"
        raise SightlineError(what, where=where, fix=fix)
    return first, last


def _moment(spec: MonitorSpec, text: str, *, is_end: bool) -> datetime:
    """The start of a window or date; with `is_end` the last moment of a date."""
    if is_key(spec, text):
        return spec.window_start(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        example = spec.key(spec.first_window)
        fix = f"write 2026-01-31, 2026-01-31T06:00:00Z or a window such as {example}"
        raise SightlineError(f"{text!r} is no date", where=spec.id, fix=fix) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment + timedelta(days=1, microseconds=-1) if is_end and len(text) <= len("2026-01-31") else moment
