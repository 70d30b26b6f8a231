"""``sightline history MONITOR METRIC --window KEY``: how one judgement was revised, and on which number it alerted."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
import polars as pl

from metrics_py.wording import number, numbers, percent
from sightline.alerts.raised import Raised, raised_on
from sightline.clock import utc_now
from sightline.commands.judgements import aligned
from sightline.dashboard.masking import Masking, without_values
from sightline.errors import SightlineError, nearest
from sightline.home import Home, MonitorPaths
from sightline.results.judgements import judgement_names, read_judgements
from sightline.results.tables import naive_utc
from sightline.spec.loader import find_monitor
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import is_key

TOLD = [
    "revision",
    "computed_at",
    "value",
    "ci_low",
    "ci_high",
    "naive_value",
    "maturity",
    "n",
    "status",
    "reason",
    "reason_code",
    "run_id",
]
"""Of each revision, as JSON."""
SHOWN = [name for name in TOLD if name not in ("reason", "reason_code", "run_id")]
WORDS = ("status", "alert", "reason")
"""Columns of the table that are text."""
SHOWN_NAMES = 10
SAME_TO = 1e-9
WHOLE = {"segment": "all", "model_version": "all"}


@click.command()
@click.argument("monitor")
@click.argument("metric")
@click.option("--window", "key", required=True, metavar="KEY", help="The window: 2026-01-31, hourly 2026-01-31-05.")
@click.option("--segment", help="COLUMN=VALUE; default all.")
@click.option("--model-version", help="Default all versions together.")
@click.option("--column", help="A feature, @score, @prediction or @label, where the metric has several.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(
    monitor: str,
    metric: str,
    key: str,
    segment: str | None,
    model_version: str | None,
    column: str | None,
    form: str,
) -> None:
    """Show how the judgement of METRIC in one window of MONITOR came about, the oldest revision first.

    A judgement is revised when labels or rows come late. An alert is never taken back: the revision on which one was
    raised is marked, and its number stands beside today's.
    """
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    found = history(spec, home.monitor(monitor), metric, key, segment, model_version, column)
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False, default=_moment))
        return
    _print(found)


def history(
    spec: MonitorSpec,
    paths: MonitorPaths,
    metric: str,
    key: str,
    segment: str | None = None,
    model_version: str | None = None,
    column: str | None = None,
) -> dict[str, Any]:
    """All revisions of one judgement, and the alerts raised on it.

    Parameters
    ----------
    spec, paths
        The monitor.
    metric : str
        As in the judgement table.
    key : str
        Of the window.
    segment, model_version, column : str, optional
        Default: ``all``, else the only one there is.

    Returns
    -------
    dict
        Which judgement it is, ``revisions`` (oldest first, each with the incidents in ``alerts`` that were raised on
        it) and ``alerts``: `Raised` with the ``revision`` (None if none is as old) and ``value_now``.

    Raises
    ------
    SightlineError
        The key or a name is wrong, nothing was judged there, or several judgements are meant.
    """
    start = _window_start(spec, key)
    rows = _rows(spec, paths, metric, key, start)
    where = f"{spec.id}, {metric} in window {key}"
    chosen: dict[str, str] = {}
    for name, wanted in (("segment", segment), ("model_version", model_version), ("column", column)):
        chosen[name] = _choose(rows, name, wanted, WHOLE.get(name), where)
        rows = rows.filter(pl.col(name) == chosen[name])
    revisions = rows.sort("revision").to_dicts()
    is_whole = all(chosen[name] == whole for name, whole in WHOLE.items())
    raised = raised_on(paths, metric, chosen["column"], start) if is_whole else []
    alerts = [
        {**asdict(alert), "revision": _revision_of(alert, revisions), "value_now": revisions[-1]["value"]}
        for alert in raised
    ]
    return {
        "monitor": spec.id,
        "metric": metric,
        "window": key,
        "window_start": revisions[-1]["window_start"],
        "window_end": revisions[-1]["window_end"],
        **chosen,
        "column": chosen["column"] or None,
        "revisions": [
            {
                **{name: row[name] for name in TOLD},
                "alerts": [alert["incident_id"] for alert in alerts if alert["revision"] == row["revision"]],
            }
            for row in revisions
        ],
        "alerts": alerts,
    }


# ---------------------------------------------------------------- which judgement


def _window_start(spec: MonitorSpec, key: str) -> datetime:
    """Start of a window (naive UTC) by its key, which must be one of the monitor's schedule."""
    if is_key(spec, key):
        return naive_utc(spec.window_start(key))
    fix = f"write a window's start, such as {spec.key(spec.first_window)}"
    for read in (spec.window_start, datetime.fromisoformat):
        with suppress(ValueError, OverflowError):
            fix = f"did you mean {spec.key(read(key))}?"
    raise SightlineError(f"{key!r} is no {spec.schedule} window of {spec.id}", where="--window", fix=fix)


