"""Test suites: bounds on data quality, drift and model quality of a table, absolute or relative to a reference.

A check fails only in the direction that is worse: an improvement is never a failure. With ``judge: interval`` it fails
when the whole 95 % interval lies beyond the bound, so that a handful of rows cannot fail it by chance; an interval
across the bound is ``unclear``. With a tolerance the interval is that of the difference: the reference is a sample too
(Newcombe 1998, method 10: squared distances add). What cannot be measured is ``insufficient_data``, never a pass.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import hypot
from typing import Any, Literal, cast, get_args

import polars as pl

from metrics_py import registry
from metrics_py.comparison.compare import compare
from metrics_py.comparison.reading import NotComparable, looks_like_key
from metrics_py.comparison.tables import Table, read_table
from metrics_py.comparison.texts import with_named_descriptors
from metrics_py.profile.values import column_of
from metrics_py.quality.rows import Roles, quality_of_rows
from metrics_py.quality.table import NO_INTERVAL
from metrics_py.registry import Direction, Task
from metrics_py.results import Estimate
from metrics_py.suite.facts import COLUMN_FACTS, TABLE_FACTS, Column, Fact, column_reading
from metrics_py.suite.result import SCHEMA, SuiteResult, short
from metrics_py.suite.texts import rates_of
from metrics_py.text.window_texts import RATES

Severity = Literal["warn", "error"]
Judge = Literal["value", "interval"]
EVERY_COLUMN = "*"
Bounds = tuple[float, float]
Row = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One expectation. All given conditions must hold.

    Attributes
    ----------
    metric : str
        A fact (`row_count`, `null_rate`, ...), a drift metric (`psi`, ...) or a quality metric (`roc_auc`, ...).
    columns : tuple of str
        Columns to check one by one; ``*`` is every column that has the metric. For `duplicate_rate` the key.
    lt, le, gt, ge, eq : float, optional
        Bounds of the value.
    between : (float, float), optional
        Both ends included.
    among : tuple of float, optional
        Allowed values (``in`` in YAML).
    relative_tolerance, absolute_tolerance : float, optional
        How much worse than the reference's value it may be: as a share of it, or in units of the metric.
    direction : str, optional
        higher_is_better, lower_is_better or none (either way is worse); default: the metric's own.
    severity : {"error", "warn"}
    judge : {"value", "interval"}
    name : str
        Shown; default: made from the metric and column.
    """

    metric: str
    columns: tuple[str, ...] = ()
    lt: float | None = None
    le: float | None = None
    gt: float | None = None
    ge: float | None = None
    eq: float | None = None
    between: tuple[float, float] | None = None
    among: tuple[float, ...] | None = None
    relative_tolerance: float | None = None
    absolute_tolerance: float | None = None
    direction: Direction | None = None
    severity: Severity = "error"
    judge: Judge = "value"
    name: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("severity", Severity), ("judge", Judge), ("direction", Direction)):
            given = getattr(self, name)
            if given is not None and given not in get_args(allowed):
                raise ValueError(f"{name}: {given!r} is not one of {', '.join(get_args(allowed))}")
        conditions = (self.lt, self.le, self.gt, self.ge, self.eq, self.between, self.among)
        tolerances = (self.relative_tolerance, self.absolute_tolerance)
        if all(condition is None for condition in (*conditions, *tolerances)):
            raise ValueError("a check needs a bound (lt, le, gt, ge, eq, between, in) or a tolerance")
        if any(tolerance is not None and not tolerance >= 0 for tolerance in tolerances):
            raise ValueError("a tolerance is a number of at least 0")
        if self.between is not None and not self.between[0] <= self.between[1]:
            raise ValueError(f"between: {list(self.between)} is empty; write the smaller number first")


@dataclass(frozen=True)
class Suite:
    """Checks, and the columns that quality metrics need.

    Attributes
    ----------
    checks : tuple of Check
        In the order of the report.
    roles : Roles, optional
        Label and model output; without them there are no checks of quality.
    min_labels : int, default 100
        Fewer labelled rows: insufficient_data.
    notes : tuple of str
        What a drafted suite leaves out, and why.
    """

    checks: tuple[Check, ...]
    roles: Roles | None = None
    min_labels: int = 100
    notes: tuple[str, ...] = ()
    """What a drafted suite leaves out, and why."""


