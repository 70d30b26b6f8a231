"""Windows as partitions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestration import partitions
from sightline.spec.windows import closes_at, contiguous, keys_between, matures_at


@pytest.mark.parametrize(
    ("schedule", "now", "expected"),
    [
        ("daily", datetime(2026, 1, 3, 5, tzinfo=UTC), ["2026-01-01", "2026-01-02", "2026-01-03"]),
        ("hourly", datetime(2026, 1, 1, 2, 30, tzinfo=UTC), ["2026-01-01-00", "2026-01-01-01", "2026-01-01-02"]),
        ("weekly", datetime(2026, 1, 13, tzinfo=UTC), ["2025-12-29", "2026-01-05", "2026-01-12"]),
    ],
)
def test_partition_keys_are_window_keys_and_hold_the_current_window(make_spec, schedule, now, expected):
    spec = make_spec(schedule=schedule)
    keys = partitions.definition(spec).get_partition_keys(current_time=now)
    assert list(keys) == expected
    assert [spec.key(spec.window_start(key)) for key in keys] == expected


def test_contiguous_ranges(make_spec):
    spec = make_spec(schedule="hourly")
    keys = ["2026-01-01-23", "2026-01-02-00", "2026-01-02-02", "2026-01-01-22"]
    assert contiguous(spec, keys, 10) == [
        ("2026-01-01-22", "2026-01-02-00"),
        ("2026-01-02-02", "2026-01-02-02"),
    ]
    assert contiguous(spec, keys, 2) == [
        ("2026-01-01-22", "2026-01-01-23"),
        ("2026-01-02-00", "2026-01-02-00"),
        ("2026-01-02-02", "2026-01-02-02"),
    ]
    assert contiguous(spec, [], 2) == []


def test_keys_between(make_spec):
    spec = make_spec(schedule="weekly")
    assert keys_between(spec, "2026-01-05", "2026-01-19") == ["2026-01-05", "2026-01-12", "2026-01-19"]
    assert keys_between(spec, "2026-01-12", "2026-01-05") == []


def test_a_window_closes_after_its_end_and_its_labels_are_due_later(make_spec):
    spec = make_spec()
    assert closes_at(spec, "2026-01-01") == datetime(2026, 1, 2, 1, tzinfo=UTC)
    assert matures_at(spec, "2026-01-01") == datetime(2026, 1, 3, 1, tzinfo=UTC)


def test_run_tags_name_a_partition_or_a_range():
    assert partitions.run_tags("a", "a") == {"dagster/partition": "a"}
    assert set(partitions.run_tags("a", "b")) == {partitions.RANGE_START, partitions.RANGE_END}
