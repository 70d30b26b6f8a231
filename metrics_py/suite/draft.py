"""A first test suite from a reference table: bounds that data like the reference pass, and broken data do not.

Rates are bounded with room for noise and judged by their interval, so that a fresh sample of the same data does not
fail: the share of values outside the range of m reference values is Beta(2, m - 1) without any change, and that of the
values not seen before follows from those seen once. Nothing is asked of a column that chance can break: that a rare
flag occurs, that prices differ from row to row.

References
----------
Wilks (1942), Annals of Mathematical Statistics 13:400 (coverage of a sample's range).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import polars as pl
from scipy.special import betaincinv

from metrics_py import registry
from metrics_py.comparison.reading import infer_reading, looks_like_key
from metrics_py.comparison.tables import read_table
from metrics_py.comparison.texts import with_default_descriptors
from metrics_py.drift.methods import PSI_TOLERANCE, RATE_TOLERANCE
from metrics_py.profile.values import categories_of, column_of
from metrics_py.quality.rows import Roles, classes_of
from metrics_py.registry import Task
from metrics_py.suite.checks import Check, Suite, run_suite
from metrics_py.suite.together import area_bound

RARE = 0.01
ROOM = 0.05
NULL_ROOM = 0.25
OUTSIDE = 0.02
FLAG_ROOM, FLAG_SHARE = 0.02, 0.25
"""How far the rate of a rare value may move: in itself, and as a share of it."""

FALSE_ALARM = 1e-4
COMMON = 0.8
MIN_KEY_ROWS = 20
QUALITY = {
    "binary_classification": ("roc_auc", "log_loss", "brier", "f1", "accuracy"),
    "multiclass_classification": ("accuracy", "f1_macro", "log_loss"),
    "regression": ("mae", "rmse"),
    "ranking": ("ndcg", "mrr"),
    "text_generation": (),
}


def draft_suite(reference: object, roles: Roles | None = None) -> Suite:
    """Write a suite that the reference, and data like it, pass.

    Parameters
    ----------
    reference : table
        As for `metrics_py.compare`.
    roles : Roles, optional
        Label and model output, for checks of quality.

    Returns
    -------
    Suite
        Columns, rows, duplicates of key columns, missing, not finite, out-of-range and unseen values, constants, rates
        of flags, unknown words and copies of texts, drift (of vectors by a classifier) and, with `roles`, model quality
        relative to the reference.
        `Suite.notes` say what the
        reference itself cannot give.

    Raises
    ------
    TypeError, ValueError
        If the table cannot be read, a column of `roles` is missing, or the labels never hold the positive class.

    Notes
    -----
    Rates are bounded with room for noise and judged by their interval: the share outside the range of m reference
    values is Beta(2, m - 1) without any change, and its bound is exceeded with a probability of 1e-4; the bound of
    unseen categories follows from those seen once. PSI is bounded by 0.1, quality by 5 % worse than the reference. Of a
    column in which one value has 80 % or more of the rows the rate of all others may move by 0.02 and a quarter of
    itself, up or down: the PSI hardly sees a flag that goes from 3 % to 12 % of 500 rows.

    The reference is taken for good: a fault in it becomes part of the bounds. A draft is to be read and tightened by
    someone who knows the data; it asks nothing that chance can break, so it lets small faults pass.

    References
    ----------
    Wilks (1942), Annals of Mathematical Statistics 13:400 (range). Good (1953), Biometrika 40:237 (unseen categories).

    Examples
    --------
    >>> suite = draft_suite({"customer_id": list(range(40)), "plan": ["free", "paid"] * 20})
    >>> [(check.metric, check.columns) for check in suite.checks if check.columns]
    [('duplicate_rate', ('customer_id',)), ('null_rate', ('customer_id', 'plan')), ('unseen_rate', ('plan',)),
     ('n_distinct', ('plan',)), ('psi', ('plan',))]
    """
    table = with_default_descriptors(read_table(reference, "reference")).frame
    _check_positive(table, roles)
    roles = _with_classes(table, roles)
    inputs = [name for name in table.columns if roles is None or name != roles.label]
    readings = {name: infer_reading(column_of(table, name)) for name in inputs}
    keys = [name for name in inputs if _is_key(column_of(table, name))]
    filled = [name for name in inputs if readings[name].kind and table[name].null_count() < table.height]
    judged = [name for name in filled if name not in keys]
    checks = [
        Check("row_count", ge=1),
        Check("missing_columns", eq=0),
        Check("new_columns", eq=0, severity="warn"),
        *(Check("duplicate_rate", (name,), le=0) for name in keys if _must_be_unique(column_of(table, name))),
        *_null_checks(table, inputs),
    ]
    numeric = [name for name in judged if readings[name].profile_kind == "numeric"]
    categorical = [name for name in judged if readings[name].kind == "categorical"]
    varying = tuple(name for name in judged if readings[name].kind != "embedding" and _varies(column_of(table, name)))
    clean = tuple(name for name in numeric if not _not_finite(column_of(table, name)))
    compared = tuple(name for name in judged if readings[name].kind != "datetime")
    if clean:
        checks.append(Check("not_finite_rate", clean, le=RARE, judge="interval"))
    checks += _range_checks(table, numeric)
    checks += _unseen_checks(table, categorical)
    if varying:
        checks.append(Check("n_distinct", varying, ge=2))
    rare = tuple(name for name in judged if _is_flag(column_of(table, name), readings[name].kind))
    if rare:
        checks.append(
            Check(
                "minority_rate",
                rare,
                absolute_tolerance=FLAG_ROOM,
                relative_tolerance=FLAG_SHARE,
                judge="interval",
            )
        )
    if compared:
        checks.append(Check("psi", compared, le=PSI_TOLERANCE, judge="interval"))
    checks += _vector_checks(table, [name for name in judged if readings[name].kind == "embedding"])
    if texts := tuple(name for name in filled if readings[name].kind == "text"):
        rates = ("unknown_word_share", "duplicate_text_rate")
        checks += [Check(rate, texts, absolute_tolerance=RATE_TOLERANCE, judge="interval") for rate in rates]
    return _measurable(Suite((*checks, *_quality_checks(roles)), roles), table)


def _vector_checks(table: pl.DataFrame, columns: Sequence[str]) -> list[Check]:
    """Vectors of another length, and a classifier that tells them from the reference's."""
    bounds = {name: area_bound(column_of(table, name)) for name in columns}
    known = {name: bound for name, bound in bounds.items() if bound is not None}
    lengths = [Check("wrong_dimension_rate", tuple(known), le=RARE)] if known else []
    areas = [Check("domain_auc", (name,), le=round(bound, 3), judge="interval") for name, bound in known.items()]
    return [*lengths, *areas]


