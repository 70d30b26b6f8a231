"""Every native type has a defined treatment for every feature kind."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from sightline.lake.intake.convert import canonical_text, convert

MOMENT = datetime(2026, 1, 5, 6, 30)
SECONDS = int(MOMENT.replace(tzinfo=UTC).timestamp())


def reasons(raw: pl.Series, kind: str, *, parse: bool = False) -> tuple[list[Any], dict[str, list[bool]]]:
    found = convert(raw, kind, parse=parse)
    return found.values.to_list(), {reason: mask.to_list() for reason, mask in found.issues}


@pytest.mark.parametrize(
    "raw",
    [
        pl.Series([1, 0, None], dtype=dtype)
        for dtype in (
            pl.Int8,
            pl.Int16,
            pl.Int32,
            pl.Int64,
            pl.UInt8,
            pl.UInt16,
            pl.UInt32,
            pl.UInt64,
            pl.Float32,
            pl.Float64,
            pl.Int128,
        )
    ]
    + [pl.Series([True, False, None]), pl.Series([Decimal("1.00"), Decimal("0"), None], dtype=pl.Decimal(10, 2))],
    ids=lambda raw: str(raw.dtype),
)
def test_numbers_of_every_width(raw: pl.Series) -> None:
    assert reasons(raw, "numeric") == ([1.0, 0.0, None], {})
    assert reasons(raw, "boolean") == ([True, False, None], {})
    expected = ["true", "false", None] if raw.dtype == pl.Boolean else ["1", "0", None]
    assert reasons(raw, "categorical") == (expected, {})


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_not_finite_numbers_are_null_and_reported(dtype: Any) -> None:
    raw = pl.Series([1.5, float("nan"), float("inf"), None], dtype=dtype)
    assert reasons(raw, "numeric") == ([1.5, None, None, None], {"not_finite": [False, True, True, False]})
    assert reasons(raw, "categorical") == (["1.5", None, None, None], {"not_finite": [False, True, True, False]})


@pytest.mark.parametrize(
    "raw",
    [
        pl.Series(["1", None]),
        pl.Series(["1", None], dtype=pl.Categorical),
        pl.Series(["1", None], dtype=pl.Enum(["1"])),
        pl.Series([date(2026, 1, 1), None]),
        pl.Series([MOMENT, None]),
        pl.Series([time(1), None]),
        pl.Series([timedelta(1), None]),
        pl.Series([[1.0], None]),
        pl.Series([{"a": 1}, None]),
        pl.Series([b"\xff", None]),
    ],
    ids=lambda raw: str(raw.dtype),
)
def test_no_number(raw: pl.Series) -> None:
    assert reasons(raw, "numeric") == ([None, None], {"bad_type": [True, False]})
    assert reasons(raw, "boolean")[0] == [None, None]


@pytest.mark.parametrize("dtype", [pl.String, pl.Object])
def test_words_for_numbers_that_json_does_not_have(dtype: Any) -> None:
    raw = pl.Series(["NaN", "-Infinity", "much", None, "Infinity"], dtype=dtype)
    issues = {"bad_type": [False, False, True, False, False], "not_finite": [True, True, False, False, True]}
    assert reasons(raw, "numeric") == ([None] * 5, issues)
    assert reasons(raw, "categorical")[0] == ["NaN", "-Infinity", "much", None, "Infinity"]
    vectors = pl.Series([[1.0, "NaN"], [1.0, 2.0]], dtype=pl.Object)
    assert reasons(vectors, "embedding") == ([None, [1.0, 2.0]], {"not_finite": [True, False]})


def test_csv_text_is_parsed() -> None:
    raw = pl.Series([" 1.5 ", "1e3", "", "NA", "x", "NaN", None])
    values, issues = reasons(raw, "numeric", parse=True)
    assert values == [1.5, 1000.0, None, None, None, None, None]
    assert issues == {
        "bad_type": [False, False, False, False, True, False, False],
        "not_finite": [False] * 5 + [True, False],
    }
    assert reasons(pl.Series(["TRUE", "no", "1", "maybe"]), "boolean", parse=True) == (
        [True, False, True, None],
        {"bad_type": [False, False, False, True]},
    )
    assert reasons(pl.Series(["NA", ""]), "categorical", parse=True) == (["NA", ""], {})


def test_categories_have_one_spelling() -> None:
    assert reasons(pl.Series(["a", None], dtype=pl.Categorical), "categorical") == (["a", None], {})
    assert reasons(pl.Series([b"caf\xc3\xa9", b"\xff", None]), "categorical") == (
        ["café", None, None],
        {"bad_type": [False, True, False]},
    )
    assert reasons(pl.Series([date(2026, 1, 5)]), "categorical") == (["2026-01-05"], {})
    assert reasons(pl.Series([MOMENT]).dt.replace_time_zone("Europe/Paris"), "categorical") == (
        ["2026-01-05T05:30:00"],
        {},
    )
    mixed = pl.Series([1, 1.0, "1", True, None, [1]], dtype=pl.Object)
    assert reasons(mixed, "categorical") == (["1", "1", "1", "true", None, None], {"bad_type": [False] * 5 + [True]})
    assert canonical_text(Decimal("1.50")) == "1.5"
    assert canonical_text(1e300) == "1e+300"


@pytest.mark.parametrize(
    "raw",
    [
        pl.Series([MOMENT]),
        pl.Series([MOMENT]).cast(pl.Datetime("ms")),
        pl.Series([MOMENT]).cast(pl.Datetime("ns")),
        pl.Series([MOMENT]).dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"),
        pl.Series([SECONDS]),
        pl.Series([SECONDS], dtype=pl.UInt32),
        pl.Series([float(SECONDS)]),
        pl.Series([SECONDS * 1_000]),
        pl.Series([SECONDS * 1_000_000]),
        pl.Series([SECONDS * 1_000_000_000]),
        pl.Series([Decimal(SECONDS)], dtype=pl.Decimal(18, 0)),
        pl.Series(["2026-01-05T06:30:00Z"]),
        pl.Series(["2026-01-05 06:30:00"]),
        pl.Series(["2026-01-05T07:30:00.000+01:00"]),
        pl.Series(["2026-01-05 07:30+0100"]),
        pl.Series(["2026-01-05 06:30:00 UTC"]),
        pl.Series([str(SECONDS)]),
        pl.Series(["2026-01-05T06:30Z", None], dtype=pl.Object).head(1),
        pl.Series([SECONDS], dtype=pl.Object),
    ],
    ids=lambda raw: f"{raw.dtype}-{raw[0]}",
)
def test_moments_become_naive_utc(raw: pl.Series) -> None:
    assert reasons(raw, "datetime") == ([MOMENT], {})


def test_dates_and_refused_moments() -> None:
    assert reasons(pl.Series([date(2026, 1, 5), None]), "datetime") == ([datetime(2026, 1, 5), None], {})
    assert reasons(pl.Series(["2026-01-05", "2026-02-30", "soon", None]), "datetime") == (
        [datetime(2026, 1, 5), None, None, None],
        {"bad_type": [False, True, True, False]},
    )
    for raw in (pl.Series([12345]), pl.Series([-1]), pl.Series([12.5]), pl.Series([True]), pl.Series([time(1)])):
        assert reasons(raw, "datetime") == ([None], {"bad_type": [True]})


def test_sub_second_epoch_keeps_its_microseconds() -> None:
    assert reasons(pl.Series([SECONDS + 0.25]), "datetime")[0] == [MOMENT.replace(microsecond=250_000)]
    assert reasons(pl.Series([SECONDS * 1_000_000 + 7]), "datetime")[0] == [MOMENT.replace(microsecond=7)]


def test_vectors() -> None:
    assert reasons(pl.Series([[1, 2], None]), "embedding") == ([[1.0, 2.0], None], {})
    assert reasons(pl.Series([[1.0, float("nan")], [1.0, None], [0.5]]), "embedding") == (
        [None, None, [0.5]],
        {"not_finite": [True, True, False]},
    )
    assert reasons(pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float64, 2)), "embedding") == ([[1.0, 2.0]], {})
    assert reasons(pl.Series(["[1, 2.5]", "x", None]), "embedding", parse=True) == (
        [[1.0, 2.5], None, None],
        {"bad_type": [False, True, False]},
    )
    assert reasons(pl.Series(["[1]"]), "embedding") == ([None], {"bad_type": [True]})
    assert reasons(pl.Series([1.0]), "embedding") == ([None], {"bad_type": [True]})


@pytest.mark.parametrize("kind", ["numeric", "categorical", "boolean", "datetime", "text", "embedding"])
def test_all_null_and_empty_columns_of_any_kind(kind: str) -> None:
    for raw in (
        pl.Series("a", [None, None]),
        pl.Series("a", [], dtype=pl.Null),
        pl.Series("a", [], dtype=pl.String),
        pl.Series("a", [], dtype=pl.Object),
    ):
        values, issues = reasons(raw, kind)
        assert values == [None] * len(raw)
        assert issues == {}


def test_numbers_whose_square_is_none_are_null_and_reported() -> None:
    found = convert(pl.Series("x", [1.0, 1.7e308, -1e200, 1e149, None]), "numeric")
    assert found.values.to_list() == [1.0, None, None, 1e149, None]
    [(reason, mask)] = found.issues
    assert reason == "not_finite" and mask.to_list() == [False, True, True, False, False]
