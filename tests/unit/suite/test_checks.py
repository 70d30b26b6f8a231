"""Test suites: operators, tolerances in the worse direction, intervals, severities, and what cannot be measured."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py.quality.rows import Roles, quality_of_rows
from metrics_py.suite.checks import Check, Suite, direction_of, known_metrics, run_suite
from metrics_py.suite.draft import draft_suite
from metrics_py.suite.facts import COLUMN_FACTS, TABLE_FACTS
from metrics_py.text.window_texts import RATES

ROLES = Roles("binary_classification", "label", score="score")


def table(n=2000, seed=1, skill=0.8):
    """`skill` is the weight of the truth in the score; the rest is noise."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=n)
    return pl.DataFrame(
        {
            "id": range(n),
            "age": rng.normal(40, 10, n),
            "plan": rng.choice(["free", "paid"], n),
            "active": rng.random(n) < 0.7,
            "score": 1 / (1 + np.exp(-3 * (skill * signal + (1 - skill) * rng.normal(size=n)))),
            "label": (rng.random(n) < 1 / (1 + np.exp(-3.0 * signal))).astype(int),
        }
    )


def run(check, current=None, reference=None, roles=None):
    rows = run_suite(
        Suite((check,), roles),
        table() if reference is None else reference,
        table(seed=2) if current is None else current,
    )
    return rows.to_dicts()[0]


# mean of x is exactly 10 in `current` and 8 in `reference`
TEN, EIGHT = pl.DataFrame({"x": [9.0, 10.0, 11.0]}), pl.DataFrame({"x": [7.0, 8.0, 9.0]})


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"lt": 10}, "fail"), ({"lt": 10.1}, "pass"), ({"le": 10}, "pass"), ({"le": 9.9}, "fail"),
        ({"gt": 10}, "fail"), ({"gt": 9.9}, "pass"), ({"ge": 10}, "pass"), ({"ge": 10.1}, "fail"),
        ({"eq": 10}, "pass"), ({"eq": 10.5}, "fail"),
        ({"between": (10, 12)}, "pass"), ({"between": (10.5, 12)}, "fail"), ({"between": (1, 9)}, "fail"),
        ({"among": (5, 10)}, "pass"), ({"among": (5, 11)}, "fail"),
        ({"ge": 9, "le": 9.5}, "fail"), ({"ge": 9, "le": 11}, "pass"),
        ({"relative_tolerance": 0.25}, "pass"), ({"relative_tolerance": 0.2}, "fail"),
        ({"absolute_tolerance": 2}, "pass"), ({"absolute_tolerance": 1.9}, "fail"),
        ({"relative_tolerance": 0.2, "absolute_tolerance": 0.4}, "pass"),
        ({"relative_tolerance": 0.1, "direction": "higher_is_better"}, "pass"),
        ({"relative_tolerance": 0.1, "direction": "lower_is_better"}, "fail"),
        ({"relative_tolerance": 0.5, "le": 9}, "fail"),
    ],
)  # fmt: skip
def test_operators_and_tolerances(condition, status):
    row = run(Check("mean", ("x",), **condition), TEN, EIGHT)
    assert (row["value"], row["reference_value"]) == (10, 8)
    assert row["status"] == status
    assert (row["reason"] is None) == (status == "pass")


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "brier", "f1"])
def test_an_improvement_never_fails(metric):
    """Other tools' generated tests fail a model whose error has halved."""
    blind = table(skill=0.1)
    check = Check(metric, relative_tolerance=0.01)
    assert run(check, table(seed=2, skill=1.0), blind, ROLES)["status"] == "pass"
    row = run(check, blind, table(seed=2, skill=1.0), ROLES)
    assert row["status"] == "fail"
    assert (row["bound_low"] is None) != (row["bound_high"] is None)


def test_directions_come_from_the_registry():
    assert direction_of("roc_auc", ROLES) == "higher_is_better"
    assert direction_of("log_loss", ROLES) == "lower_is_better"
    assert direction_of("null_rate", None) == "lower_is_better"
    assert direction_of("mean", None) == "none"