def _check_positive(table: pl.DataFrame, roles: Roles | None) -> None:
    """Refuse a positive class that the labels do not hold: every quality check would be undefined."""
    if roles is None or roles.task != "binary_classification" or roles.label not in table.columns:
        return
    classes = (
        categories_of(column_of(table, roles.label), "categorical", roles.label).drop_nulls().unique().sort().to_list()
    )
    held = classes_of(column_of(table, roles.label), roles)[0]
    if classes and not (held == roles.class_names.read(roles.positive)).any():
        raise ValueError(
            f"draft_suite: the column {roles.label!r} never holds the positive class {roles.positive!r}; "
            f"it holds {', '.join(classes[:5])}: name the positive one of them"
        )


def _with_classes(table: pl.DataFrame, roles: Roles | None) -> Roles | None:
    """Roles with the classes of the reference, where a task of several names none: what comes later is none of them."""
    if roles is None or roles.task != "multiclass_classification" or roles.class_names.is_closed:
        return roles
    named = [table[name] for name in (roles.label, roles.prediction) if name in table.columns]
    found = {name for values in named for name in classes_of(values, roles)[0].drop_nulls().unique()}
    return replace(roles, classes=tuple(sorted(found)))


def _measurable(suite: Suite, table: pl.DataFrame) -> Suite:
    """The suite without what already the reference cannot give, and notes on what that is."""
    if not table.height:
        return suite
    unknown = run_suite(suite, table, table).frame.filter(pl.col("status") == "insufficient_data")
    left_out = {(row["metric"], row["column"]): row["reason"] for row in unknown.to_dicts()}
    checks: list[Check] = []
    for check in suite.checks:
        if (check.metric, None) in left_out:
            continue
        columns = tuple(name for name in check.columns if (check.metric, name) not in left_out)
        if columns or not check.columns:
            checks.append(replace(check, columns=columns))
    notes = (f"{metric}{f'({column})' if column else ''}: {why}" for (metric, column), why in left_out.items())
    return replace(suite, checks=tuple(checks), notes=tuple(notes))


