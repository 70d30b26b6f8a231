"""Candidates beside the champion: what was found of each version that was evaluated, and what waits for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from sightline.dashboard.charts.chart import shown
from sightline.dashboard.library import ALL, NotFoundError, folder_state, state_of
from sightline.dashboard.pages.page import Subject, primary
from sightline.evaluation.landed import candidates, kept_files, read_kept
from sightline.evaluation.spelling import OUTCOMES
from sightline.home import MonitorPaths

MOST_READ, MOST_SHOWN = 400, 30
"""Kept evaluations that are read, the newest of all versions, and versions that are shown."""
DAY = timedelta(days=1)
LEVELS = {"superior": "ok", "non_inferior": "ok", "inferior": "bad", "cannot_tell": "none"}
WORDS = {
    **{outcome: (LEVELS[outcome], words) for outcome, words in OUTCOMES.items()},
    None: ("none", "not compared yet"),
}
"""Outcome -> how its badge looks, and its words."""
HOW = {
    "paired": "the same rows",
    "unpaired": "other rows than the champion's",
    "live": "rows of the same days, live in production",
}
CARD = "evaluation.html"
CARD_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; sandbox"
"""A kept page has a style sheet inside, whose hash its own policy names, and no script."""


def roles(subject: Subject) -> dict[str, str]:
    """What each version of the log is now: ``champion``, ``in production``, ``shadow`` or ``retired``.

    The champion is the version that answered most rows of the newest day (or window, where that is longer); one that
    answered no row of that time is retired.
    """
    spec = subject.spec
    rows = subject.library.judgements(spec.id, metric="n_rows", asset="data_quality", version=None)
    rows = rows.filter(pl.col("model_version") != ALL, pl.col("value") > 0)
    used = rows
    for version, end in spec.shadow_ends.items():
        is_other = pl.col("model_version") != version
        begin = None if end is None else spec.floor(end).astimezone(UTC).replace(tzinfo=None)
        used = used.filter(is_other if begin is None else is_other | (pl.col("window_start") >= begin))
    found = dict.fromkeys(rows["model_version"].unique().to_list(), "retired")
    newest = used["window_start"].max()
    if isinstance(newest, datetime):
        recent = used.filter(pl.col("window_start") > newest - max(spec.window, DAY))
        ranked = recent.group_by("model_version").agg(pl.col("value").sum()).sort("value", "model_version")
        found |= dict.fromkeys(ranked["model_version"].to_list(), "in production")
        found[ranked["model_version"][-1]] = "champion"
    never_used = set(found) - set(used["model_version"].to_list())
    return found | dict.fromkeys(never_used, "shadow")


def evaluated(subject: Subject, role: Mapping[str, str]) -> list[dict[str, Any]]:
    """The newest evaluation of each version, whatever the shown time; then versions that wait for one."""
    library, paths = subject.library, subject.library.paths(subject.spec.id)
    found: dict[str, dict[str, Any]] = {}
    for file in kept_files(paths)[:MOST_READ]:
        state = state_of([file, file.with_suffix(".html")])
        told = library.kept(("evaluation", file), state, lambda file=file: _summary(paths, file))
        version = told["version"]
        if version in found:
            found[version]["n_earlier"] += 1
        else:
            found[version] = {**told, "role": role.get(version, "candidate"), "n_earlier": 0}
    if library.masking.names & set(subject.spec.columns.features):  # the page was written before anybody named them
        found = {name: {**row, "card": None} for name, row in found.items()}
    waiting = [row for row in _waiting(subject, role) if row["version"] not in found]
    return [*list(found.values())[:MOST_SHOWN], *waiting[:MOST_SHOWN]]


def _summary(paths: MonitorPaths, file: Path) -> dict[str, Any]:
    """What the page shows of a kept evaluation."""
    told = read_kept(paths, file)
    metric = told.get("primary")
    whole = [row for row in told.get("metrics", ()) if row["segment"] == "all"]
    first: Mapping[str, Any] = next((row for row in whole if row["metric"] == metric), dict[str, Any]())
    criteria = [_criterion(each) for each in told.get("criteria", ())]
    own: Mapping[str, Any] = next((each for each in criteria if each["name"] == metric), dict[str, Any]())
    how = told.get("how")
    windows: Sequence[str] = told.get("windows", ())
    of = f"{windows[0]} to {windows[-1]}" if windows else told.get("candidate")
    return {
        "version": str(told["version"]),
        "outcome": told["outcome"],
        "may_promote": bool(told["may_promote"]),
        "reason": told["reason"],
        "metric": metric,
        "champion": told.get("champion"),
        "value": first.get("challenger"),
        "champion_value": first.get("champion"),
        "difference": own.get("difference"),
        "ci_low": own.get("ci_low"),
        "ci_high": own.get("ci_high"),
        "shown": own.get("shown", "–"),
        "shown_interval": own.get("shown_interval", ""),
        "n": own.get("n"),
        "more_rows": told.get("more_rows"),
        "set": of,
        "how": None if how is None else HOW.get(how, how),
        "is_live": how == "live",
        "evaluated_at": datetime.fromisoformat(told["evaluated_at"]).replace(tzinfo=None),
        "criteria": criteria,
        "card": file.stem if "page" in told else None,
    }


def _criterion(each: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "outcome", "margin", "difference", "ci_low", "ci_high", "n", "reason")
    value, low, high = (each[name] for name in ("difference", "ci_low", "ci_high"))
    return {
        **{name: each[name] for name in names},
        "shown": "–" if value is None else f"{value:+.4g}",
        "shown_interval": "" if low is None or high is None else f"{low:+.3g} to {high:+.3g}",
        "word": WORDS[each["outcome"]][1],
        "shown_margin": shown(each["margin"]),
    }


def _waiting(subject: Subject, role: Mapping[str, str]) -> list[dict[str, Any]]:
    """Shadows, and sets that have landed, of which no evaluation was kept."""
    monitor, paths = subject.spec.id, subject.library.paths(subject.spec.id)
    landed = paths.landing_candidates
    there, refused = subject.library.kept(("landed", monitor), folder_state(landed, ""), lambda: candidates(paths))
    reasons = {each.version: "its set has landed and was not evaluated yet" for each in there}
    reasons |= {name: f"its set cannot be read: {why}" for name, why in refused.items()}
    for version, told in role.items():
        if told == "shadow":
            reasons.setdefault(
                version, f"to compare it: sightline evaluate {monitor} --version {shlex.quote(version)} --live --keep"
            )
    if primary(subject.spec) is None:
        reasons = {}
    nothing = dict.fromkeys(
        ("outcome", "metric", "champion", "value", "champion_value", "difference", "ci_low", "ci_high", "n")
    )
    nothing |= dict.fromkeys(("more_rows", "set", "how", "evaluated_at", "card"))
    more: dict[str, Any] = {
        "may_promote": False,
        "shown": "–",
        "shown_interval": "",
        "is_live": False,
        "criteria": [],
        "n_earlier": 0,
    }
    return [
        {**nothing, **more, "version": version, "reason": why, "role": role.get(version, "candidate")}
        for version, why in sorted(reasons.items())
    ]


def card_of(subject: Subject, name: str) -> bytes:
    """The page that was kept with an evaluation.

    Raises
    ------
    NotFoundError
        None of this name was kept, or it may hold values of columns whose values are not shown.
    """
    paths = subject.library.paths(subject.spec.id)
    is_masked = bool(subject.library.masking.names & set(subject.spec.columns.features))
    for file in [] if is_masked else kept_files(paths):
        page = file.with_suffix(".html")
        if file.stem == name and page.is_file():
            return page.read_bytes()
    raise NotFoundError("there is no such page of an evaluation", fix="see the page Versions for those there are")
