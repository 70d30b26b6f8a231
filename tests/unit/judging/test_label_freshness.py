"""The check `label_freshness`: how long ago the latest label came, by what was to be seen at each window's end."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from orchestration.backfill_command import Outcome, add_overdue_labels, report
from sightline.alerts.outbox import Outbox
from sightline.judging import board
from sightline.judging.label_freshness import CHECK, label_feed
from sightline.judging.published import Judgement, Published
from sightline.lake.intake.load import intake
from sightline.results.learnt_delays import LearntDelays, publish_delays
from sightline.spec import plan
from sightline.spec.judging_sections import Freshness
from sightline.spec.plan import PlannedCheck
from tests.support.workshop import land

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 5)
LAST_LABEL = 6
LEARNT = LearntDelays(2 * DAY, 20 * DAY, timedelta(hours=5), 2_000)
COLUMNS = {"prediction_id": "id", "timestamp": "at", "score": "p", "features": {"age": "numeric"}}
LABELS = {"column": "churned", "observed_at": "known"}
QUALITY = PlannedCheck("model_quality", "quality__roc_auc", "", metric="roc_auc")


@pytest.fixture
def spec(make_spec, home):
    """Twenty days of predictions whose labels come two days later, until the feed dies on the seventh day."""
    made = make_spec(columns=COLUMNS, labels=LABELS, alerts={"warmup": 8})
    paths = home.monitor(made.id)
    at = [FIRST + k * DAY + timedelta(hours=12) for k in range(20)]
    rows = pl.DataFrame({"id": [f"a{k}" for k in range(20)], "at": at, "p": 0.5, "age": 30.0})
    land(home, made.id, "inferences", "one", rows)
    known = rows.select("id", churned=pl.lit(1), known=pl.col("at") + 2 * DAY).head(LAST_LABEL - 1)
    land(home, made.id, "labels", "one", known)
    for kind in ("inferences", "labels"):
        intake(made, paths, kind, home)
    return made


def keys(spec, n: int = 20) -> list[str]:
    return [spec.key(FIRST + k * DAY) for k in range(n)]


def told(spec, home):
    [check] = [check for check in plan.checks(spec) if check.name == CHECK]
    found = board.evaluate(spec, home.monitor(spec.id), "alerts", [check], keys(spec))
    return {key: verdict for _, key, verdict in found}


def test_it_says_since_when_no_label_has_come_and_what_is_usual(spec, home):
    publish_delays(home.monitor(spec.id), LEARNT)
    found = told(spec, home)
    levels = [found[key].level if key in found else None for key in keys(spec)]
    # labels came at noon of the days 2 to 6; a window closes an hour after midnight, and 3 days are too long
    assert levels == [None, None, *["ok"] * 6, "warn", *["error"] * 11]
    assert found[keys(spec)[6]].text == "Labels came until 2026-01-11; one usually comes within 5 hours of the last."
    last = found[keys(spec)[-1]]
    assert last.text == "No labels since 2026-01-11, for 13.5 days; one usually comes within 5 hours of the last."
    assert (last.cause, last.facts["overdue after"]) == ("rule", "3 days")
    assert "freshness.labels" in last.facts["what to do"]


def test_labels_that_come_in_batches_are_not_overdue_between_two(spec, home):
    publish_delays(home.monitor(spec.id), LearntDelays(2 * DAY, 20 * DAY, 10 * DAY, 2_000))
    assert {verdict.level for verdict in told(spec, home).values()} == {"ok"}


def test_nothing_is_said_while_nobody_knows_how_often_labels_come(spec, home, make_spec):
    assert told(spec, home) == {}
    assert "label_freshness" not in [check.name for check in plan.checks(make_spec(labels=None))]


def test_the_deadline_of_the_file_counts_unlearnt(make_spec, spec, home):
    own = make_spec(columns=COLUMNS, labels=LABELS, freshness={"labels": "10d"})
    found = told(own, home)
    assert [found[key].level for key in keys(own)[2:]] == ["ok"] * 11 + ["warn"] * 3 + ["error"] * 4
    assert found[keys(own)[-1]].text.endswith("the monitor's file allows 10 days (`freshness.labels`).")


def test_a_backfill_fails_by_it_even_if_there_was_nothing_to_do(spec, home):
    nothing = Outcome()
    assert add_overdue_labels(home, spec, nothing) == "" and not nothing.failed, "nobody knows how often labels come"
    publish_delays(home.monitor(spec.id), LEARNT)
    assert add_overdue_labels(home, spec, nothing) == "", "a failure is no warning"
    [(check, windows)] = nothing.failed.items()
    [(newest, text)] = windows.items()
    assert check == ("alerts", CHECK) and newest == keys(spec)[-1]
    assert text.startswith("No labels since 2026-01-11, for 13.5 days;")
    line = f"  alerts/{CHECK} in 1 window ({newest}): {text}"
    told = report(spec, nothing)
    assert "nothing to work up" in told[0] and told[1:] == ["checks that failed: 1", line]
    worked = Outcome({"2026-01-20"}, {})
    assert report(spec, worked)[1:] == ["checks that failed: none"]
    worked.failed["alerts", CHECK] = {"2026-01-20": "No labels."}
    add_overdue_labels(home, spec, worked)
    assert report(spec, worked)[1:] == [
        "checks that failed: 1",
        f"  alerts/{CHECK} in 2 windows (2026-01-20 to {newest}): {text}",
    ]


def test_a_backfill_warns_of_labels_that_are_nearly_overdue_and_passes(spec, home):
    near = spec.model_copy(update={"freshness": Freshness(labels=16 * DAY)})
    outcome = Outcome()
    text = add_overdue_labels(home, near, outcome)
    assert text.startswith("No labels since 2026-01-11, for 13.5 days;") and not outcome.failed
    assert report(near, outcome, text)[-1] == text


def test_a_backfill_tells_once_that_labels_are_overdue_and_that_they_are_back(spec, home):
    def unrouted(allowed: timedelta) -> list[tuple[str, str, str]]:
        add_overdue_labels(home, spec.model_copy(update={"freshness": Freshness(labels=allowed)}), Outcome())
        with Outbox(home) as outbox:
            return [(change.kind, change.severity, change.facts["what"][:60]) for change in outbox.unrouted()]

    assert unrouted(20 * DAY) == []
    overdue = ("labels_overdue", "warn", "No labels since 2026-01-11, for 13.5 days; the monitor's fil")
    assert unrouted(10 * DAY) == unrouted(10 * DAY) == [overdue]
    assert [kind for kind, *_ in unrouted(20 * DAY)] == ["labels_overdue", "fresh_again"]
    assert [kind for kind, *_ in unrouted(10 * DAY)] == ["labels_overdue", "fresh_again", "labels_overdue"]


def test_coverage_names_the_silence_as_the_reason_of_what_waits_for_labels(spec, home):
    paths = home.monitor(spec.id)
    publish_delays(paths, LEARNT)
    codes = ["too_few_rows"] * 6 + ["not_identifiable"] * 4 + ["labels_not_due"] * 10
    facts = {"column": "", "metric": "roc_auc", "value": None, "status": "insufficient_data", "reason": "none"}
    rows = [Judgement(window_start=FIRST + k * DAY, reason_code=code, **facts) for k, code in enumerate(codes)]
    published = {"model_quality": Published(rows, [], [])}
    feed = label_feed(spec, paths, keys(spec))
    found = dict(board.coverage(spec, {"model_quality": [QUALITY]}, published, keys(spec), feed))
    texts = [found[key].text for key in keys(spec)]
    assert [key for key in keys(spec) if found[key].level == "warn"] == [keys(spec)[7]]
    assert texts[7] == "No longer judged: quality__roc_auc (no labels since 2026-01-11)."
    assert set(texts[8:]) == {"Not judged, as before: quality__roc_auc (no labels since 2026-01-11)."}
    before = dict(board.coverage(spec, {"model_quality": [QUALITY]}, published, keys(spec)[:8], feed))
    assert before[keys(spec)[7]].text == "No longer judged: quality__roc_auc (not identifiable).", "nothing overdue yet"
