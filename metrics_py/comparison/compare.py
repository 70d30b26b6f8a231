"""`compare`: how do two tables differ, column by column? No set-up, any kind of table, one tidy result.

Bins are frozen from the reference; every number comes with an interval; the verdict has three states (drift, stable,
unclear), so that few rows are never mistaken for no drift, nor many rows for drift. A column that cannot be judged is a
row with the reason.

References
----------
Benjamini & Hochberg (1995), JRSS B 57:289. Holm (1979), Scandinavian Journal of Statistics 6:65.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import polars as pl

from metrics_py.comparison.answers import checked_roles, measured, readings
from metrics_py.comparison.column_pairs import Side, make_sides, pair_column, require_column
from metrics_py.comparison.pictured import bins_of
from metrics_py.comparison.reading import (
    SAMPLE_ROWS,
    NotComparable,
    Reading,
    infer_reading,
    looks_like_key,
    read_as,
    reading_of,
    weeks_are_whole,
)
from metrics_py.comparison.result import BINS, SCHEMA, Comparison, adjusted_p_values
from metrics_py.comparison.tables import Table, read_table
from metrics_py.comparison.text_rates import text_rows
from metrics_py.comparison.texts import chosen_descriptors, described, text_columns, words_that_moved
from metrics_py.comparison.together import beside
from metrics_py.drift.methods import DEFAULT_METHODS, PSI_TOLERANCE, DriftMethod, MethodFailed, drift_method
from metrics_py.drift.pair import ColumnPair, Findings
from metrics_py.drift.words import describe_shift
from metrics_py.profile.resolution import LOSSY, is_lossy
from metrics_py.profile.texts import odd_spelling, present
from metrics_py.profile.values import category_texts, column_of, merged_spellings

Row = dict[str, Any]
SHARES_OF_ALL = ("null_rate", "not_finite_rate")
"""Metrics that do not look at the values: judged for every column."""


def compare(
    reference: object,
    current: object,
    *,
    metrics: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    by: str | None = None,
    entity: str | None = None,
    tolerance: float | Mapping[str, float] = PSI_TOLERANCE,
    kinds: Mapping[str, str] | None = None,
    bins: int = 32,
    min_rows: int = 30,
    together: bool = False,
    descriptors: Sequence[str] | None = None,
    words: bool = True,
    answers: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare two tables column by column.

    Parameters
    ----------
    reference, current : table
        Polars or pandas frame, Arrow table, DuckDB relation, mapping of columns, or the path of Parquet, CSV or NDJSON
        files.
    metrics : sequence of str, optional
        Names of drift metrics; default: PSI, and the rates of null, not finite, out-of-range and unseen values.
    columns : sequence of str, optional
        Columns to compare; default: all of both tables.
    by : str, optional
        A column of the current table: each of its values is judged by itself, against the same value in the reference
        if the reference has that column, else against the whole reference.
    entity : str, optional
        Column that says which rows belong together (user, device): they depend on each other, and intervals and tests
        allow for it.
    tolerance : float or mapping of metric name to float, default 0.1
        PSI that still counts as no drift; the other metrics use what the same shift of a normal column gives, rates
        0.05. A mapping sets single metrics (of ``psi``: all that follow from it).
    kinds : mapping of column to kind, optional
        numeric, categorical, boolean, datetime, text or embedding, where the type does not say it. A column of a CSV
        file is read as the kind that is given, else as the reference's column, else as all of its values look.
    bins : int, default 32
        Most bins of a numeric column.
    min_rows : int, default 30
        Fewer values on either side: insufficient_data.
    together : bool, default False
        Also compare the numeric columns together: rows of the column ``@features`` with the largest change of a
        correlation, and whether a classifier can tell the tables apart. Not with `by` or `metrics`.
    descriptors : sequence of str, optional
        Descriptors of text columns, each compared as a column ``<column>.<descriptor>``
        (`metrics_py.text.descriptors.DESCRIPTORS`); default: words, word_length, letter_share, digit_share, script. The
        text column itself is compared by its length, its unknown words and its copies
        (`metrics_py.comparison.text_rates`; not with `by` or `metrics`).
    words : bool, default True
        Look for the words of text columns that became more or less frequent.
    answers : mapping of role to column, optional
        Of a language model's calls (`metrics_py.comparison.answers.ROLES`; ``response`` is needed): refusals, empty and
        truncated answers, overlap and latency per token are compared as columns ``<response>.<measure>``.

    Returns
    -------
    Comparison
        See `Comparison.frame` for the columns.

    Raises
    ------
    TypeError, ValueError
        If a table cannot be read, or an option names what does not exist.

    Notes
    -----
    Bins are frozen from the reference (`metrics_py.profile.build.build_profile`), and joined until each should hold
    some ten rows of the smaller side. An effect whose whole 95 % interval lies beyond the tolerance is ``drift``,
    within it ``stable``, else ``unclear``; a column that is missing or has changed its type is ``drift``. The p-value
    is of no change at all, which no two days of a live stream fulfil: use ``q_value`` (Benjamini and Hochberg over the
    report) to rank columns, the state to decide.

    Rows are independent, or depend on each other only within `entity`. The effect of a day (a holiday, an outage) is in
    no interval: for daily windows of one stream take the alert engine, which compares a day with the stream's own past.
    Joint changes of several columns that leave each of them as it was are seen with `together` only.

    References
    ----------
    Yurdakul (2018), Western Michigan University dissertation 3208 (interval of the PSI). Benjamini & Hochberg (1995),
    JRSS B 57:289. Holm (1979), Scandinavian Journal of Statistics 6:65.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> old = {"age": rng.normal(40, 10, 3000), "plan": rng.choice(["free", "paid"], 3000)}
    >>> new = {"age": rng.normal(46, 10, 2000), "plan": rng.choice(["free", "paid"], 2000)}
    >>> result = compare(old, new, metrics=["psi"])
    >>> [(row["column"], row["state"], row["direction"]) for row in result.to_dicts()]
    [('age', 'drift', 'higher by 0.61 sd; 7.0 % more in the top bin (> 58.7167)'),
     ('plan', 'stable', 'no visible change')]
    """
    old = read_table(reference, "reference", kinds=kinds)
    new = read_table(current, "current", like=old.frame, kinds=kinds)
    roles = checked_roles(answers, old)
    given = readings(roles, old) | {name: reading_of(kind) for name, kind in (kinds or {}).items()}
    named = _listed(columns)
    texts = [name for name in text_columns(old, new, given) if name not in (by, entity)]
    if named is not None:
        texts = [name for name in texts if any(c == name or c.startswith(f"{name}.") for c in named)]
    old, new = measured(described(old, new, texts, chosen_descriptors(_listed(descriptors))), roles)
    chosen = [drift_method(name) for name in _listed(metrics) or DEFAULT_METHODS]
    tolerances = _tolerances(chosen, tolerance)
    left_out = {name for name in (by, entity) if name}
    names = _columns(old, new, _listed(columns), left_out)
    for name in given:
        require_column(name, [*old.frame.columns, *old.unreadable], "kinds")
    labels, sides = make_sides(old, new, by, entity)
    rows: list[Row] = []
    counted: list[pl.DataFrame] = []
    for name in names:
        found, pair = _judge_column(name, sides, labels, chosen, tolerances, given.get(name), bins, min_rows)
        rows += found
        counted += [] if pair is None else [bins_of(name, pair, sides, labels, found)]
    if metrics is None and by is None:
        psi = float(tolerance.get("psi", PSI_TOLERANCE) if isinstance(tolerance, Mapping) else tolerance)
        rows += beside(rows, old.frame, new.frame, psi, min_rows, joint=together)
        for name in [name for name in texts if name in names]:
            both = [column_of(table.frame, name) for table in (old, new)]
            rows += text_rows(name, both[0], both[1], min_rows, has_entity=entity is not None)
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    moved = words_that_moved(old, new, [name for name in texts if words and name in names], entity)
    heights = old.frame.height, new.frame.height
    return Comparison(adjusted_p_values(frame), *heights, moved, pl.concat([pl.DataFrame(schema=BINS), *counted]))