def test_an_interval_decides_only_what_it_can():
    few = table(60, seed=3).with_columns(age=pl.when(pl.int_range(pl.len()) < 4).then(None).otherwise("age"))
    by_value = Check("null_rate", ("age",), le=0.05)
    by_interval = Check("null_rate", ("age",), le=0.05, judge="interval")
    assert run(by_value, few)["status"] == "fail"
    assert run(by_interval, few)["status"] == "unclear"
    many = table().with_columns(age=pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise("age"))
    assert run(by_interval, many)["status"] == "fail"
    assert run(by_interval, table())["status"] == "pass"


def test_warnings_do_not_fail_the_suite_and_the_unmeasurable_does():
    def passed(check, current):
        return run_suite(Suite((check,)), table(), current).passed

    assert passed(Check("row_count", ge=5000, severity="warn"), table())
    assert not passed(Check("row_count", ge=5000), table())
    empty = table().with_columns(age=pl.lit(None, pl.Float64))
    assert not passed(Check("mean", ("age",), ge=0), empty)
    assert passed(Check("mean", ("age",), ge=0, severity="warn"), empty)
    assert run(Check("mean", ("age",), ge=0), empty)["status"] == "insufficient_data"


JOINT = {"correlation_change", "domain_auc", "centroid_cosine", "wrong_dimension_rate"}
OF_TEXTS = set(RATES)
"""In `tests/unit/comparison/test_text_rates.py`."""


def test_facts_of_embeddings_and_of_columns_together():
    rng = np.random.default_rng(31)
    a, b = rng.standard_normal((2, 4000))
    v = (rng.standard_normal((4000, 8)) + np.arange(8)).astype(np.float32)
    reference = pl.DataFrame({"a": a, "b": 0.8 * a + 0.6 * b, "v": v.tolist()})
    current = pl.DataFrame({"a": a, "b": b, "v": [*v[:100, :5].tolist(), *(-v[100:]).tolist()]})
    halves = reference.head(2000), reference.tail(2000)
    same = {m: run(Check(m, ("v",) if m != "correlation_change" else (), le=1), *halves) for m in JOINT}
    assert same["correlation_change"]["value"] == pytest.approx(0, abs=0.03)
    assert same["domain_auc"]["value"] == pytest.approx(0.5, abs=0.05)
    assert same["wrong_dimension_rate"]["value"] == 0
    assert run(Check("correlation_change", le=0.1), current, reference)["value"] == pytest.approx(0.8, abs=0.05)
    assert run(Check("domain_auc", ("v",), le=0.6), current, reference)["status"] == "fail"
    assert run(Check("centroid_cosine", ("v",), le=0.1), current, reference)["value"] == pytest.approx(2, abs=0.01)
    assert run(Check("wrong_dimension_rate", ("v",), eq=0), current, reference)["value"] == pytest.approx(100 / 4000)
    few = run(Check("correlation_change", le=0.1), current.head(20), reference)
    assert (few["status"], "2 columns and 50 rows needed" in few["reason"]) == ("insufficient_data", True)


def test_facts_of_tables_and_columns():
    reference = pl.DataFrame(
        {"k": [1, 2, 3, 4], "x": [1.0, 2.0, 3.0, 4.0], "c": list("aabb"), "b": [True, False, True, True]}
    )
    current = pl.DataFrame(
        {
            "k": [1, 1, 1, 2],
            "x": [0.0, None, float("nan"), 9.0],
            "c": ["a", "z", None, "b"],
            "b": [True, None, False, True],
        }
    )
    expected = {
        ("duplicate_rate", ("k",)): 0.5, ("duplicate_rate", ()): 0, ("row_count", ()): 4, ("missing_columns", ()): 0,
        ("new_columns", ()): 0, ("null_rate", ("x",)): 0.25, ("not_finite_rate", ("x",)): 0.25,
        ("out_of_range_rate", ("x",)): 1, ("unseen_rate", ("c",)): 1 / 3, ("n_distinct", ("c",)): 3, ("min", ("x",)): 0,
        ("max", ("x",)): 9, ("mean", ("x",)): 4.5, ("median", ("x",)): 4.5, ("sd", ("x",)): np.sqrt(40.5),
        ("true_rate", ("b",)): 2 / 3, ("minority_rate", ("b",)): 1 / 3,
    }  # fmt: skip
    for (metric, columns), value in expected.items():
        row = run(Check(metric, columns, ge=-1), current, reference)
        assert row["value"] == pytest.approx(value), metric
    assert {metric for metric, _ in expected} == {*TABLE_FACTS, *COLUMN_FACTS} - JOINT - OF_TEXTS
    assert run(Check("missing_columns", eq=0), current.drop("c"), reference)["value"] == 1
    assert run(Check("new_columns", eq=0), current.with_columns(y=1), reference)["value"] == 1


