"""However traffic is cut into batches, ordered and repeated, the lake holds the same rows and the counts add up."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import pending
from sightline.lake.store.compaction import compact
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from tests.support.lake import START, land, make_paths, make_spec, rows

N = 60
DATA = rows(N, every=timedelta(hours=3))
TRUTH = pl.DataFrame({"id": DATA["id"], "y": [i % 4 == 0 for i in range(N)]})
FORMATS = ("parquet", "csv", "ndjson")

pieces = st.lists(
    st.tuples(
        st.integers(0, N - 1), st.integers(1, N), st.sampled_from(FORMATS), st.sampled_from(["inferences", "labels"])
    ),
    min_size=1,
    max_size=8,
)
steps = st.lists(st.sampled_from(["inferences", "labels", "one", "compact"]), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cut=pieces, order=steps)
def test_the_lake_does_not_depend_on_how_data_arrives(cut: list[tuple[int, int, str, str]], order: list[str]) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        _check(root, cut, order)
    finally:
        shutil.rmtree(root)


def _check(root: Path, cut: list[tuple[int, int, str, str]], order: list[str]) -> None:
    home, paths = make_paths(root)
    spec = make_spec()
    sent: dict[str, list[str]] = {"inferences": [], "labels": []}
    folders = {"inferences": (paths.landing_inferences, DATA), "labels": (paths.landing_labels, TRUTH)}
    for number, (first, length, form, kind) in enumerate(cut):
        folder, data = folders[kind]
        piece = data.slice(first, length)
        land(folder, f"{number}.{form}", piece, START + timedelta(days=30, minutes=number))
        sent[kind] += piece["id"].to_list()
    for step in order:
        if step == "compact":
            compact(spec, paths, everything=True)
        elif step == "one":
            for kind in ("labels", "inferences"):
                intake(spec, paths, kind, home, pending(spec, paths, kind, home)[-1:])
        else:
            intake(spec, paths, step, home)
    intake(spec, paths, "inferences", home)
    intake(spec, paths, "labels", home)

    known = set(sent["inferences"])
    inferences = scan_lake(spec, paths, "inferences").collect()
    assert sorted(inferences["prediction_id"]) == sorted(known)
    expected = DATA.filter(pl.col("id").is_in(known)).sort("id")
    assert inferences.sort("prediction_id")["f_x"].to_list() == expected["x"].to_list()
    labels = scan_lake(spec, paths, "labels").collect()
    assert sorted(labels["prediction_id"]) == sorted(known & set(sent["labels"]))
    truth = dict(TRUTH.rows())
    assert all(value == truth[name] for name, value in labels.select("prediction_id", "label_value").rows())
    waiting = scan_lake(spec, paths, "unmatched").collect()
    assert set(waiting["prediction_id"]) == set(sent["labels"]) - known
    with open_ledger(paths.ledger) as ledger:
        sums = "sum(n_rows), sum(n_accepted), sum(n_duplicate), sum(n_rejected), sum(n_unmatched)"
        totals = {kind: rest for kind, *rest in ledger.con.execute(f"SELECT kind, {sums} FROM batches GROUP BY 1")}
    for kind, frame in (("inferences", inferences), ("labels", labels)):
        if kind in totals:
            n_rows, accepted, duplicate, rejected, unmatched = totals[kind]
            assert n_rows == len(sent[kind]) == accepted + duplicate + rejected + unmatched
            assert (accepted, rejected) == (len(frame), 0)
    assert pending(spec, paths, "inferences", home) == pending(spec, paths, "labels", home) == []
