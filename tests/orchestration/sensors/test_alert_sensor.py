"""The sensor over a real Dagster instance: what runs say is counted once, across restarts, and none is lost."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from orchestration.sensors import alert_sensor, operations
from orchestration.sensors.alert_sensor import NAME, tick
from orchestration.sensors.operations import CheckResult, Cursor, EndedRun, look, seen_in
from sightline.alerts.operational import heartbeat_age, operations_file, read, standing
from sightline.home import Home
from sightline.spec.model import MonitorSpec

START = datetime(2026, 1, 1, tzinfo=UTC)
PARTITIONS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-12-31")
FAILING: set[str] = set()
"""Windows of which the asset fails, and `rule` where its check breaks."""


@dg.asset(key=["churn", "model_quality"], partitions_def=PARTITIONS)
def model_quality(context: dg.AssetExecutionContext) -> None:
    if context.partition_key in FAILING:
        raise ValueError(f"no \x1b[31mlabels\x1b[0m of {context.partition_key}")


@dg.asset_check(asset=model_quality)
def freshness_rule(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed="rule" not in FAILING, description="fewer rows than the file's rule allows")


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    """Dagster's own SQLite storage: what works on it works on the others."""
    FAILING.clear()
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as found:
        yield found


@pytest.fixture
def specs(make_spec) -> dict[str, MonitorSpec]:
    spec = make_spec(start="2026-01-01")
    return {spec.id: spec}


def run(instance: dg.DagsterInstance, window: str, *, failing: bool = False, flow: str = "delayed") -> str:
    if failing:
        FAILING.add(window)
    else:
        FAILING.discard(window)
    tags = {"sightline/monitor": "churn", "sightline/flow": flow}
    done = dg.materialize(
        [model_quality, freshness_rule], partition_key=window, instance=instance, tags=tags, raise_on_error=False
    )
    assert done.success is not failing
    return done.run_id


def evaluate(instance: dg.DagsterInstance, home: Home, specs: dict[str, MonitorSpec], cursor: str | None) -> str:
    """One tick of the sensor as the daemon evaluates it, in a sensor built anew: as after a restart."""
    sensor = alert_sensor.build(home, specs)
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    result = sensor(context)
    assert isinstance(result, dg.SensorResult) and result.cursor is not None
    return result.cursor


def facts(home: Home) -> list[dict[str, Any]]:
    return standing(home.monitor("churn"))


def test_failed_and_recovered_runs_across_restarts(instance, home, specs):
    cursor = evaluate(instance, home, specs, None)
    failed = run(instance, "2026-01-02", failing=True)
    cursor = evaluate(instance, home, specs, cursor)
    [fact] = facts(home)
    assert (fact["cause"], fact["is_failing"], fact["n"], fact["run_id"]) == ("run:delayed", True, 1, failed)
    assert "runs of delayed failed at model_quality" in fact["words"] and "(2026-01-02)" in fact["words"]
    assert "\x1b" not in fact["words"]
    for _ in range(3):
        cursor = evaluate(instance, home, specs, cursor)
    assert facts(home)[0]["n"] == 1
    run(instance, "2026-01-03")
    cursor = evaluate(instance, home, specs, cursor)
    assert facts(home)[0]["is_failing"], "another window went well"
    run(instance, "2026-01-02")
    evaluate(instance, home, specs, cursor)
    assert not facts(home)[0]["is_failing"]


def test_a_kill_before_the_cursor_was_kept_counts_nothing_twice(instance, home, specs):
    cursor = evaluate(instance, home, specs, None)
    run(instance, "2026-01-02", failing=True)
    run(instance, "2026-01-03", failing=True)
    lost = evaluate(instance, home, specs, cursor)
    assert lost != cursor
    before = operations_file(home.monitor("churn")).read_bytes()
    again = evaluate(instance, home, specs, cursor)
    assert operations_file(home.monitor("churn")).read_bytes() == before
    assert json.loads(again) == json.loads(lost)
    assert facts(home)[0]["n"] == 2


def test_a_kill_between_keeping_and_telling_tells_all_the_same(instance, home, specs, monkeypatch):
    outbox = pytest.importorskip("sightline.alerts.outbox")
    cursor = evaluate(instance, home, specs, None)
    run(instance, "2026-01-02", failing=True)
    with monkeypatch.context() as context:
        context.setattr(alert_sensor, "tell", _die)
        with pytest.raises(KeyboardInterrupt):
            evaluate(instance, home, specs, cursor)
    assert facts(home)[0]["n"] == 1
    for _ in range(2):
        evaluate(instance, home, specs, cursor)
    with outbox.Outbox(home) as opened:
        assert [(row["kind"], row["state"]) for row in opened.listed()] == [("run_failed", "sent")]


