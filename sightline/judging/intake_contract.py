"""The contract of what lands: refused files and rows by window, and values that could not be read.

A window whose rows were all refused stops there; one in which a column has another type than its kind allows fails.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl

from metrics_py.wording import count
from sightline.home import Home, MonitorPaths
from sightline.judging.verdicts import Verdict
from sightline.lake.fetch.spool import SourceState
from sightline.lake.intake.fetching import state_of
from sightline.lake.intake.sources import lies_there
from sightline.lake.store.ledger import Ledger, open_ledger
from sightline.lake.store.parts import recover_if_needed, scan_parts, window_starts
from sightline.lake.store.progress import open_progress
from sightline.lake.store.schema import QUARANTINE_SCHEMA
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import PlannedCheck

SHOWN_REASONS = 5
SHOWN_FILES = 3
SHOWN_COLUMNS = 5
WRONG_TYPE = "bad_type"
"""Reason of values that are not of the kind of their column."""
REPEATED = "duplicate"
"""Reason of rows that are known already with the same content: nothing is lost, but somebody sent them twice."""
CONTRADICTING = "conflicting_duplicate"
"""Reason of rows whose id is known already with other content."""


@dataclass
class NotTaken:
    """What intake left out of one window.

    Attributes
    ----------
    rows : dict of str to int
        Reason -> rows.
    values : dict of tuple of str to tuple of int and str
        Column and reason -> values of accepted rows that became missing, and one of them.
    files : dict of str to str
        Path of a file refused as a whole that still lies there -> reason and message.
    contradicting : list of str
        Paths of files that brought nothing new and contradict what is loaded: corrected files dropped again.
    """

    rows: dict[str, int] = field(default_factory=dict[str, int])
    values: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict[tuple[str, str], tuple[int, str]])
    files: dict[str, str] = field(default_factory=dict[str, str])
    contradicting: list[str] = field(default_factory=list[str])


def intake_verdicts(
    spec: MonitorSpec, paths: MonitorPaths, asset: str, checks: Sequence[PlannedCheck], keys: Sequence[str]
) -> Iterator[tuple[PlannedCheck, str, Verdict]]:
    """Verdicts of the check ``contract`` on `inferences` or `labels`."""
    left_out = not_taken(spec, paths, asset, keys)
    with open_progress(paths.ledger) as progress:
        accepted = progress.rows(asset, keys)
    source = state_of(spec, paths, asset)
    for check in checks:
        for key in keys:
            verdict = _verdict(spec, asset, accepted.get(key, 0), left_out.get(key, NotTaken()))
            yield check, key, _with_source(verdict, source, spec.window_start(key) + spec.window)


def _with_source(verdict: Verdict, source: SourceState | None, end: datetime) -> Verdict:
    """A window that ends after its source could last be read may lack rows: that is no `ok`."""
    if source is None or source.error is None or source.failing_since is None:
        return verdict
    if end <= datetime.fromisoformat(source.failing_since):
        return verdict
    since = f"{source.failing_since[:16].replace('T', ' ')} UTC"
    facts = {**verdict.facts, "source": source.place, "cannot be read since": since, "why": source.error.what}
    facts["what to do"] = source.error.fix or facts.get("what to do", "")
    told = f"Rows may be missing: its source could not be read since {since} ({source.error.what}). {verdict.text}"
    return replace(verdict, level="warn" if verdict.level == "ok" else verdict.level, text=told, facts=facts)


def _verdict(spec: MonitorSpec, asset: str, n_accepted: int, left_out: NotTaken) -> Verdict:
    """A refused file fails the window; it stops what is built on it only if nothing else was accepted."""
    reasons = dict(left_out.rows)
    n_repeated = reasons.pop(REPEATED, 0)
    n_refused = sum(reasons.values())
    facts: dict[str, Any] = {"rows accepted": n_accepted, "rows refused": n_refused}
    facts |= {"rows repeated": n_repeated} if n_repeated else {}
    worst = sorted(reasons.items(), key=lambda item: -item[1])[:SHOWN_REASONS]
    if worst:
        facts["reasons"] = ", ".join(f"{reason} ({n})" for reason, n in worst)
    counts = f"{count(n_accepted, 'rows')} accepted, {n_refused:,} refused"
    counts += f", {n_repeated} repeated (known already, left out)" if n_repeated else ""
    unread = _unread(spec, left_out)
    if unread:
        facts["values read as missing"] = "; ".join(unread)
        rest = f" and {len(unread) - SHOWN_COLUMNS} more" if len(unread) > SHOWN_COLUMNS else ""
        counts += f"; values read as missing: {'; '.join(unread[:SHOWN_COLUMNS])}{rest}"
    if left_out.files:
        facts["files refused"] = "; ".join(f"{path}: {why}" for path, why in left_out.files.items())
        facts["what to do"] = (
            "Mend the file, or the columns in the monitor's file, and drop it again under the same name; "
            "or take it out of the folder."
        )
        told = "; ".join(f"{path}: {why}" for path, why in list(left_out.files.items())[:SHOWN_FILES])
        n = len(left_out.files)
        what = "A file was refused as a whole" if n == 1 else f"{n} files were refused as a whole"
        return Verdict("error", f"{what}: {told}. {counts}.", facts, stops=not n_accepted, cause="rule")
    if n_refused and not n_accepted:
        facts["what to do"] = f"Read data/{spec.id}/quarantine, mend the sender, and land the corrected file."
        return Verdict("error", f"All {n_refused} rows were refused: {worst[0][0]}.", facts, cause="rule")
    worst_of = left_out.values.items()
    changed = [column for (column, why), (n, _) in worst_of if why == WRONG_TYPE and n >= n_accepted > 0]
    if changed:
        facts["what to do"] = (
            f"Send values of the kind that monitors/{spec.id}.yaml names, or name another kind; "
            f"then `sightline reload {spec.id} FILE`."
        )
        names = ", ".join(sorted(changed))
        text = f"Not one value of {names} has the type of its kind. {counts}."
        return Verdict("error", text, facts, stops=False, cause="rule")
    if left_out.contradicting:
        names = " ".join(map(shlex.quote, left_out.contradicting))
        command = f"sightline reload {spec.id} --replace {names}"
        facts["what to do"] = f"To let the corrected file take the place of the rows loaded before: `{command}`"
        return Verdict("warn", f"{counts}: {names} contradicts rows loaded before, which stay. {command}", facts)
    nothing = "No labels came: " if asset == "labels" and not n_accepted else ""
    return Verdict("ok", f"{nothing}{counts}.", facts)


def _unread(spec: MonitorSpec, left_out: NotTaken) -> list[str]:
    """Values that became missing, most first: column, how many, why, and one of them, unless it is personal."""
    worst = sorted(left_out.values.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        f"{column} {n} ({reason}{'' if spec.columns.is_personal(column) else f', such as {value!r}'})"
        for (column, reason), (n, value) in worst
    ]


def not_taken(spec: MonitorSpec, paths: MonitorPaths, kind: str, keys: Sequence[str]) -> dict[str, NotTaken]:
    """Window key -> what intake left out of it.

    Rows without a usable time count in the window in which they arrived. A file refused as a whole counts until it is
    loaded, loaded in a later state, or taken away.
    """
    recover_if_needed(paths)
    kinds = ["inferences", "rejected"] if kind == "inferences" else [kind]
    wanted = {spec.window_start(key).replace(tzinfo=None): key for key in keys}
    start = pl.coalesce("window_start", window_starts(pl.col("received_at"), spec)).alias("window_start")
    with open_ledger(paths.ledger, create=False) as ledger:
        files = [paths.root / part.path for part in ledger.parts("quarantine")]
        rows = (
            scan_parts(files, QUARANTINE_SCHEMA)
            .filter(pl.col("kind").is_in(kinds), pl.col("severity").is_in(["row", "file", "value"]))
            .select(start, "severity", "reason", "batch_id", "source", "payload", "column", "value")
            .filter(pl.col("window_start").is_in(list(wanted)))
            .collect()
        )
        found: dict[str, NotTaken] = {}
        counted = rows.filter(pl.col("severity") == "row").group_by("window_start", "reason").len()
        for moment, reason, n in counted.iter_rows():
            found.setdefault(wanted[moment], NotTaken()).rows[reason] = n
        values = rows.filter(pl.col("severity") == "value").group_by("window_start", "column", "reason")
        for moment, column, reason, n, value in values.agg(pl.len(), pl.col("value").drop_nulls().min()).iter_rows():
            found.setdefault(wanted[moment], NotTaken()).values[column or "", reason] = (n, value or "")
        _add_files(paths, ledger, rows.filter(pl.col("severity") == "file"), wanted, found)
        _add_contradicting(ledger, rows.filter(pl.col("reason") == CONTRADICTING), wanted, found)
    return found


def _add_files(
    paths: MonitorPaths, ledger: Ledger, rows: pl.DataFrame, wanted: dict[Any, str], found: dict[str, NotTaken]
) -> None:
    """Files whose newest state in the ledger is a refusal, and which still lie there."""
    refused = ledger.refused()
    for row in rows.sort("source").iter_rows(named=True):
        path = refused.get(row["batch_id"])
        if path is not None and lies_there(Home(paths.home), path):
            found.setdefault(wanted[row["window_start"]], NotTaken()).files[path] = (
                f"{row['reason']} ({row['payload']})"
            )


def _add_contradicting(ledger: Ledger, rows: pl.DataFrame, wanted: dict[Any, str], found: dict[str, NotTaken]) -> None:
    empty = ledger.without_news(rows["batch_id"].unique().to_list())
    for moment, batch_id in rows.select("window_start", "batch_id").unique().sort("batch_id").iter_rows():
        if batch_id in empty:
            named = found.setdefault(wanted[moment], NotTaken()).contradicting
            named += [empty[batch_id]] if empty[batch_id] not in named else []