def run_suite(suite: Suite, reference: object, current: object) -> SuiteResult:
    """Check `current` against the suite; `reference` gives ranges, categories, bins and the values of tolerances.

    Parameters
    ----------
    suite : Suite
        What to check.
    reference, current : table
        As for `metrics_py.compare`.

    Returns
    -------
    SuiteResult
        One row per check and column.

    Raises
    ------
    TypeError, ValueError
        If a table cannot be read, or a check names an unknown metric or column.

    Notes
    -----
    A check fails only in the direction that is worse. With ``judge="value"`` the value itself must keep to the bounds;
    with ``judge="interval"`` the check fails where the whole 95 % interval lies beyond one, and is ``unclear`` where it
    reaches across. With a tolerance the interval is that of the difference from the reference's value: squared
    distances add. What cannot be measured is ``insufficient_data``, never a pass.

    Rows are independent in the intervals of facts and drift; those of quality allow for `Roles.entity`. Each check errs
    by itself: of many that judge by value, some fail by chance in every run. A suite judges one table; for a stream of
    windows take the alert engine.

    References
    ----------
    Newcombe (1998), Statistics in Medicine 17:873, method 10 (interval of a difference). Wilson (1927), JASA 22:209 (of
    rates).

    Examples
    --------
    One of four ages is missing:

    >>> suite = Suite((Check("null_rate", ("age",), le=0.1), Check("row_count", ge=3)))
    >>> result = run_suite(suite, {"age": [30, 40, 50]}, {"age": [30, None, 50, 45]})
    >>> [(row["check"], row["status"], row["value"]) for row in result.to_dicts()]
    [('null_rate(age)', 'fail', 0.25), ('row_count', 'pass', 4.0)]

    Of four rows that is no proof of more than 10 %:

    >>> suite = Suite((Check("null_rate", ("age",), le=0.1, judge="interval"),))
    >>> run_suite(suite, {"age": [30, 40, 50]}, {"age": [30, None, 50, 45]}).to_dicts()[0]["status"]
    'unclear'
    """
    old = read_table(reference, "reference")
    tables = with_named_descriptors(
        (old, read_table(current, "current", like=old.frame)),
        [name for check in suite.checks for name in check.columns],
    )
    for check in suite.checks:
        check_metric(check, suite.roles)
    measured = _Measured(suite, *tables)
    rows: list[Row] = []
    for check in suite.checks:
        for column in _targets(check, tables[0]):
            rows.append(_judge(check, column, measured, suite.roles))
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    for name, words in (pair for table in tables for pair in table.perhaps_cut.items()):
        told = pl.concat_str(pl.col("reason"), pl.lit(words), separator="; ", ignore_nulls=True)
        frame = frame.with_columns(reason=pl.when(column=name).then(told).otherwise("reason"))
    return SuiteResult(frame)


def known_metrics(roles: Roles | None) -> list[str]:
    """Names a check may use; quality metrics only when the columns are named.

    Parameters
    ----------
    roles : Roles or None
        Label and model output.

    Returns
    -------
    list of str
        Sorted.
    """
    quality = registry.names(cast("Task", roles.task)) if roles else ()
    return sorted({*TABLE_FACTS, *COLUMN_FACTS, *registry.names("drift"), *quality})


def check_metric(check: Check, roles: Roles | None) -> None:
    """Refuse a check that can never be evaluated.

    Parameters
    ----------
    check : Check
        What to look at.
    roles : Roles or None
        Label and model output of the suite.

    Raises
    ------
    ValueError
        Unknown metric, columns that are missing or too many, a tolerance on a distance from the reference.
    """
    names = known_metrics(roles)
    if check.metric not in names:
        close = difflib.get_close_matches(check.metric, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(names)}"
        if roles is None and _is_quality(check.metric):
            hint = "it needs `quality:` with the task and the label, score or prediction columns"
        raise ValueError(f"metric {check.metric!r} is unknown; {hint}")
    is_column = check.metric in COLUMN_FACTS or _is_drift(check.metric)
    if is_column and not check.columns:
        raise ValueError(f"metric {check.metric!r} needs `column:` (a name, or '*' for all)")
    if not is_column and check.columns and check.metric != "duplicate_rate":
        raise ValueError(f"metric {check.metric!r} is of the whole table; leave `column:` out")
    if _is_drift(check.metric) and (check.relative_tolerance, check.absolute_tolerance) != (None, None):
        raise ValueError(f"metric {check.metric!r} already compares with the reference; give a bound such as `le: 0.1`")


