"""A first test suite from a reference table: bounds that data like the reference pass, and broken data do not.

Rates are bounded with room for noise and judged by their interval, so that a fresh sample of the same data does not fail.
"""

from __future__ import annotations

import math
from collections import defaultdict

import polars as pl

from metrics_py import registry
from metrics_py.bin_values import categories_of
from metrics_py.column_kinds import infer_reading
from metrics_py.drift_metrics import PSI_TOLERANCE
from metrics_py.quality_rows import Roles
from metrics_py.suite import Check, Suite
from metrics_py.tables import read_table

RARE = 0.01
ROOM = 0.05
MIN_KEY_ROWS = 20
QUALITY = {
    "binary_classification": ("roc_auc", "log_loss", "brier", "f1", "accuracy"),
    "multiclass_classification": ("accuracy", "f1_macro", "log_loss"),
    "regression": ("mae", "rmse"),
    "ranking": ("ndcg", "mrr"),
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
        Columns, rows, duplicates of key columns, missing, not finite, out-of-range and unseen values, constants, drift and,
        with `roles`, model quality relative to the reference.
    """
    table = read_table(reference, "reference").frame
    inputs = [name for name in table.columns if roles is None or name != roles.label]
    readings = {name: infer_reading(table[name]) for name in inputs}
    keys = [name for name in inputs if _is_key(table[name])]
    filled = [name for name in inputs if readings[name].kind and table[name].null_count() < table.height]
    judged = [name for name in filled if name not in keys]
    checks = [
        Check("row_count", ge=1),
        Check("missing_columns", eq=0),
        Check("new_columns", eq=0, severity="warn"),
        *(Check("duplicate_rate", (name,), le=0) for name in keys),
        *_null_checks(table, inputs),
    ]
    numeric = [name for name in judged if readings[name].profile_kind == "numeric"]
    categorical = [name for name in judged if readings[name].kind == "categorical"]
    varying = [
        name for name in judged if readings[name].kind != "embedding" and table[name].drop_nulls().n_unique() > 1
    ]
    bad = {name: _not_finite(table[name]) for name in numeric}
    clean = tuple(name for name in numeric if not bad[name])
    if clean:
        checks.append(Check("not_finite_rate", clean, le=RARE, judge="interval"))
    if numeric:
        checks.append(Check("out_of_range_rate", tuple(numeric), le=RARE, judge="interval", severity="warn"))
    checks += _unseen_checks(table, categorical)
    if varying:
        checks.append(Check("n_distinct", tuple(varying), ge=2))
    if judged:
        checks.append(Check("psi", tuple(judged), le=PSI_TOLERANCE, judge="interval"))
    return Suite((*checks, *_quality_checks(roles)), roles)


def _is_key(values: pl.Series) -> bool:
    whole = values.dtype.is_integer() or values.dtype == pl.String
    return whole and values.len() >= MIN_KEY_ROWS and not values.null_count() and values.n_unique() == values.len()


def _not_finite(values: pl.Series) -> bool:
    return values.dtype.is_float() and not bool(values.drop_nulls().is_finite().all())


def _null_checks(table: pl.DataFrame, names: list[str]) -> list[Check]:
    complete = tuple(name for name in names if not table[name].null_count())
    partial = tuple(name for name in names if 0 < table[name].null_count() < table.height)
    checks = [Check("null_rate", complete, le=RARE, judge="interval")] if complete else []
    if partial:
        checks.append(Check("null_rate", partial, absolute_tolerance=ROOM, judge="interval"))
    return checks


def _unseen_checks(table: pl.DataFrame, names: list[str]) -> list[Check]:
    """Columns grouped by how many new categories are to be expected: their share of values seen only once."""
    groups: dict[float, list[str]] = defaultdict(list)
    for name in names:
        texts = categories_of(table[name], "categorical", name).drop_nulls()
        once = texts.len() - texts.filter(texts.is_duplicated()).len()
        bound = math.ceil(once / max(texts.len(), 1) / ROOM + 1) * ROOM
        if bound < 1:
            groups[round(bound, 2)].append(name)
    return [Check("unseen_rate", tuple(found), le=bound, judge="interval") for bound, found in sorted(groups.items())]


def _quality_checks(roles: Roles | None) -> list[Check]:
    if roles is None:
        return []
    scored = roles.score or roles.class_scores or roles.task in ("regression", "ranking")
    checks = []
    for name in QUALITY[roles.task]:
        is_scored = registry.get(name, roles.task).needs != "confusion"  # type: ignore[arg-type]
        if scored or not is_scored:
            checks.append(Check(name, relative_tolerance=ROOM, judge="interval"))
    return checks