@pytest.mark.parametrize(
    "write",
    [lambda f: f, lambda f: f.astype(int), lambda f: f.astype(float), lambda f: np.where(f, "yes", "no")],
    ids=["boolean", "0 and 1", "0.0 and 1.0", "yes and no"],
)
@pytest.mark.parametrize("turn", [False, True])
def test_a_draft_bounds_the_rate_of_a_flag_in_every_spelling(write, turn):
    """3 % of 4,000 rows, then 3 %, 12 %, none and 5.5 % of 2,000; by hand the bounds are 0.03 -+ (0.02 + 0.03 / 4)."""

    def flags(n, events):
        return pl.DataFrame({"flag": write((np.arange(n) < events) ^ turn)})

    suite = draft_suite(flags(4000, 120))
    for events, status in ((60, "pass"), (240, "fail"), (0, "unclear"), (110, "unclear")):
        result = run_suite(suite, flags(4000, 120), flags(2000, events)).frame.filter(metric="minority_rate")
        row = result.to_dicts()[0]
        assert (row["value"], row["status"]) == (pytest.approx(events / 2000), status), events
        assert (row["bound_low"], row["bound_high"]) == (pytest.approx(0.0025), pytest.approx(0.0575))


def test_a_star_is_every_column_that_has_the_metric():
    result = run_suite(
        Suite((Check("true_rate", ("*",), ge=0), Check("mean", ("*",), ge=-99), Check("psi", ("*",), le=9))),
        table(),
        table(seed=2),
    )
    by_metric = {m: set(result.frame.filter(metric=m)["column"]) for m in ("true_rate", "mean", "psi")}
    assert by_metric["true_rate"] == {"active"}
    assert by_metric["mean"] == {"id", "age", "score", "label"}
    assert by_metric["psi"] == {*table().columns} - {"id"}  # an identifier has no distribution


def test_drift_checks_use_the_verdicts_of_compare():
    shifted = table(seed=2).with_columns(pl.col("age") + 8)
    check = Check("psi", ("age",), le=0.1, judge="interval")
    assert run(check, shifted)["status"] == "fail"
    assert run(check)["status"] == "pass"
    assert run(Check("mann_whitney", ("age",), between=(0.4, 0.6)), shifted)["value"] == pytest.approx(0.71, abs=0.03)


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        (table().drop("age"), "has no column 'age'"),
        (table().with_columns(age=pl.lit("old")), "type has changed"),
    ],
)
@pytest.mark.parametrize("metric", ["mean", "null_rate", "psi"])
def test_broken_columns_are_reported_one_by_one(current, reason, metric):
    checks = (Check(metric, ("age",), le=0.5), Check("null_rate", ("plan",), le=0.5))
    rows = run_suite(Suite(checks), table(), current).to_dicts()
    if metric == "null_rate" and reason.startswith("type"):
        assert rows[0]["status"] == "pass"  # how much is missing does not depend on the type
    else:
        assert rows[0]["status"] in ("insufficient_data", "fail")
        assert reason in rows[0]["reason"] or "missing in the current" in rows[0]["reason"]
    assert rows[1]["status"] == "pass"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (Check("nul_rate", ("age",), le=0), "did you mean 'null_rate'"),
        (Check("roc_auc", ge=0.5), "needs `quality:`"),
        (Check("psi", le=0.1), "needs `column:`"),
        (Check("row_count", ("age",), ge=1), "of the whole table"),
        (Check("psi", ("age",), relative_tolerance=0.1), "already compares"),
        (Check("mean", ("ages",), ge=0), "did you mean 'age'"),
    ],
)
def test_checks_that_cannot_work_are_refused(check, message):
    with pytest.raises(ValueError, match=message):
        run(check)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "needs a bound"),
        ({"le": 1, "severity": "fatal"}, "severity: 'fatal'"),
        ({"le": 1, "judge": "p"}, "judge: 'p'"),
        ({"le": 1, "direction": "up"}, "direction: 'up'"),
        ({"relative_tolerance": -1}, "at least 0"),
        ({"between": (3, 1)}, "smaller number first"),
    ],
)
def test_malformed_checks_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Check("mean", ("x",), **fields)