def _listed(names: Sequence[str] | None) -> list[str] | None:
    """Names as a list; a single one may stand alone."""
    return [names] if isinstance(names, str) else None if names is None else list(names)


def _tolerances(chosen: list[DriftMethod], given: float | Mapping[str, float]) -> dict[str, float | None]:
    single = dict(given) if isinstance(given, Mapping) else {"psi": given}
    for name, value in single.items():
        drift_method(name)
        if not isinstance(value, Real):
            raise TypeError(f"compare: tolerance {value!r} of {name} is no number; pass one such as 0.1")
        if not value > 0:
            raise ValueError(
                f"compare: tolerance {value} of {name} must be positive: no data can prove a change of nothing"
            )
    psi = float(single.get("psi", PSI_TOLERANCE))
    return {m.name: single.get(m.name, m.tolerance(psi) if m.tolerance else None) for m in chosen}


def _columns(old: Table, new: Table, wanted: Sequence[str] | None, left_out: set[str]) -> list[str]:
    known = list(dict.fromkeys([*old.frame.columns, *old.unreadable, *new.frame.columns, *new.unreadable]))
    if wanted is None:
        return [name for name in known if name not in left_out]
    for name in wanted:
        require_column(name, known, "columns")
    return list(dict.fromkeys(wanted))