def _is_quality(name: str) -> bool:
    """Whether there is a quality metric of this name for any task."""
    return any(entry.name == name and entry.task not in ("drift", "custom") for entry in registry.entries())


def _is_drift(name: str) -> bool:
    return name not in COLUMN_FACTS and name in registry.names("drift")


def _targets(check: Check, reference: Table) -> list[str | None]:
    if check.metric in TABLE_FACTS or not check.columns:
        return [None]
    names: list[str] = []
    for column in check.columns:
        if column != EVERY_COLUMN:
            if column not in reference.frame.columns and column not in reference.unreadable:
                close = difflib.get_close_matches(column, reference.frame.columns, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(reference.frame.columns)}"
                raise ValueError(f"metric {check.metric!r}: the reference has no column {column!r}; {hint}")
            names.append(column)
        else:
            names += [name for name in reference.frame.columns if _has(column_of(reference.frame, name), check.metric)]
    return list(dict.fromkeys(names))


def _has(reference: pl.Series, metric: str) -> bool:
    kind = column_reading(reference).kind
    if metric in COLUMN_FACTS:
        return (kind or "other") in COLUMN_FACTS[metric].kinds
    needs = registry.get(metric, "drift").needs
    if needs in ("values", "ordered_bins"):
        return kind in ("numeric", "text", "embedding") and not looks_like_key(reference)
    comparable = kind not in (None, "datetime") and not looks_like_key(reference)
    return comparable and (kind == "boolean" or needs != "rates")


@dataclass
class _Measured:
    """Values of both tables, measured when first asked for."""

    suite: Suite
    reference: Table
    current: Table
    _quality: dict[str, dict[str, Estimate]] = field(default_factory=dict[str, dict[str, Estimate]])
    _drift: dict[tuple[str, str], Estimate] = field(default_factory=dict[tuple[str, str], Estimate])
    _texts: dict[str, dict[str, tuple[Estimate, Estimate]]] = field(
        default_factory=dict[str, "dict[str, tuple[Estimate, Estimate]]"]
    )

    def both(self, metric: str, column: str | None, key: Sequence[str]) -> tuple[Estimate, Estimate | None]:
        """The value of the current table and, unless the metric is a distance from it, of the reference."""
        if metric in TABLE_FACTS:
            return self._table(TABLE_FACTS[metric], key)
        if metric in COLUMN_FACTS:
            assert column is not None  # _targets gives one
            return self._column(COLUMN_FACTS[metric], column)
        if _is_drift(metric):
            assert column is not None
            return self._distance(metric, column), None
        return self._of_model(metric, "current"), self._of_model(metric, "reference")

    def _table(self, fact: Fact, key: Sequence[str]) -> tuple[Estimate, Estimate]:
        old, new = self.reference.frame, self.current.frame
        for name in key:
            if name not in new.columns:
                return _unknown(f"the current table has no column {name!r}"), fact.function(old, old, key)
        return fact.function(new, old, key), fact.function(old, old, key)

    def _column(self, fact: Fact, column: str) -> tuple[Estimate, Estimate]:
        for table, whose in ((self.reference, "reference"), (self.current, "current table")):
            if column in table.unreadable:
                return _unknown(f"{whose}: {table.unreadable[column]}"), _unknown("")
            if column not in table.frame.columns:
                return _unknown(f"the {whose} has no column {column!r}"), _unknown("")
        old, new = column_of(self.reference.frame, column), column_of(self.current.frame, column)
        reading = column_reading(old)
        if (reading.kind or "other") not in fact.kinds:
            return _unknown(f"a {reading.kind or old.dtype} column has no {fact.name}"), _unknown("")
        try:
            if fact.name in RATES:
                if column not in self._texts:
                    self._texts[column] = rates_of(new, old)
                return self._texts[column][fact.name]
            return fact.function(Column(new, old, reading)), fact.function(Column(old, old, reading))
        except (NotComparable, TypeError) as error:
            return _unknown(f"the type has changed: {error}"), _unknown("")

    def _distance(self, metric: str, column: str) -> Estimate:
        if (metric, column) not in self._drift:
            result = compare(
                self.reference.frame,
                self.current.frame,
                metrics=[metric],
                columns=[column],
                descriptors=(),
                words=False,
            )
            row = result.to_dicts()[0]
            is_effect = row["ci_low"] is not None or registry.get(metric, "drift").returns == "test"
            shown = row["effect"] if is_effect else row["value"]
            reason = row["reason"] if row["state"] == "insufficient_data" or shown is None else None
            status = "insufficient_data" if reason else "ok"
            found = Estimate(shown, row["ci_low"], row["ci_high"], row["n_current"], status, reason)
            self._drift[metric, column] = found
        return self._drift[metric, column]

    def _of_model(self, metric: str, which: Literal["reference", "current"]) -> Estimate:
        assert self.suite.roles is not None  # check_metric refuses it
        if which not in self._quality:
            frame = getattr(self, which).frame
            try:
                table = quality_of_rows(frame, self.suite.roles, min_labels=self.suite.min_labels)
            except ValueError as error:
                if which == "reference":
                    raise
                return _unknown(f"the current table: {str(error).removeprefix('quality_of_rows: ')}")
            self._quality[which] = {
                row["metric"]: Estimate(
                    row["value"],
                    row["ci_low"],
                    row["ci_high"],
                    row["n"] or 0,
                    "ok" if row["reason_code"] in NO_INTERVAL else row["status"],
                    row["reason"],
                    row["reason_code"],
                )
                for row in table.to_dicts()
            }
        return self._quality[which].get(metric) or _unknown("it needs a score, and none is named")