def test_the_result_is_tidy_and_readable():
    result = run_suite(
        Suite((Check("row_count", ge=5000), Check("null_rate", ("age",), le=0.1, name="ages known"))), table(), table()
    )
    assert json.loads(result.to_json()) == result.to_dicts()
    text = repr(result)
    assert "2 checks: 1 fail, 1 pass" in text
    assert "ages known" in text
    assert "ages known" not in result.to_text(only_bad=True)


def test_a_draft_finds_what_is_broken():
    reference = table()
    suite = draft_suite(reference, ROLES)
    assert run_suite(suite, reference, reference).passed
    assert set(known_metrics(ROLES)) >= {check.metric for check in suite.checks}
    fifth = pl.int_range(pl.len()) % 5 == 0
    broken = {
        "null_rate(age)": table(seed=2).with_columns(age=pl.when(fifth).then(None).otherwise("age")),
        "duplicate_rate": table(seed=2).with_columns(id=7),
        "unseen_rate(plan)": table(seed=2).with_columns(plan=pl.lit("trial")),
        "n_distinct(age)": table(seed=2).with_columns(age=pl.lit(40.0)),
        "psi(age)": table(seed=2).with_columns(pl.col("age") + 10),
        "missing_columns": table(seed=2).drop("plan"),
        "row_count": table(seed=2).clear(),
        "roc_auc": table(seed=2, skill=0.1),
        "not_finite_rate(age)": table(seed=2).with_columns(age=pl.when(fifth).then(float("inf")).otherwise("age")),
    }
    for check, current in broken.items():
        frame = run_suite(suite, reference, current).frame
        assert frame.filter(pl.col("check") == check)["status"].to_list() == ["fail"], check


def test_a_draft_of_awkward_tables():
    odd = pl.DataFrame(
        {
            "all null": [None] * 50,
            "struct": [{"a": 1}] * 50,
            "constant": [1] * 50,
            "text": ["x" * 50 + str(i) for i in range(50)],
            "e": [[1.0, 2.0]] * 50,
        }
    )
    suite = draft_suite(odd)
    assert run_suite(suite, odd, odd).passed
    assert run_suite(draft_suite(odd.clear()), odd.clear(), odd).frame.height > 0


def awkward(rng, n):
    """Columns that chance alone makes constant, unique, or wider than a small reference."""
    return pl.DataFrame(
        {
            "rare": (rng.random(n) < 0.002).astype(int),
            "cents": rng.integers(0, 10_000_000, n),
            "name": [f"{a}-{b}" for a, b in rng.integers(0, 4000, (n, 2))],
            "at": pl.Series(1_767_225_600_000 + rng.integers(0, 10**8, n)).cast(pl.Datetime("ms")),
            "amount": rng.lognormal(3, 1, n),
            "holes": pl.Series(np.where(rng.random(n) < 0.005, np.nan, rng.normal(size=n)), nan_to_null=True),
            "order_id": np.arange(n) + int(rng.integers(10**6)),
        }
    )


@pytest.mark.parametrize(("m", "n"), [(150, 20_000), (3000, 100)])
def test_a_draft_asks_nothing_that_chance_breaks(m, n):
    rng = np.random.default_rng(91)
    failed = []
    for _ in range(6):
        reference = awkward(rng, m)
        result = run_suite(draft_suite(reference), reference, awkward(rng, n))
        failed += result.frame.filter(pl.col("status").is_in(["fail", "insufficient_data"]))["check"].to_list()
    assert failed == []