class _Unjudged(Exception):
    """A column without numbers: the state it gets, and why."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state, self.reason = state, reason


def _judge_column(
    name: str,
    sides: tuple[Side, Side],
    labels: list[str],
    chosen: list[DriftMethod],
    tolerances: dict[str, float | None],
    given: Reading | None,
    bins: int,
    min_rows: int,
) -> tuple[list[Row], ColumnPair | None]:
    """Result rows of one column and its counts; what cannot be judged is one row with the reason."""
    base: Row = {"column": name}
    cut = "; ".join(side.table.perhaps_cut[name] for side in sides if name in side.table.perhaps_cut)
    try:
        reading = _reading(name, sides[0].table, sides[1].table, given)
        base["kind"] = reading.kind
        pair = _read_pair(name, reading, sides, len(labels), bins, is_given=given is not None)
        applied = [metric for metric in chosen if metric.applies_to(pair)]
        if not applied:
            names = ", ".join(metric.name for metric in chosen)
            raise _Unjudged("insufficient_data", f"none of the metrics applies to a {reading.kind} column: {names}")
    except _Unjudged as unjudged:
        rows = {"n_reference": sides[0].table.frame.height, "n_current": sides[1].table.frame.height}
        reason = "; ".join(filter(None, (unjudged.reason, cut)))
        named = {"segment": "all", "metric": chosen[0].name, "state": unjudged.state, "reason": reason}
        return [base | rows | named], None
    guessed = "" if given else _note(name, sides[0].table)
    note = "; ".join(filter(None, (guessed, _merged(name, reading, sides), cut)))
    withheld = _withheld(reading, *(column_of(side.table.frame, name) for side in sides), is_given=given is not None)
    words = [_words(pair, t, reading, rates_only=withheld is not None) for t in range(len(labels))]
    clustered = sides[1].buckets is not None
    found: list[Row] = []
    for metric in applied:
        if withheld and metric.name not in SHARES_OF_ALL:
            found += _withheld_rows(base | {"metric": metric.name}, withheld, pair, labels, words)
            continue
        try:
            findings = metric.find(pair)
        except MethodFailed as error:
            failed = ("insufficient_data", str(error))
            found += _withheld_rows(base | {"metric": metric.name}, failed, pair, labels, words)
            continue
        independent = clustered and not metric.allows_for_entities
        for t, row in enumerate(_rows(metric, findings, tolerances[metric.name], min_rows)):
            if independent and not row["reason"]:
                row["reason"] = "rows are taken as independent: this metric does not use the entity"
            found.append(base | {"metric": metric.name, "segment": labels[t], "direction": words[t]} | row)
    if note:
        found = [row | {"reason": "; ".join(filter(None, (row["reason"], note)))} for row in found]
    return found, pair


def _note(name: str, old: Table) -> str:
    """What was guessed of the reference's column, or looks like numbers or dates without being some."""
    if name in old.notes or old.frame[name].dtype != pl.String:
        return old.notes.get(name, "")
    held = present(column_of(old.frame, name).head(SAMPLE_ROWS)).drop_nulls()
    return odd_spelling(held) if held.len() else ""


def _merged(name: str, reading: Reading, sides: tuple[Side, Side]) -> str:
    """Which texts of a categorical column count as one category with others."""
    if reading.kind != "categorical":
        return ""
    texts = [column_of(side.table.frame, name) for side in sides if side.table.frame.schema[name] == pl.String]
    told = dict.fromkeys(word for each in texts for word in merged_spellings(each, category_texts(each)))
    return f"texts that count as one category: {', '.join(told)}" if told else ""


def _withheld(reading: Reading, old: pl.Series, new: pl.Series, *, is_given: bool) -> tuple[str | None, str] | None:
    """State and reason where the shares of the values tell nothing about the data."""
    if reading.kind == "numeric" and is_lossy(old, new):
        return "insufficient_data", LOSSY.format(instead="compare them as categories")
    if is_given:
        return None
    if looks_like_key(old) and looks_like_key(new):
        return None, "an identifier, different in every row: not compared unless its kind is given"
    if reading.kind == "datetime":
        for whose, times in (("reference", old), ("current", new)):
            if not weeks_are_whole(read_as(times, reading)):
                return "insufficient_data", (
                    f"the {whose} times cover neither one whole week nor 14 days: hours of the week cannot be compared"
                )
    return None


