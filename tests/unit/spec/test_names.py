"""Names: valid in Dagster, unique, stable, independent of order."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from sightline.spec import names
from sightline.spec.model import MonitorSpec

SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "regression"},
        "columns": {"prediction": "y"},
        "reference": {"start": "2026-01-01", "end": "2026-02-01"},
    }
)
VALID = re.compile(r"[A-Za-z0-9_]+")


def test_names_of_a_monitor():
    assert names.asset_key(SPEC, "drift") == ["m", "drift"]
    assert names.job_name(SPEC, "immediate") == "m__immediate"
    assert names.sensor_name(SPEC, "labels") == "m__labels"
    assert names.pool_name(SPEC) == "sightline_m"
    assert names.check_name("drift", "carrier") == "drift__carrier"
    assert names.check_name("row_volume") == "row_volume"


def test_slugs_of_awkward_names():
    assert names.slug("Wind Speed (m/s)") == "wind_speed_m_s"
    assert names.slug("Größe") == "groe"
    assert names.slug("Été") == "ete"
    assert names.slug("气温") == ""
    assert len(names.slug("x" * 300)) == names.MAX_SLUG_LENGTH


def test_valid_names_keep_theirs_and_rivals_get_a_digest():
    slugs = names.check_slugs(
        ["Wind Speed", "wind_speed", "wind-speed", "气温", "score", "@score", "@class_score:on time"]
    )
    assert slugs["wind_speed"] == "wind_speed"
    assert slugs["Wind Speed"] == f"wind_speed_{names.digest('Wind Speed')}"
    assert slugs["气温"] == f"column_{names.digest('气温')}"
    assert slugs["@score"] == "score"
    assert slugs["score"] == f"score_{names.digest('score')}"
    assert slugs["@class_score:on time"] == "class_score_on_time"


@given(
    st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=12, unique=True), st.randoms(use_true_random=False)
)
def test_slugs_are_valid_unique_and_independent_of_order(columns: list[str], rng: random.Random):
    slugs = names.check_slugs(columns)
    assert set(slugs) == set(columns)
    assert all(VALID.fullmatch(slug) for slug in slugs.values())
    assert len(set(slugs.values())) == len(slugs)
    shuffled = rng.sample(columns, len(columns))
    assert names.check_slugs(shuffled) == slugs


@given(st.sampled_from(["Wind Speed", "wind speed", "WIND-SPEED", "wind_speed", "@wind_speed"]), st.integers(0, 10**6))
def test_a_new_unrelated_column_renames_no_other(column: str, number: int):
    before = names.check_slugs(["Wind Speed", "wind speed", "WIND-SPEED", "wind_speed", "@wind_speed"])
    after = names.check_slugs([*before, f"unrelated {number}"])
    assert after[column] == before[column]
