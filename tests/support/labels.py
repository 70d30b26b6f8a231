"""Which labels count, read as the warehouse reads them."""

from __future__ import annotations

import duckdb

from sightline.home import MonitorPaths
from sightline.spec.model import MonitorSpec
from sightline.warehouse import prepare


def current_labels(spec: MonitorSpec, paths: MonitorPaths) -> dict[str, float]:
    """Prediction id -> the label that counts, of those that have one (view ``raw.current_labels``)."""
    with duckdb.connect() as con:
        prepare(con, spec, paths)
        return dict(con.sql("SELECT prediction_id, label_value FROM raw.current_labels ORDER BY 1").fetchall())
