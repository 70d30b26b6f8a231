"""How a monitor is, in one word and one sentence: the same on the overview and on its own page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from metrics_py.wording import day
from sightline.alerts.listing import operations
from sightline.dashboard.library import Library
from sightline.results.label_completion import provisional_windows
from sightline.spec.model import MonitorSpec

LEVELS = ("bad", "warn", "ok", "none")


@dataclass(frozen=True)
class Standing:
    """How a monitor is.

    Parameters
    ----------
    level : {'bad', 'warn', 'ok', 'none'}
        Somebody is needed; somebody is at it, or should look; nothing to do; nothing is known yet.
    word : str
        One word for the badge.
    reasons : tuple of str
        Why, the gravest first; empty where all is well.
    """

    level: str
    word: str
    reasons: tuple[str, ...]


def standing(library: Library, spec: MonitorSpec, now: datetime | None = None) -> Standing:
    """How a monitor is now, whatever a page shows.

    Parameters
    ----------
    library : Library
    spec : MonitorSpec
    now : datetime, optional
        Aware; default: now.

    Returns
    -------
    Standing
    """
    newest = library.newest_window(spec.id)
    if newest is None:
        return Standing("none", "no data", ("no window has been judged yet",))
    moment = (now or datetime.now(UTC)).replace(tzinfo=None)
    found = [*_incidents(library, spec), *_rules(library, spec, newest), *_operations(library, spec)]
    found += _freshness(spec, newest, moment)
    found.sort(key=lambda reason: LEVELS.index(reason[0]))
    level = found[0][0] if found else "ok"
    words = {"bad": "look", "warn": "watch", "ok": "quiet"}
    return Standing(level, words[level], tuple(text for _, text in found))


def _incidents(library: Library, spec: MonitorSpec) -> Iterator[tuple[str, str]]:
    for row in library.incidents(spec.id):
        if row["is_open"]:
            level = {"error": "bad", "warn": "warn"}.get(row["severity"], "warn")
            up = [member for member in row["members"] if member["status"] == "open"] or row["members"]
            words = up[0]["words"] if up else row["main_stream"]
            yield level, f"{row['state']} incident since {day(row['change_point'] or row['opened_at'])}: {words}"


def _rules(library: Library, spec: MonitorSpec, newest: datetime) -> Iterator[tuple[str, str]]:
    """Hard rules that are broken in the newest window."""
    rows = library.judgements(spec.id, start=newest, end=newest + spec.window)
    for row in rows.filter(status="alert").iter_rows(named=True):
        what = f"{row['column']}: {row['metric']}" if row["column"] else row["metric"]
        yield (
            "bad",
            f"{what} breaks a rule in the window of {day(newest)}" + (f": {row['reason']}" if row["reason"] else ""),
        )


def _operations(library: Library, spec: MonitorSpec) -> Iterator[tuple[str, str]]:
    for fact in operations(library.paths(spec.id)):
        if fact["is_failing"]:
            yield "bad", str(fact["words"])


def _freshness(spec: MonitorSpec, newest: datetime, now: datetime) -> Iterator[tuple[str, str]]:
    late = now - newest
    if late > spec.deadlines["judgements"] + spec.window:
        age = now - newest - spec.window
        yield "warn", f"no window since {day(newest)}, {_length(age)} ago"


def _length(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"


def maturity(library: Library, spec: MonitorSpec) -> dict[str, object]:
    """How far labels have come: the newest window whose quality is final, and how many are provisional."""
    if spec.labels is None:
        return {"has_labels": False}
    waiting = provisional_windows(library.paths(spec.id))
    judged = library.judgements(spec.id, asset="model_quality", metric="labelled_rate")
    whole = judged.filter(~judged["window_start"].is_in(list(waiting)))["window_start"].max()
    return {"has_labels": True, "final_until": whole, "n_provisional": len(waiting)}
