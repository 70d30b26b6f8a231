"""Ranking: lists of which every row counts in a comparison, or none does."""

from __future__ import annotations

import polars as pl

from metrics_py.wording import count
from sightline.spec.model import MonitorSpec

LIST = "query_id"


def whole_lists(spec: MonitorSpec, frame: pl.DataFrame, among: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Rows of the queries of which no row was lost: what is left of a list is another list.

    Parameters
    ----------
    spec : MonitorSpec
    frame : DataFrame
        Rows that can be compared, in lake columns.
    among : DataFrame
        The rows that there were before.

    Returns
    -------
    frame : DataFrame
        The rows of whole queries; of another task all.
    notes : list of str
        How many queries are left out.
    """
    if spec.model.task != "ranking":
        return frame, []
    left, made = (each.drop_nulls(LIST).group_by(LIST).len(name) for each, name in ((frame, "left"), (among, "made")))
    whole = left.join(made, on=LIST).filter(pl.col("left") == pl.col("made")).select(LIST)
    lost = len(made) - len(whole)
    told = f"{lost:,} of {count(len(made), 'queries')} left out: a row of it has no label, or is not shared"
    return frame.join(whole, on=LIST, how="semi", maintain_order="left"), [told] if lost else []