def _unknown(reason: str) -> Estimate:
    return Estimate(None, None, None, 0, "insufficient_data", reason)


def _judge(check: Check, column: str | None, measured: _Measured, roles: Roles | None) -> Row:
    """Result row of one check on one column."""
    found, before = measured.both(check.metric, column, check.columns)
    name = check.name or (f"{check.metric}({column})" if column else check.metric)
    row = {
        "check": f"{check.name} ({column})" if check.name and column and len(check.columns) != 1 else name,
        "metric": check.metric,
        "column": column,
        "severity": check.severity,
        "value": found.value,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "reference_value": before.value if before else None,
        "n": found.n,
    }
    bounds = _bounds(check, before, roles)
    if found.status != "ok" or found.value is None:
        return row | {"status": "insufficient_data", "reason": found.reason or "undefined on these rows"}
    if isinstance(bounds, str):
        return row | {"status": "insufficient_data", "reason": bounds}
    fixed, relative = bounds
    status, reason = _verdict(check, found, before, fixed, relative, roles)
    low, high = max(fixed[0], relative[0]), min(fixed[1], relative[1])
    low, high = (None if abs(b) == float("inf") else b for b in (low, high))
    return row | {"bound_low": low, "bound_high": high, "status": status, "reason": reason or found.reason}


def _bounds(check: Check, before: Estimate | None, roles: Roles | None) -> tuple[Bounds, Bounds] | str:
    """Lowest and highest allowed value: of the fixed bounds, and of the tolerances; or why there is none."""
    lows = [x for x in (check.gt, check.ge, check.eq, check.between and check.between[0]) if x is not None]
    highs = [x for x in (check.lt, check.le, check.eq, check.between and check.between[1]) if x is not None]
    fixed = max(lows, default=float("-inf")), min(highs, default=float("inf"))
    low, high = float("-inf"), float("inf")
    if (check.relative_tolerance, check.absolute_tolerance) != (None, None):
        if before is None or before.value is None:
            return f"the reference has no value to compare with: {before.reason if before else 'undefined'}"
        allowed = (check.relative_tolerance or 0) * abs(before.value) + (check.absolute_tolerance or 0)
        direction = check.direction or direction_of(check.metric, roles)
        if direction != "lower_is_better":
            low = before.value - allowed
        if direction != "higher_is_better":
            high = before.value + allowed
    return fixed, (low, high)