def test_a_draft_still_finds_small_breaks():
    rng = np.random.default_rng(92)
    reference, current = awkward(rng, 3000), awkward(rng, 3000)
    every = pl.int_range(pl.len())
    suite = draft_suite(reference)
    broken = {
        "null_rate(holes)": current.with_columns(holes=pl.when(every % 20 == 0).then(None).otherwise("holes")),
        "out_of_range_rate(amount)": current.with_columns(
            amount=pl.when(every % 20 == 0).then(pl.col("amount") * 1000).otherwise("amount")
        ),
        "duplicate_rate": current.with_columns(
            order_id=pl.when(every == 0).then(pl.col("order_id").last()).otherwise("order_id")
        ),
    }
    for check, table_ in broken.items():
        result = run_suite(suite, reference, table_)
        assert not result.passed
        assert check in result.frame.filter(status="fail")["check"].to_list()


def test_a_draft_tells_what_it_leaves_out_and_refuses_a_class_that_does_not_occur():
    rng = np.random.default_rng(93)
    users = pl.DataFrame(
        {"user": rng.integers(0, 5000, 1000).astype(str), "y": rng.choice(["yes", "no"], 1000), "p": rng.random(1000)}
    )
    suite = draft_suite(users)
    assert run_suite(suite, users, users).passed
    assert any(note.startswith("psi(user): the values hardly repeat") for note in suite.notes)
    with pytest.raises(ValueError, match="never holds the positive class '1'; it holds no, yes"):
        draft_suite(users, Roles("binary_classification", "y", score="p"))
    few = draft_suite(users.head(60), Roles("binary_classification", "y", score="p", positive="yes"))
    assert any("60 labelled rows, 100 needed" in note for note in few.notes)


def test_a_tolerance_allows_for_the_noise_of_the_reference():
    """Against 60 rows a mean that is 0.1 sd off is no failure, whatever the number of current rows."""
    rng = np.random.default_rng(94)
    reference = pl.DataFrame({"x": rng.normal(0.0, 1, 60)})
    centre = float(reference["x"].mean())
    current = pl.DataFrame({"x": rng.normal(centre + 0.15, 0.5, 50_000)})
    check = Check("mean", ("x",), absolute_tolerance=0.1, judge="interval")
    assert run(check, current, reference)["status"] == "unclear"
    assert run(check, current.with_columns(pl.col("x") + 2), reference)["status"] == "fail"
    larger = pl.DataFrame({"x": rng.normal(centre, 1, 60_000)})
    assert run(check, current, larger)["status"] == "fail"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (pl.all().exclude("score"), "there is no column 'score'"),
        ([pl.exclude("score"), pl.lit("high").alias("score")], "does not hold numbers"),
        ([pl.exclude("score"), pl.lit(7.0).alias("score")], "probabilities lie in"),
    ],
)
def test_a_broken_score_fails_the_checks_of_quality_alone(change, reason):
    checks = (Check("roc_auc", ge=0.5), Check("null_rate", ("age",), le=0.5))
    rows = run_suite(Suite(checks, ROLES), table(), table(seed=2).select(change)).to_dicts()
    assert [row["status"] for row in rows] == ["insufficient_data", "pass"]
    assert reason in rows[0]["reason"]
    with pytest.raises(ValueError, match="quality_of_rows"):
        run_suite(Suite(checks, ROLES), table().select(change), table())


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("f", [float("inf"), 1.0], "'f' holds infinite values"),
        ("y", ["a", "b"], "'y' of type String does not hold numbers"),
        ("f", [1e200, 1.0], "'f' holds values beyond 1e\\+145"),
    ],
)
def test_forecasts_that_cannot_be_added_up_are_named(column, values, reason):
    rows = pl.DataFrame({"y": [1.0, 2.0] * 100, "f": [1.0, 2.0] * 100})
    roles = Roles("regression", "y", prediction="f")
    with pytest.raises(ValueError, match=reason):
        quality_of_rows(rows.with_columns(pl.Series(column, values * 100)), roles)


def test_one_is_true_of_a_boolean_label():
    frame_ = table()
    flags = frame_.with_columns(pl.col("label") == 1)
    # A sum of parts adds up in another order for another type: the last bit may differ.
    assert_frame_equal(quality_of_rows(flags, ROLES), quality_of_rows(frame_, ROLES), rel_tol=1e-12)
    assert draft_suite(flags, ROLES).checks == draft_suite(frame_, ROLES).checks
