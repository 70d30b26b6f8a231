"""Operational facts: counted once, told once per cause, and the heartbeat that an outside service watches."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sightline.alerts import listing, operational
from sightline.alerts.operational import Seen, changes, operations_file, read, record, standing
from sightline.errors import SightlineError

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(n: int, *windows: str, failed: bool = True, flow: str = "delayed", minute: int | None = None) -> Seen:
    at = NOW + (n if minute is None else minute) * MINUTE
    words = f"runs of {flow} failed at model_quality" if failed else ""
    return Seen(f"r{n}:{flow}", f"run:{flow}", "run", at, failed, windows or ("",), words, f"r{n}", ("model_quality",))


def told(paths: Any, now: datetime = NOW + timedelta(hours=1)) -> list[tuple[str, str]]:
    return [(change.kind, change.facts["subject"]) for change in changes("churn", "ann@example.com", paths, now)]


@pytest.fixture
def paths(home):
    return home.monitor("churn")


def test_what_is_seen_again_counts_once(paths):
    assert record(paths, [run(1, "2026-03-01"), run(2, "2026-03-02")], NOW) == 2
    assert record(paths, [run(1, "2026-03-01"), run(2, "2026-03-02")], NOW + MINUTE) == 0
    [state] = standing(paths)
    assert (state["n"], state["n_items"], state["is_failing"]) == (2, 2, True)
    assert state["words"] == "runs of delayed failed at model_quality (since 2026-03-10 09:01, 2 times)"


def test_a_cause_is_well_again_when_each_of_its_windows_is(paths):
    record(paths, [run(1, "a", "b")], NOW)
    record(paths, [run(2, "a", failed=False)], NOW + MINUTE)
    assert standing(paths)[0]["is_failing"]
    record(paths, [run(3, "b", failed=False)], NOW + 2 * MINUTE)
    [state] = standing(paths)
    assert (state["is_failing"], state["until"]) == (False, NOW + 3 * MINUTE)
    assert told(paths) == [("run_failed", "run:delayed"), ("run_recovered", "run:delayed")]


def test_365_failed_windows_of_365_runs_are_told_once(paths):
    days = [f"{NOW - timedelta(days=k):%Y-%m-%d}" for k in range(365)]
    for start in range(0, 365, 50):
        seen = [run(start + k, window) for k, window in enumerate(days[start : start + 50])]
        record(paths, seen, NOW + start * MINUTE)
    assert told(paths, NOW + timedelta(days=1)) == [("run_failed", "run:delayed")]
    assert standing(paths)[0]["n_items"] == 365
    record(paths, [run(999, *days, failed=False)], NOW + timedelta(days=1))
    assert told(paths, NOW + timedelta(days=1))[1:] == [("run_recovered", "run:delayed")]


def test_a_run_that_was_repeated_before_anybody_looked_is_no_news(paths):
    record(paths, [run(1, "a"), run(2, "a", failed=False)], NOW)
    assert told(paths) == [] and standing(paths)[0]["n"] == 1


def test_what_was_seen_late_does_not_undo_what_came_after(paths):
    record(paths, [run(5, "a", failed=True), run(6, "a", failed=False)], NOW)
    assert record(paths, [run(4, "a", minute=4)], NOW + MINUTE) == 0, "older than the success"
    assert record(paths, [run(3, "b", minute=3)], NOW + MINUTE) == 1, "of another window nothing is known"


def test_order_within_a_look_does_not_matter(paths):
    record(paths, [run(2, "a", failed=False), run(1, "a")], NOW)
    assert not standing(paths)[0]["is_failing"]


def test_successes_alone_are_not_kept(paths):
    assert record(paths, [run(1, "a", failed=False)], NOW) == 0 and read(paths) == []


def test_a_torn_line_and_a_foreign_one_are_left_out_and_the_next_is_whole(paths):
    record(paths, [run(1, "a")], NOW)
    with operations_file(paths).open("ab") as file:
        file.write(b'{"id": "x", "cause": \n[]\n{"seen_at": "2026-')
    record(paths, [run(2, "b")], NOW)
    assert [seen.id for _, seen in read(paths)] == ["r1:delayed", "r2:delayed"]


def test_the_same_change_has_the_same_id_whenever_it_is_derived(paths):
    record(paths, [run(1, "a")], NOW)
    first = [change.id for change in changes("churn", None, paths, NOW)]
    record(paths, [run(2, "b")], NOW + MINUTE)
    assert [change.id for change in changes("churn", None, paths, NOW)] == first
    assert list(changes("churn", None, paths, NOW + timedelta(days=8))) == [], "long ago"


def test_hostile_words_are_kept_as_text(paths):
    words = 'runs failed: \x1b[2J\'; DROP TABLE x; --\n{"kind": 1}'
    record(paths, [Seen("r1:x", "run:x", "run", NOW, True, ("a",), words, "r1")], NOW)
    [(_, seen)] = read(paths)
    assert seen.words == words and len(operations_file(paths).read_bytes().splitlines()) == 1


def test_facts_are_listed_by_the_filters_of_incidents(paths):
    record(paths, [run(1, "a"), run(2, "a", failed=False)], NOW)
    record(paths, [run(3, "b", flow="immediate")], NOW)
    names = [fact["cause"] for fact in listing.operations(paths)]
    assert names == ["run:immediate", "run:delayed"], "what fails comes first"
    for wanted, n in (
        (listing.Wanted(is_open=True), 1), (listing.Wanted(severities=("info",)), 1),
        (listing.Wanted(owner="ann"), 0), (listing.Wanted(since=datetime(2026, 3, 11)), 1),
        (listing.Wanted(until=datetime(2026, 3, 9)), 0),
    ):  # fmt: skip
        assert len(listing.operations(paths, wanted)) == n, wanted


# ---------------------------------------------------------------- heartbeat


def test_the_age_of_the_heartbeat(home, monkeypatch):
    assert operational.heartbeat_age(home, NOW) is None
    operational.beat(home, ["churn"], NOW)
    assert operational.heartbeat_age(home, NOW + MINUTE) == 60
    assert operational.heartbeat_age(home, NOW - MINUTE) == 0, "a clock that went back"
    assert not operational.is_late(60) and operational.is_late(181)
    monkeypatch.setenv("SIGHTLINE_HEARTBEAT_LATE_SECONDS", "30")
    assert operational.is_late(60)
    (home.data / "alerts" / "heartbeat.json").write_text('{"at": 7}')
    assert operational.is_late(operational.heartbeat_age(home, NOW))


@contextmanager
def service(status: int, **headers: str) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret-7f3a", asked
        server.shutdown()


def test_a_dead_mans_switch_is_pinged_and_its_address_stands_in_no_log(caplog):
    with service(200) as (url, asked):
        assert operational.ping(url) and asked == ["/secret-7f3a"]
    assert not operational.ping(url), "nobody is there any more"
    with service(500) as (url, _):
        assert not operational.ping(url)
    with service(302, Location="http://127.0.0.1:9/elsewhere") as (url, asked):
        assert not operational.ping(url) and asked == ["/secret-7f3a"]
    assert "HTTP 500" in caplog.text and "secret-7f3a" not in caplog.text
    with pytest.raises(SightlineError, match="none of HTTP") as error:
        operational.ping("file:///secret-7f3a")
    assert "secret-7f3a" not in str(error.value)