def direction_of(metric: str, roles: Roles | None) -> Direction:
    """Which way is better: of the fact, or of the registry's entry for the task.

    Parameters
    ----------
    metric : str
        Name of a fact, a drift metric or a quality metric.
    roles : Roles or None
        Label and model output of the suite.

    Returns
    -------
    {"higher_is_better", "lower_is_better", "none"}
        ``none``: either way is worse.

    Raises
    ------
    ValueError
        If there is no such metric.
    """
    if fact := (TABLE_FACTS.get(metric) or COLUMN_FACTS.get(metric)):
        return fact.direction
    return registry.get(metric, cast("Task", roles.task) if roles and not _is_drift(metric) else "drift").direction


def range_of(metric: str, roles: Roles | None) -> Bounds:
    """Possible values of a metric.

    Parameters
    ----------
    metric : str
        Name of a fact, a drift metric or a quality metric.
    roles : Roles or None
        Label and model output of the suite.

    Returns
    -------
    low, high : float
        Rates and shares lie between 0 and 1; other facts have no limits.

    Raises
    ------
    ValueError
        If there is no such metric.
    """
    if metric in TABLE_FACTS or metric in COLUMN_FACTS:
        return (0.0, 1.0) if metric.endswith(("_rate", "_share")) else registry.UNBOUNDED
    return registry.get(metric, cast("Task", roles.task) if roles and not _is_drift(metric) else "drift").range


def _verdict(
    check: Check, found: Estimate, before: Estimate | None, fixed: Bounds, relative: Bounds, roles: Roles | None
) -> tuple[str, str | None]:
    value, low, high = found.value, max(fixed[0], relative[0]), min(fixed[1], relative[1])
    assert value is not None  # the caller knows
    slack = 1e-12 * max(1.0, abs(value))  # decimal bounds are not exact in binary
    is_in = check.among is None or any(abs(value - allowed) <= slack for allowed in check.among)
    strict_low = check.gt is not None and value <= check.gt
    strict_high = check.lt is not None and value >= check.lt
    holds = low - slack <= value <= high + slack and is_in and not strict_low and not strict_high
    if check.judge == "interval" and found.ci_low is not None and found.ci_high is not None and is_in:
        own, beside = (found.ci_low, found.ci_high), _beside(found, before, range_of(check.metric, roles))
        return _interval_verdict([(fixed, own), (relative, beside)], slack, strict=strict_low or strict_high)
    if check.judge == "interval" and found.reason_code in NO_INTERVAL:
        return "unclear", found.reason
    if holds:
        return "pass", None
    if not is_in:
        return "fail", f"allowed: {', '.join(map(short, check.among or ()))}"
    return "fail", "below the bound" if value < low or strict_low else "above the bound"


def _interval_verdict(compared: list[tuple[Bounds, Bounds]], slack: float, *, strict: bool) -> tuple[str, str | None]:
    """Verdict of pairs of bounds and interval; `strict`: the value is on a bound that it must not touch."""
    for bounds, interval in compared:
        if interval[0] > bounds[1] + slack or interval[1] < bounds[0] - slack:
            return "fail", f"the whole interval {_spelled(interval)} is beyond the bound"
    for bounds, interval in compared:
        if strict or interval[0] < bounds[0] - slack or interval[1] > bounds[1] + slack:
            return "unclear", f"the interval {_spelled(interval)} reaches across the bound"
    return "pass", None


def _beside(found: Estimate, before: Estimate | None, limits: Bounds) -> Bounds:
    """Interval of a value beside that of the reference, which is a sample too: squared distances add."""
    assert found.value is not None and found.ci_low is not None and found.ci_high is not None  # _verdict asks before
    below, above = found.value - found.ci_low, found.ci_high - found.value
    if before is not None and before.value is not None and before.ci_low is not None and before.ci_high is not None:
        below, above = hypot(below, before.ci_high - before.value), hypot(above, before.value - before.ci_low)
    return max(found.value - below, limits[0]), min(found.value + above, limits[1])


def _spelled(interval: Bounds) -> str:
    return f"[{short(interval[0])}, {short(interval[1])}]"