def _die(*_: Any) -> None:
    raise KeyboardInterrupt


def test_pages_smaller_than_what_has_ended_lose_nothing(instance, home, specs, monkeypatch):
    monkeypatch.setattr(operations, "MAX_RUNS", 3)
    cursor = evaluate(instance, home, specs, None)
    expected = {run(instance, f"2026-01-{day:02}", failing=True) for day in range(2, 12)}
    for _ in range(12):
        cursor = evaluate(instance, home, specs, cursor)
    seen = [entry.run_id for _, entry in read(home.monitor("churn"))]
    assert set(seen) == expected and len(seen) == len(expected)


def test_hard_rules_that_break_and_hold_again(instance, home, specs):
    cursor = evaluate(instance, home, specs, None)
    FAILING.add("rule")
    run(instance, "2026-01-02")
    run(instance, "2026-01-03")
    cursor = evaluate(instance, home, specs, cursor)
    [fact] = facts(home)
    assert fact["cause"] == "check:model_quality:freshness_rule" and fact["is_failing"]
    assert "fewer rows than the file's rule allows" in fact["words"]
    FAILING.clear()
    run(instance, "2026-01-04")
    evaluate(instance, home, specs, cursor)
    assert not facts(home)[0]["is_failing"]


def test_the_first_look_tells_nothing_of_long_ago(instance, home, specs):
    run(instance, "2026-01-02", failing=True)
    later = datetime.now(UTC) + timedelta(days=2)
    _, added = tick(instance, home, specs, Cursor.load(None, later), later)
    assert added == 0 and facts(home) == []
    assert Cursor.load("{", later) == Cursor.load(None, later)


def test_runs_of_no_monitor_are_passed_over(instance, home, specs):
    @dg.op
    def fail() -> None:
        raise ValueError

    @dg.job
    def other() -> None:
        fail()

    other.execute_in_process(instance=instance, raise_on_error=False)
    assert look(instance, Cursor.load(None, datetime.now(UTC)), specs).runs == []


def test_freshness_is_told_by_feed_and_once(home, specs, instance):
    from dagster import AssetKey
    from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

    def change(asset: str, new: FreshnessState, minute: int) -> FreshnessStateChange:
        at = (START + timedelta(minutes=minute)).timestamp()
        return FreshnessStateChange(
            key=AssetKey(["churn", asset]),
            new_state=new,
            previous_state=FreshnessState.PASS,
            state_change_timestamp=at,
        )

    old = [(k, change(asset, FreshnessState.FAIL, k)) for k, asset in enumerate(("inferences", "drift", "labels"), 1)]
    found = operations.seen_of_freshness([*old, (9, change("drift", FreshnessState.WARN, 9))], specs)
    assert [seen.cause for seen in found["churn"]] == ["freshness:inferences"] * 2 + ["freshness:labels"]
    from sightline.alerts import operational

    paths = home.monitor("churn")
    operational.record(paths, found["churn"], START)
    back = [(20, change("inferences", FreshnessState.PASS, 20)), (21, change("drift", FreshnessState.PASS, 21))]
    for late, number in zip(back, (1, 2), strict=True):
        operational.record(
            paths, operations.seen_of_freshness([late], specs)["churn"], START + number * timedelta(hours=1)
        )
    told = [(c.kind, c.facts["subject"]) for c in operational.changes("churn", None, paths, START + timedelta(hours=3))]
    assert told == [
        ("freshness", "freshness:inferences"), ("labels_overdue", "freshness:labels"),
        ("fresh_again", "freshness:inferences"),
    ]  # fmt: skip


