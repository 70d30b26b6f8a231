"""Frozen bins: nothing is lost, shards merge bit for bit, SQL's cuts and Python's counts agree, edges do not move."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_py.class_names import category_text
from metrics_py.drift.binned_distances import ks_bounds
from metrics_py.drift.exact_distances import ks_distance
from metrics_py.profile.build import BIN_SCHEMA, ColumnProfile, build_profile, count
from metrics_py.profile.resolution import RESOLUTION

FLOATS = st.one_of(
    st.none(), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324])
)
NUMBERS = st.lists(FLOATS, max_size=200)
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from("abcdefghij"), st.text(max_size=3)), max_size=200)
BINS = st.integers(2, 40)
SETTINGS = settings(max_examples=150, deadline=None)


def floats(values):
    return pl.Series(values, dtype=pl.Float64)


def around(profile, value):
    """How far from a value a number may still be counted as it."""
    return RESOLUTION * max(abs(value), profile.scale or 0.0)


def texts(values):
    return pl.Series(values, dtype=pl.String)


@SETTINGS
@given(reference=NUMBERS, current=NUMBERS, bins=BINS)
def test_every_number_is_counted_once(reference, current, bins):
    profile = build_profile(floats(reference), "numeric", bins=bins)
    counts = count(profile, floats(current))
    assert counts.sum() == len(current)
    assert profile.n_rows == len(reference)
    assert counts[profile.where("null")].sum() == sum(x is None for x in current)
    assert counts[profile.where("not_finite")].sum() == sum(x is not None and not np.isfinite(x) for x in current)
    inside = [x for x in reference if x is not None and np.isfinite(x)]
    low, high = (min(inside), max(inside)) if inside else (np.inf, -np.inf)
    numbers = [x for x in current if x is not None and np.isfinite(x)]
    outside = sum(x < low or x > high for x in numbers)
    far = sum(x < low - around(profile, low) or x > high + around(profile, high) for x in numbers)
    assert far <= counts[profile.where("below", "above")].sum() <= outside
    assert (profile.n_reference[profile.where("below", "above")] == 0).all()


@SETTINGS
@given(reference=NUMBERS, current=NUMBERS, bins=BINS)
def test_bins_mean_what_their_limits_say(reference, current, bins):
    profile = build_profile(floats(reference), "numeric", bins=bins)
    atoms = set(profile.lower[profile.where("atom")].tolist())
    for x in current:
        if x is None or not np.isfinite(x):
            continue
        (i,) = np.flatnonzero(count(profile, floats([x])))
        kind, low, high = profile.bin_kind[i], float(profile.lower[i]), float(profile.upper[i])
        assert {
            "atom": abs(x - low) <= around(profile, low),
            "interval": low - around(profile, low) < x <= high + around(profile, high) and x not in atoms,
            "below": x <= high,
            "above": x > low,
        }[kind]


@SETTINGS
@given(seed=st.integers(0, 10_000), decimals=st.integers(0, 3), offset=st.sampled_from([0, 0.5, -3, 1000]), bins=BINS)
def test_the_same_rows_in_another_float_are_in_the_same_bins(seed, decimals, offset, bins):
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(offset, 1, 500), decimals)
    profile = build_profile(values, "numeric", bins=bins)
    for same in (values.astype(np.float32).astype(float), values * (1 + 1e-9), values * (1 - 1e-9)):
        assert count(profile, same).tolist() == profile.n_reference.tolist()
    for moved in (values + 1e-9, values - 1e-9):  # a value that comes once, nearer to 0 than that reaches
        assert np.abs(count(profile, moved) - profile.n_reference).sum() <= 4
    again = ColumnProfile.from_frame(profile.to_frame(), profile.facts())
    assert count(again, values.astype(np.float32)).tolist() == profile.n_reference.tolist()


@SETTINGS
@given(reference=NUMBERS, bins=BINS)
def test_cuts_are_a_partition_that_sql_can_search(reference, bins):
    profile = build_profile(floats(reference), "numeric", bins=bins)
    cuts, owners = profile.cuts()
    assert (cuts[1:] > cuts[:-1]).all() and cuts[-1] == np.inf
    kinds = {profile.bin_kind[i] for i in owners}
    assert {"below", "above"} <= kinds
    assert set(owners.tolist()) <= set(profile.where("below", "interval", "atom", "above").tolist())
    assert (np.diff(profile.where("interval", "atom")) > 0).all()


@SETTINGS
@given(reference=TEXTS, current=TEXTS, top=st.integers(1, 6))
def test_every_category_is_counted_once(reference, current, top):
    reference, current = ([x if x is None else category_text(x) for x in given] for given in (reference, current))
    profile = build_profile(texts(reference), "categorical", top=top)
    counts = count(profile, texts(current))
    known = {x for x in reference if x is not None}
    assert counts.sum() == len(current)
    assert counts[profile.where("unseen")].sum() == sum(x is not None and x not in known for x in current)
    assert counts[profile.where("null")].sum() == sum(x is None for x in current)
    assert profile.n_reference[profile.where("unseen")].sum() == 0
    named = [profile.label[i] for i in profile.where("category")]
    frequency = {x: reference.count(x) for x in known}
    ordered = sorted(known, key=lambda x: (-frequency[x], x))
    assert named == [x for x in ordered if x in named] and len(named) == min(top, len(known))
    if len(known) > top:  # a part of the rows has chosen them
        assert (profile.n_choosing <= profile.n_reference).all()
        kept = profile.unchosen(profile.n_reference)
        np.testing.assert_allclose(kept, profile.n_reference - profile.n_choosing, atol=1e-9)
    else:
        assert named == ordered and profile.n_choosing is None
    singletons = sum(f == 1 for f in frequency.values())
    total = sum(frequency.values())
    assert profile.expected_unseen == pytest.approx(singletons / total if total else 1.0)


@SETTINGS
@given(reference=NUMBERS, parts=st.lists(NUMBERS, max_size=5), bins=BINS)
def test_merging_is_addition(reference, parts, bins):
    profile = build_profile(floats(reference), "numeric", bins=bins)
    whole = count(profile, floats([x for part in parts for x in part]))
    total = sum((count(profile, floats(part)) for part in parts), np.zeros(len(profile), dtype=np.int64))
    assert (whole == total).all()


@SETTINGS
@given(values=NUMBERS, seed=st.integers(0, 9), bins=BINS)
def test_the_order_of_rows_does_not_matter(values, seed, bins):
    shuffled = np.random.default_rng(seed).permutation(len(values))
    one, two = (build_profile(floats(v), "numeric", bins=bins) for v in (values, [values[i] for i in shuffled]))
    assert one.to_frame().equals(two.to_frame())
    assert one.facts() == two.facts()


@SETTINGS
@given(rows=st.lists(st.tuples(FLOATS, st.integers(0, 4)), max_size=100), bins=BINS)
def test_a_weight_is_a_repetition_of_numbers(rows, bins):
    values, weights = [v for v, _ in rows], [w for _, w in rows]
    repeated = [v for v, w in rows for _ in range(w)]
    weighted = build_profile(floats(values), "numeric", bins=bins, weights=weights)
    plain = build_profile(floats(repeated), "numeric", bins=bins)
    assert weighted.to_frame().equals(plain.to_frame())
    assert (count(plain, floats(values), weights=weights) == count(plain, floats(repeated))).all()


@SETTINGS
@given(rows=st.lists(st.tuples(st.sampled_from([None, *"abcdefg"]), st.integers(0, 4)), max_size=100))
def test_a_weight_is_a_repetition_of_categories(rows):
    values, weights = [v for v, _ in rows], [w for _, w in rows]
    repeated = [v for v, w in rows for _ in range(w)]
    weighted = build_profile(texts(values), "categorical", top=7, weights=weights)
    plain = build_profile(texts(repeated), "categorical", top=7)
    assert weighted.to_frame().equals(plain.to_frame())
    assert weighted.facts() == plain.facts()


@SETTINGS
@given(values=NUMBERS, bins=BINS)
def test_a_profile_survives_its_frame(values, bins):
    profile = build_profile(floats(values), "numeric", bins=bins, column="x", design_effect=1.5, rows_per_window=300.0)
    frame = profile.to_frame()
    assert frame.schema == BIN_SCHEMA
    assert frame["column_name"].unique().to_list() == ["x"]
    again = ColumnProfile.from_frame(frame, profile.facts())
    assert again.to_frame().equals(frame)
    assert again.facts() == profile.facts()
    assert (count(again, floats(values)) == profile.n_reference).all()
    bare = ColumnProfile.from_frame(frame)
    assert bare.kind == "numeric"
    assert (count(bare, floats(values)) == profile.n_reference).all()


@SETTINGS
@given(
    reference=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    current=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100),
    bins=BINS,
)
def test_ks_bounds_always_hold(reference, current, bins):
    profile = build_profile(np.round(reference, 1), "numeric", bins=bins)
    current = np.round(current, 1)
    cells, points, loose = profile.ordered(np.stack([profile.n_reference, count(profile, current)]))
    low, high = ks_bounds(cells[0], cells[1], points=points, loose=loose)
    assert low - 1e-9 <= ks_distance(np.round(reference, 1), current) <= high + 1e-9


@pytest.mark.parametrize("outlier", [1e6, -1e12, 1e300, -1e308])
def test_an_outlier_in_the_reference_moves_no_inner_edge(outlier):
    values = np.random.default_rng(51).normal(size=20_000)
    clean, dirty = (build_profile(v, "numeric") for v in (values, np.append(values, outlier)))
    np.testing.assert_allclose(clean.upper[2:-4], dirty.upper[2:-4], atol=0.002)
    np.testing.assert_allclose(clean.center[1:-3], dirty.center[1:-3], atol=0.02)
    assert dirty.scale == pytest.approx(clean.scale, rel=0.001)


def test_quantile_intervals_hold_equal_shares_and_atoms_their_value():
    rng = np.random.default_rng(52)
    profile = build_profile(rng.normal(size=32_000), "numeric", bins=32)
    inside = profile.n_reference[profile.where("interval")]
    assert len(inside) == 32
    assert inside.min() >= 999 and inside.max() <= 1001
    spiky = build_profile(np.r_[np.zeros(3000), np.full(2000, -1.0), rng.exponential(size=5000)], "numeric", bins=32)
    atoms = spiky.where("atom")
    assert dict(zip(spiky.lower[atoms], spiky.n_reference[atoms], strict=True)) == {0.0: 3000, -1.0: 2000}
    assert len(spiky.where("interval")) == 16
    tiny = build_profile([1.0, 2.0, 3.0], "numeric")
    assert (len(tiny.where("interval")), len(tiny.where("atom"))) == (1, 0)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1, 0, 2, None], dtype=pl.UInt8),
        pl.Series([1, 0, 2, None], dtype=pl.Int16),
        pl.Series(["1", "0", "2", None]).cast(pl.Decimal(10, 2)),
        pl.Series([1, 0, 2, None], dtype=pl.Float32),
        [1, 0, 2.0, None],
        np.array([1, 0, 2, None], dtype=object),
    ],
    ids=["unsigned", "short", "decimal", "float32", "list", "object"],
)
def test_every_kind_of_number_is_a_number(values):
    profile = build_profile(values, "numeric")
    assert (profile.minimum, profile.maximum) == (0, 2)
    assert profile.n_reference[profile.where("null")].tolist() == [1]


def test_categories_of_every_type():
    for values in (
        pl.Series(["1", "2", None]),
        pl.Series(["1", "2", None], dtype=pl.Categorical),
        pl.Series([1, 2, None], dtype=pl.UInt8),
        pl.Series([1.0, 2.0, float("nan")]),
    ):
        profile = build_profile(values, "categorical")
        assert [profile.label[i] for i in profile.where("category")] == ["1", "2"]
        assert profile.n_reference[profile.where("null")].tolist() == [1]


def test_booleans_and_times():
    flags = build_profile(pl.Series([True, None, False, True]), "boolean")
    assert (flags.label, flags.n_reference.tolist()) == (("false", "true", "(null)"), [1, 2, 1])
    assert count(flags, ["TRUE", "false"]).tolist() == [1, 1, 0]
    assert count(flags, [1, 0, 0]).tolist() == [2, 1, 0]
    moments = [dt.datetime(2024, 1, 1, 5), dt.datetime(2024, 1, 7, 23), None]
    week = build_profile(pl.Series(moments), "datetime")
    held = dict(zip(week.label, week.n_reference, strict=True))
    assert (held["Mon 05"], held["Sun 23"], held["(null)"], len(week)) == (1, 1, 1, 169)
    berlin = pl.Series([dt.datetime(2024, 1, 1, 6)]).dt.replace_time_zone("Europe/Berlin")
    assert count(week, berlin)[week.label.index("Mon 05")] == 1
    assert count(week, pl.Series([dt.date(2024, 1, 2)]))[week.label.index("Tue 00")] == 1


@pytest.mark.parametrize(
    ("values", "kind", "error", "words"),
    [
        (["a"], "numeric", TypeError, "not numbers"),
        ([1, "a"], "numeric", TypeError, "mixed types"),
        ([1.0], "datetime", TypeError, "not times"),
        ([2], "boolean", TypeError, "other than 0 and 1"),
        (["maybe"], "boolean", TypeError, "other than true and false"),
        ([[1.0]], "categorical", TypeError, "not categories"),
        (np.zeros((2, 2)), "numeric", ValueError, "one dimension"),
        ([1.0], "numerical", ValueError, "did you mean 'numeric'"),
        (["x"], "text", ValueError, "not one of"),
    ],
)
def test_what_is_no_column_of_this_kind_is_refused(values, kind, error, words):
    with pytest.raises(error, match=words):
        build_profile(values, kind, column="x")


def test_bad_options_are_refused():
    for bad in ([1.0, -1.0], [np.nan, 1.0], [1.0]):
        with pytest.raises(ValueError, match="weight"):
            build_profile([1.0, 2.0], "numeric", weights=bad)
    with pytest.raises(ValueError, match="at least 2"):
        build_profile([1.0], "numeric", bins=1)
    profile = build_profile([1.0, 2.0], "numeric")
    with pytest.raises(ValueError, match="all bins of one column"):
        ColumnProfile.from_frame(profile.to_frame().head(2).tail(1))
    with pytest.raises(ValueError, match="last axis"):
        profile.merged([1, 2])
    with pytest.raises(ValueError, match="no order"):
        build_profile(["a"], "categorical").ordered([1, 0, 0, 0])


@SETTINGS
@given(counts=st.lists(st.integers(1, 30), min_size=6, max_size=12), seed=st.integers(0, 9))
def test_the_chosen_categories_are_those_of_a_quarter_of_the_rows_in_any_order(counts, seed):
    values = [f"c{i}" for i, n in enumerate(counts) for _ in range(n)]
    profile = build_profile(texts(values), "categorical", top=4)
    shuffled = np.random.default_rng(seed).permutation(values).tolist()
    again = build_profile(texts(shuffled), "categorical", top=4)
    assert again.to_frame().equals(profile.to_frame()) and again.facts() == profile.facts()
    read = ColumnProfile.from_frame(profile.to_frame(), profile.facts())
    assert (read.n_choosing == profile.n_choosing).all()