def _withheld_rows(
    base: Row, withheld: tuple[str | None, str], pair: ColumnPair, labels: list[str], words: list[str]
) -> list[Row]:
    state, reason = withheld
    rows = ((int(pair.reference[t].sum()), int(pair.current[t].sum())) for t in range(len(labels)))
    return [
        base | {"segment": label, "state": state, "reason": reason, "direction": word, "n_reference": m, "n_current": n}
        for label, word, (m, n) in zip(labels, words, rows, strict=True)
    ]


def _reading(name: str, old: Table, new: Table, given: Reading | None) -> Reading:
    """How the column is read."""
    if reason := old.unreadable.get(name) or new.unreadable.get(name):
        raise _Unjudged("insufficient_data", reason)
    if name not in old.frame.columns:
        raise _Unjudged("insufficient_data", f"the reference does not have this column{_other_spelling(name, old)}")
    reading = given or infer_reading(column_of(old.frame, name))
    if name not in new.frame.columns:
        raise _Unjudged("drift", f"the column is missing in the current table{_other_spelling(name, new)}")
    if reading.profile_kind is None:
        raise _Unjudged("insufficient_data", reading.reason)
    return reading


def _other_spelling(name: str, table: Table) -> str:
    """The same name but for case and spaces, if the table has one."""
    found = [other for other in table.frame.columns if other.strip().casefold() == name.strip().casefold()]
    return f"; it has {found[0]!r}" if found else ""


def _read_pair(
    name: str, reading: Reading, sides: tuple[Side, Side], n_groups: int, bins: int, *, is_given: bool
) -> ColumnPair:
    """Both columns in the bins of the reference."""
    assert reading.profile_kind is not None  # _reading refuses it
    try:
        reference = read_as(column_of(sides[0].table.frame, name), reading)
    except NotComparable as error:
        if is_given:
            dtype = sides[0].table.frame[name].dtype
            raise ValueError(f"compare: kinds: {name!r} of type {dtype} cannot be read as {reading.kind}") from error
        raise _Unjudged("insufficient_data", f"the reference cannot be read: {error}") from error
    try:
        current = read_as(column_of(sides[1].table.frame, name), reading)
        return pair_column(name, reading.profile_kind, (reference, current), sides, n_groups, bins)
    except (NotComparable, TypeError) as error:
        raise _Unjudged("drift", f"the type has changed: {error}") from error


def _words(pair: ColumnPair, t: int, reading: Reading, *, rates_only: bool) -> str:
    profile = replace(pair.profile, n_reference=np.array(pair.reference[t]))
    words = describe_shift(profile, pair.current[t], rates_only=rates_only)
    measured = {"text": "length", "embedding": "norm"}.get(str(reading.kind))
    return f"{measured}: {words}" if measured else words


def _rows(metric: DriftMethod, findings: Findings, tolerance: float | None, min_rows: int) -> Iterator[Row]:
    """Result fields of one metric, group by group."""
    for t in range(len(findings.value)):
        numbers: Row = {
            name: _number(getattr(findings, name)[t]) for name in ("value", "p_value", "effect", "ci_low", "ci_high")
        }
        m, n = int(findings.n_reference[t]), int(findings.n_current[t])
        reason = findings.reasons[t] if findings.reasons else None
        state: str | None = "insufficient_data"
        low, high = numbers["ci_low"], numbers["ci_high"]
        if min(m, n) < min_rows:
            side, rows = ("reference", m) if m <= n else ("current", n)
            reason = f"{rows} {side} values, {min_rows} needed" if rows else f"no {side} values"
        elif numbers["value"] is None and numbers["effect"] is None:
            reason = reason or "the metric is undefined on these values"
        elif tolerance is None:
            state, reason = None, reason or "a number without a verdict: this metric has no interval or no tolerance"
        elif low is None or high is None:
            reason = reason or "no interval: too few rows, or all of a few entities"
        else:
            state = _state(low - metric.no_change, high - metric.no_change, tolerance)
        yield numbers | {
            "tolerance": tolerance,
            "state": state,
            "n_reference": m,
            "n_current": n,
            "reason": reason,
        }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _state(low: float, high: float, tolerance: float) -> str:
    """Whether the change is beyond the tolerance in either direction, within it, or one cannot tell."""
    if low > tolerance or high < -tolerance:
        return "drift"
    return "stable" if -tolerance < low and high < tolerance else "unclear"