def test_overdue_labels_are_one_cause_whoever_sees_them(home, specs):
    """The check, Dagster's freshness of labels and `sightline backfill` say the same; it is no hard rule."""
    from orchestration.backfill_command import overdue_labels
    from sightline.alerts import operational

    paths = home.monitor("churn")

    def ended(n: int, *, is_broken: bool) -> EndedRun:
        at = START + timedelta(hours=n)
        check = CheckResult("alerts", "label_freshness", is_broken, False, "2026-01-05", "No labels since 2026-01-01.")
        return EndedRun(f"run{n}", "churn", "immediate", at, at, "SUCCESS", ("2026-01-05",), (), (check,))

    def told(*seen: operational.Seen, n: int) -> list[tuple[str, str]]:
        operational.record(paths, seen, START + timedelta(hours=n))
        found = operational.changes("churn", None, paths, START + timedelta(hours=n))
        return [(change.kind, change.severity) for change in found]

    late = ("labels_overdue", "warn")
    assert told(*seen_in(ended(1, is_broken=True)), n=1) == [late]
    assert told(*seen_in(ended(2, is_broken=True)), n=2) == [late]
    assert told(overdue_labels("b", START + timedelta(hours=3), "No labels."), n=3) == [late]
    assert "No labels" in standing(paths)[0]["words"]
    assert told(*seen_in(ended(4, is_broken=False)), n=4) == [late, ("fresh_again", "info")]


def test_real_changes_of_freshness_are_read_from_the_instance(instance, home, specs):
    from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

    cursor = evaluate(instance, home, specs, None)
    change = FreshnessStateChange(
        key=dg.AssetKey(["churn", "labels"]),
        new_state=FreshnessState.FAIL,
        previous_state=FreshnessState.PASS,
        state_change_timestamp=datetime.now(UTC).timestamp(),
    )
    instance._report_runless_asset_event(change)
    cursor = evaluate(instance, home, specs, cursor)
    cursor = evaluate(instance, home, specs, cursor)
    assert [(fact["cause"], fact["n"]) for fact in facts(home)] == [("freshness:labels", 1)]


RUN = EndedRun("r", "churn", "immediate", START, START, "FAILURE", ("2026-01-02",), (("churn__drift", "boom"),))


def test_a_rule_that_blocks_tells_of_the_run_that_it_stopped():
    broken = CheckResult(
        "inferences", "contract", is_broken=True, blocking=True, window="2026-01-02", words="no column x"
    )
    run = EndedRun(**{**RUN.__dict__, "checks": (broken,)})
    assert [seen.cause for seen in seen_in(run)] == ["check:inferences:contract"]
    sums = EndedRun(**{**RUN.__dict__, "checks": (CheckResult("alerts", "hard_rules", True, False, "", ""),)})
    assert [seen.cause for seen in seen_in(sums)] == ["run:immediate"]


def test_a_candidate_that_is_rejected_calls_nobody_and_one_that_cannot_be_read_is_told():
    rejected = CheckResult("evaluation", "promote", True, True, "2.1", "2.1: inferior")
    run = EndedRun(**{**RUN.__dict__, "flow": "candidate", "checks": (rejected,), "windows": ("2.1",)})
    assert run.status == "FAILURE"
    assert seen_in(run) == []
    unread = EndedRun(**{**run.__dict__, "checks": ()})
    assert [(seen.cause, seen.items) for seen in seen_in(unread)] == [("run:candidate", ("2.1",))]


def test_a_backfill_that_succeeds_covers_the_flows_and_a_cancelled_run_says_nothing():
    done = EndedRun(**{**RUN.__dict__, "status": "SUCCESS", "flow": "backfill"})
    assert {seen.cause for seen in seen_in(done)} == {
        "run:backfill",
        "run:immediate",
        "run:delayed",
        "run:chosen assets",
    }
    assert seen_in(EndedRun(**{**RUN.__dict__, "status": "CANCELED"})) == []


def test_each_tick_writes_the_heartbeat(instance, home, specs):
    evaluate(instance, home, specs, None)
    written = json.loads((home.data / "alerts" / "heartbeat.json").read_text())
    assert written["monitors"] == ["churn"] and written["pid"] > 0
    age = heartbeat_age(home, datetime.now(UTC))
    assert age is not None and age < 60


def test_a_tick_of_a_code_location_without_monitors(instance, home):
    assert alert_sensor.build(home, {}).name == NAME
    evaluate(instance, home, {}, None)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("dagster._core.definitions.events.Failure: no rows", "no rows"),
        ("sightline.errors.SightlineError: churn.yaml:3: no key", "churn.yaml:3: no key"),
        ("duckdb.duckdb.IOException: no disk", "IOException: no disk"),
        ("ValueError: e.g. this", "ValueError: e.g. this"),
        ("e.g. this: fails", "e.g. this: fails"),
    ],
)
def test_errors_are_told_without_the_modules_of_their_classes(error, told):
    assert operations.CLASS_PATH.sub("", error, count=1) == told
