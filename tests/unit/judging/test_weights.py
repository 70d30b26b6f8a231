"""Weights of rows weigh no metric, and judgements say so where weighted ones would differ."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import polars as pl

from sightline.judging.frames import EVIDENCE, Judged, Work, conform
from sightline.judging.weights import told_weights

DAYS = [datetime(2026, 1, day) for day in (5, 6)]


def judged(metrics):
    rows = [
        {"window_start": day, "model_version": "all", "segment": "all", "column": "", "metric": metric, "value": 0.75,
         "n": 4, "status": "ok", "reason": reason, "reason_code": code}
        for day in DAYS
        for metric, reason, code in metrics
    ]  # fmt: skip
    return Judged(conform(pl.DataFrame(rows, infer_schema_length=None)), pl.DataFrame(schema=EVIDENCE))


def test_only_windows_of_unequal_weights_are_told(make_spec, home):
    spec = make_spec(columns={"score": "p", "weight": "w"})
    found = judged([("accuracy", None, None), ("roc_auc", "of the scores themselves", "exact"), ("n_rows", None, None)])
    with duckdb.connect() as con:
        con.execute("create schema raw")
        con.execute(
            "create table raw.production as select window_key::varchar as window_key, "
            "window_key::timestamp as window_start, weight::double as weight "
            "from (values ('2026-01-05', 1), ('2026-01-05', 12.5), ('2026-01-06', 10), ('2026-01-06', 10)) "
            "as given(window_key, weight)"
        )
        work = Work(
            spec, home.monitor("churn"), con, ["2026-01-05", "2026-01-06"], {}, datetime(2026, 1, 9, tzinfo=UTC)
        )
        rows = told_weights(work, found).judgements
    told = (
        "every row counts once: weights (1.0 to 12.5) are added up as sum_weight, and weighted metrics are not computed"
    )
    assert rows.select("metric", "reason", "reason_code").rows() == [
        ("accuracy", told, "unweighted"),
        ("roc_auc", f"of the scores themselves; {told}", "unweighted"),
        ("n_rows", None, None),
        ("accuracy", None, None),
        ("roc_auc", "of the scores themselves", "exact"),
        ("n_rows", None, None),
    ]
    assert rows["value"].to_list() == found.judgements["value"].to_list()