def _is_key(values: pl.Series) -> bool:
    """Whether every row has a value of its own, and not by the chance of a wide range of numbers."""
    whole = values.dtype.is_integer() or values.dtype == pl.String
    if not whole or values.len() < MIN_KEY_ROWS or values.null_count() or values.n_unique() < values.len():
        return False
    return values.dtype == pl.String or looks_like_key(values) or _is_dense(values)


def _is_dense(values: pl.Series) -> bool:
    """Numbers so close together that as many drawn at random would repeat (five or more pairs expected)."""
    low, high = cast("tuple[int, int]", (values.min(), values.max()))
    span = high - low + 1
    return values.len() ** 2 / (2 * span) >= 5


def _must_be_unique(values: pl.Series) -> bool:
    """Texts may differ by chance (names, addresses): only what is called a key must."""
    return looks_like_key(values) or values.dtype.is_integer()


def _varies(values: pl.Series) -> bool:
    """Whether even a small fresh sample would hold a second value."""
    held = values.drop_nulls()
    if held.dtype.is_nested() or not held.len():
        return False
    return cast("int", held.value_counts()["count"].max()) <= COMMON * held.len()


def _is_flag(values: pl.Series, kind: str | None) -> bool:
    """Whether one value has most of the rows and the rest are of a few others."""
    held = values.drop_nulls()
    if kind not in ("numeric", "categorical", "boolean") or held.n_unique() < 2:
        return False
    few = kind != "numeric" or held.n_unique() == 2
    return few and cast("int", held.value_counts()["count"].max()) >= COMMON * held.len()


def _range_checks(table: pl.DataFrame, names: list[str]) -> list[Check]:
    """Columns grouped by the share outside their range that so many reference values leave to chance."""
    groups: dict[float, list[str]] = defaultdict(list)
    for name in names:
        m = table.height - table[name].null_count()
        by_chance = float(betaincinv(2, m - 1, 1 - FALSE_ALARM)) if m > 1 else 1.0
        bound = max(OUTSIDE, math.ceil(by_chance * 100) / 100)
        if bound < 1:
            groups[bound].append(name)
    return [Check("out_of_range_rate", tuple(n), le=bound, judge="interval") for bound, n in sorted(groups.items())]


def _not_finite(values: pl.Series) -> bool:
    return values.dtype.is_float() and not bool(values.drop_nulls().is_finite().all())


def _null_checks(table: pl.DataFrame, names: list[str]) -> list[Check]:
    complete = tuple(name for name in names if not table[name].null_count())
    partial = tuple(name for name in names if 0 < table[name].null_count() < table.height)
    checks = [Check("null_rate", complete, le=RARE, judge="interval")] if complete else []
    if partial:
        checks.append(
            Check("null_rate", partial, absolute_tolerance=RARE, relative_tolerance=NULL_ROOM, judge="interval")
        )
    return checks


def _unseen_checks(table: pl.DataFrame, names: list[str]) -> list[Check]:
    """Columns grouped by how many new categories are to be expected: their share of values seen only once."""
    groups: dict[float, list[str]] = defaultdict(list)
    for name in names:
        texts = categories_of(column_of(table, name), "categorical", name).drop_nulls()
        once = texts.len() - texts.filter(texts.is_duplicated()).len()
        bound = math.ceil(once / max(texts.len(), 1) / ROOM + 1) * ROOM
        if bound < 1:
            groups[round(bound, 2)].append(name)
    return [Check("unseen_rate", tuple(found), le=bound, judge="interval") for bound, found in sorted(groups.items())]


def _quality_checks(roles: Roles | None) -> list[Check]:
    if roles is None:
        return []
    scored = roles.score or roles.class_scores or roles.task in ("regression", "ranking")
    checks: list[Check] = []
    for name in QUALITY[roles.task]:
        is_scored = registry.get(name, cast("Task", roles.task)).needs != "confusion"
        if scored or not is_scored:
            checks.append(Check(name, relative_tolerance=ROOM, judge="interval"))
    return checks