def _rows(spec: MonitorSpec, paths: MonitorPaths, metric: str, key: str, start: datetime) -> pl.DataFrame:
    """Every revision of a metric's judgements in a window, `column` empty where there is none."""
    end = start + spec.window
    rows = read_judgements(paths, metric, start=start, end=end, latest=False)
    rows = rows.filter(pl.col("window_start") == start, pl.col("window_end") == end)  # of this schedule
    rows = without_values(rows, Masking().hidden(spec))
    if rows.is_empty():
        known = judgement_names(paths)["metric"]
        if not known:
            raise SightlineError(
                f"{spec.id} has no judgements yet", where=str(paths.results), fix=f"sightline backfill {spec.id}"
            )
        if metric not in known:
            raise SightlineError(
                f"no judgement has the metric {metric!r}", where=str(paths.results), fix=nearest(metric, known)
            )
        judged = read_judgements(paths, metric)["window_start"]
        first, last = (spec.key(moment) for moment in (judged[0], judged[-1]))
        fix = f"the judged ones lie between {first} and {last}"
        if naive_utc(spec.first_window) <= start <= naive_utc(utc_now()):
            fix += f"; `sightline backfill {spec.id} {key} {key}` works this one up"
        raise SightlineError(f"{metric} was not judged in window {key}", where=f"--window, {spec.id}", fix=fix)
    return rows.with_columns(pl.col("column").fill_null(""))


def _choose(rows: pl.DataFrame, name: str, wanted: str | None, usual: str | None, where: str) -> str:
    """The value of a column of the key that is asked for, the usual one, or the only one."""
    found = set(rows[name].unique())
    words, option = name.replace("_", " "), f"--{name.replace('_', '-')}"
    if wanted is None and usual is not None and usual in found:
        return usual
    if wanted is None and len(found) == 1:
        return found.pop()
    listed = sorted(value or "''" for value in found)
    if wanted is None:
        more = f" and {len(listed) - SHOWN_NAMES} more" if len(listed) > SHOWN_NAMES else ""
        fix = f"choose one with {option}: {', '.join(listed[:SHOWN_NAMES])}{more}"
        raise SightlineError(f"there are judgements of {len(found)} {words}s", where=where, fix=fix)
    if wanted not in found:
        raise SightlineError(
            f"there is no judgement of the {words} {wanted!r}",
            where=where,
            fix=nearest(wanted, listed, most=SHOWN_NAMES) if found != {""} else f"leave {option} out: it has none",
        )
    return wanted


def _revision_of(alert: Raised, revisions: list[dict[str, Any]]) -> int | None:
    """The revision that an alert was raised on: that of its run, else the newest that was there before."""
    same_run = [row["revision"] for row in revisions if row["run_id"] == alert.run_id]
    before = [row["revision"] for row in revisions if row["computed_at"] <= alert.written_at]
    return max(same_run or before, default=None)


# ---------------------------------------------------------------- the table


def _print(found: dict[str, Any]) -> None:
    revisions, column = found["revisions"], f" of {found['column']}" if found["column"] else ""
    parts = [f"segment {found['segment']}"] if found["segment"] != "all" else []
    parts += [f"model version {found['model_version']}"] if found["model_version"] != "all" else []
    of = f" ({', '.join(parts)})" if parts else ""
    n = f"{len(revisions)} revision{'s' if len(revisions) > 1 else ''}"
    click.echo(f"{found['monitor']}: {found['metric']}{column}{of} in window {found['window']}, {n}, times in UTC")
    click.echo(_table(revisions))
    for alert in found["alerts"]:
        click.echo(f"\n{_alert_words(alert, revisions)}")
    if parts:
        click.echo("\nAlerts are raised on all segments and versions together.")


def _table(revisions: list[dict[str, Any]]) -> str:
    """Aligned columns; those that are empty throughout are left out."""
    rows = [
        {**{name: _cell(name, row[name]) for name in SHOWN}, "alert": ", ".join(row["alerts"]), "reason": row["reason"]}
        for row in revisions
    ]
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    return aligned(names, [[row[name] or "" for name in names] for row in rows], [name not in WORDS for name in names])


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if name == "maturity":
        return percent(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _alert_words(alert: dict[str, Any], revisions: list[dict[str, Any]]) -> str:
    """``alerted on 0.71 (2026-03-04), now 0.74: ...``."""
    now = revisions[-1]
    then = next((row["value"] for row in revisions if row["revision"] == alert["revision"]), None)
    at, today = _beside(alert["value"], now["value"])
    told = f"alerted on {at} ({alert['written_at']:%Y-%m-%d}"
    if then is not None and alert["value"] is not None and not math.isclose(then, alert["value"], rel_tol=SAME_TO):
        told += f", judged {number(then)} then"
    state = f" ({now['status']})" if now["status"] == "provisional" else ""
    told += f"), now {today}{state}" if now["value"] is not None else f"), now without a value: {now['reason']}"
    gone = "; no revision is as old" if alert["revision"] is None else ""
    ended = f"ended {alert['ended_at']:%Y-%m-%d} ({alert['ended_by']})" if alert["ended_at"] else alert["status"]
    return f"{told}{gone}\n  incident {alert['incident_id']}, {ended}; {alert['stream']}"


def _beside(at: float | None, now: float | None) -> tuple[str, str]:
    """Two numbers, with more digits where they would look the same and are not."""
    if at is None or now is None or number(at) != number(now) or math.isclose(at, now, rel_tol=SAME_TO):
        return number(at), number(now)
    first, second = numbers([at, now])
    return first, second


def _moment(value: object) -> str:
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else str(value)
