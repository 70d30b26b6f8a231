"""A PostgreSQL table as a source: every row once, whatever its transaction does."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sightline.lake.fetch import postgres as reading
from sightline.lake.fetch import reading as common
from sightline.lake.fetch.spool import open_spool
from sightline.lake.intake.fetching import fetch_new, source_of
from sightline.lake.intake.load import intake
from sightline.spec.model import MonitorSpec
from tests.support.lake import START
from tests.support.postgres import PASSWORD, Server
from tests.support.sources import counts, fetch_all, files_holding, home_of, ids, load, look, spec_of

pytestmark = pytest.mark.e2e

NAMES = itertools.count()
COLUMNS = "id text, ts timestamptz, p float8, version text, x float8, c text"


@pytest.fixture
def table(postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty table of predictions with a time of creation."""
    monkeypatch.setenv("PG_SECRET", PASSWORD)
    name = f"predictions_{next(NAMES)}"
    postgres_server.execute(
        f"CREATE TABLE {name} ({COLUMNS}, created_at timestamptz DEFAULT now(), n bigserial)",
        f"CREATE INDEX ON {name} (created_at)",
        f"GRANT SELECT ON {name} TO reader",
    )
    return name


def monitor(server: Server, name: str, **changes: Any) -> MonitorSpec:
    given = {
        **{"host": "127.0.0.1", "port": server.port, "database": "postgres", "user": "reader"},
        **{"password_env": "PG_SECRET", "table": name, "cursor": "created_at"},
    }
    return spec_of(postgres={**given, **changes})


def insert(cursor: Any, table: str, names: list[str], created_at: str = "now()") -> None:
    """Rows of the first day."""
    for name in names:
        cursor.execute(
            f"INSERT INTO {table} (id, ts, p, version, x, c, created_at) "
            f"VALUES (%s, %s, 0.5, 'v1', 1.5, 'a', {created_at})",
            [name, START],
        )


def put(server: Server, table: str, names: list[str], created_at: str = "now()") -> None:
    connection = server.connect()
    with connection, connection.cursor() as cursor:
        insert(cursor, table, names, created_at)
    connection.close()


def test_rows_come_once_and_only_new_ones(postgres_server: Server, table: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    spec = monitor(postgres_server, table)
    put(postgres_server, table, ["a", "b"])
    assert load(spec, home).accepted == 2
    assert look(spec, home).n_files == 0
    put(postgres_server, table, ["c"])
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (1, 0)
    assert ids(spec, home) == ["a", "b", "c"]


@pytest.mark.parametrize("cursor", ["created_at", "n"])
def test_rows_of_a_long_transaction_are_not_lost(
    postgres_server: Server, table: str, tmp_path: Path, cursor: str
) -> None:
    """Both orders of commit, a savepoint, and a rollback: rows with lower values become visible after higher ones."""
    home, _ = home_of(tmp_path)
    spec = monitor(postgres_server, table, cursor=cursor)
    long, short = postgres_server.connect(), postgres_server.connect()
    with long.cursor() as slow, short.cursor() as quick:
        insert(slow, table, ["long-1"])
        slow.execute("SAVEPOINT within")
        insert(slow, table, ["long-2"])
        slow.execute("RELEASE SAVEPOINT within")
        slow.execute("SAVEPOINT gone")
        insert(slow, table, ["never"])
        slow.execute("ROLLBACK TO SAVEPOINT gone")
        insert(quick, table, ["short-1"])
        short.commit()
        fetch_all(spec, home)
        insert(quick, table, ["short-2"])
        short.commit()
        fetch_all(spec, home)
        long.commit()
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (4, 0)
    assert ids(spec, home) == ["long-1", "long-2", "short-1", "short-2"]
    long.close()
    short.close()


def test_rows_behind_the_overlap_are_found_by_the_sweep(
    postgres_server: Server, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _ = home_of(tmp_path)
    spec = monitor(postgres_server, table, overlap="1m")
    put(postgres_server, table, ["a"])
    load(spec, home)
    put(postgres_server, table, ["late"], "now() - interval '3 days'")
    put(postgres_server, table, ["b"])
    assert load(spec, home).accepted == 1
    put(postgres_server, table, ["no value"], "NULL")
    put(postgres_server, table, ["later"], "'infinity'")
    put(postgres_server, table, ["early"], "'-infinity'")
    put(postgres_server, table, ["odd"], "'2999-01-01'")
    put(postgres_server, table, ["c"])
    load(spec, home)
    monkeypatch.setattr(reading, "SWEEP_EVERY", timedelta())
    load(spec, home)
    monkeypatch.undo()
    monkeypatch.setenv("PG_SECRET", PASSWORD)
    report = load(spec, home)
    assert report.duplicates == 0
    assert ids(spec, home) == sorted(["a", "b", "c", "late", "no value", "later", "early", "odd"])
    assert counts(spec, home)["rows"] == 8


def test_a_large_table_streams_in_bounded_batches(
    postgres_server: Server, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many rows of one and the same time: a look ends among them and the next one goes on behind."""
    monkeypatch.setattr(common, "BATCH_ROWS", 700)
    home, paths = home_of(tmp_path)
    spec = monitor(postgres_server, table)
    postgres_server.execute(
        f"INSERT INTO {table} (id, ts, p, version, x, c) SELECT 'i' || i, '2026-01-05', 0.5, 'v1', i, 'a' "
        "FROM generate_series(1, 5000) i"
    )
    monkeypatch.setattr("sightline.lake.fetch.run.LOOK_ROWS", 1000)
    looks = 0
    while True:
        found = look(spec, home)
        looks += 1
        if looks == 2:
            put(postgres_server, table, ["between"])
        if found.is_done and looks > 2:
            break
    assert looks >= 3
    sizes = [len(pl.read_parquet(file)) for file in paths.fetched.rglob("*.parquet")]
    assert max(sizes) <= 700
    fetch_all(spec, home)
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.duplicates) == (5001, 0)


def test_a_view_is_read_when_its_rows_are_old_enough(postgres_server: Server, table: str, tmp_path: Path) -> None:
    postgres_server.execute(f"CREATE VIEW v_{table} AS SELECT * FROM {table}", f"GRANT SELECT ON v_{table} TO reader")
    home, _ = home_of(tmp_path)
    spec = monitor(postgres_server, f"v_{table}", overlap="1m")
    put(postgres_server, table, ["old-1", "old-2"], "now() - interval '1 hour'")
    put(postgres_server, table, ["new"])
    assert load(spec, home).accepted == 2
    put(postgres_server, table, ["old-3"], "now() - interval '2 minutes'")
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (1, 0)
    put(postgres_server, table, ["none"], "NULL")
    found = fetch_new(spec, home.monitor("m"), "inferences", home)
    assert found is not None
    assert "1 rows have no created_at" in str(found.problem)


def test_a_replaced_table_is_read_from_its_start(postgres_server: Server, table: str, tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    spec = monitor(postgres_server, table)
    put(postgres_server, table, ["a", "b"])
    load(spec, home)
    postgres_server.execute(
        f"CREATE TABLE new_{table} AS SELECT * FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE new_{table} RENAME TO {table}",
        f"GRANT SELECT ON {table} TO reader",
    )
    put(postgres_server, table, ["c"])
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (1, 2)
    assert counts(spec, home)["tables_replaced"] == 1


def test_updates_come_again_and_deletes_leave_what_was_loaded(
    postgres_server: Server, table: str, tmp_path: Path
) -> None:
    home, _ = home_of(tmp_path)
    spec = monitor(postgres_server, table)
    put(postgres_server, table, ["a", "b"])
    load(spec, home)
    postgres_server.execute(f"UPDATE {table} SET p = 0.9 WHERE id = 'a'", f"DELETE FROM {table} WHERE id = 'b'")
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (0, 1)
    assert report.quarantined_by_reason["conflicting_duplicate"] == 1
    assert ids(spec, home) == ["a", "b"]


def test_a_table_that_loses_a_column_is_read_on_when_it_has_it_back(
    postgres_server: Server, table: str, tmp_path: Path
) -> None:
    home, _ = home_of(tmp_path)
    spec = monitor(postgres_server, table)
    put(postgres_server, table, ["a"])
    load(spec, home)
    postgres_server.execute(f"ALTER TABLE {table} RENAME COLUMN p TO q")
    postgres_server.execute(
        f"INSERT INTO {table} (id, ts, q, version, x, c) VALUES ('b', '2026-01-05', 0.5, 'v1', 1, 'a')"
    )
    found = fetch_new(spec, home.monitor("m"), "inferences", home)
    assert found is not None
    assert "there is no column 'p'; the table has 'id'" in str(found.problem)
    postgres_server.execute(f"ALTER TABLE {table} RENAME COLUMN q TO p")
    assert load(spec, home).accepted == 1
    postgres_server.execute(f"ALTER TABLE {table} ALTER COLUMN x TYPE text")
    put(postgres_server, table, ["c"])
    report = load(spec, home)
    assert report.quarantined_by_reason["bad_type"] >= 1
    assert ids(spec, home) == ["a", "b", "c"]


ERRORS = {
    "wrong password": ({}, "password authentication failed", "correct the user"),
    "no variable": ({"password_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set", "export NO_SUCH_VARIABLE"),
    "no table": ({"table": "nowhere"}, "there is no table nowhere", "correct `table`"),
    "no right": ({"table": "closed"}, "the user may not read closed", "GRANT SELECT ON closed TO reader"),
    "no database": ({"database": "nowhere"}, 'database "nowhere" does not exist', "correct the name"),
    "nobody listens": ({"port": 1}, "Connection refused", "see whether the server is up"),
    "no host": ({"host": "no-such-host.invalid"}, "could not translate host name", "correct `host`"),
    "no column": ({"cursor": "seen_at"}, "there is no column 'seen_at'", "name one of 'id'"),
    "odd column": ({"cursor": "c"}, "'c' is of type text", "timestamp, date or integer"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_place_and_the_fix_and_no_secret(
    postgres_server: Server,
    table: str,
    tmp_path: Path,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    changes, what, fix = ERRORS[case]
    postgres_server.execute("CREATE TABLE IF NOT EXISTS closed (id text)")
    home, paths = home_of(tmp_path)
    spec = monitor(postgres_server, table, **changes)
    shown = PASSWORD
    if case == "wrong password":
        shown = "wrong-and-secret"
        monkeypatch.setenv("PG_SECRET", shown)
    found = fetch_new(spec, paths, "inferences", home)
    assert found is not None
    assert found.problem is not None
    assert what in found.problem.what
    assert fix in (found.problem.fix or "")
    assert "sources.inferences.postgres" in (found.problem.where or "")
    output = capfd.readouterr()
    assert shown not in str(found.problem) + output.out + output.err
    assert not files_holding(tmp_path, shown)


def test_a_url_is_a_secret_as_a_whole(
    postgres_server: Server, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib.parse import quote

    home, _ = home_of(tmp_path)
    url = f"postgresql://reader:{quote(PASSWORD, safe='')}@127.0.0.1:{postgres_server.port}/postgres"
    monkeypatch.setenv("PG_URL", url)
    spec = spec_of(postgres={"url_env": "PG_URL", "table": table, "cursor": "created_at"})
    put(postgres_server, table, ["a"])
    assert load(spec, home).accepted == 1
    assert not files_holding(tmp_path, quote(PASSWORD, safe=""))
    monkeypatch.setenv("PG_URL", url.replace("/postgres", "/nowhere"))
    found = fetch_new(spec, home.monitor("m"), "inferences", home)
    assert found is not None
    assert quote(PASSWORD, safe="") not in str(found.problem)
    assert not files_holding(tmp_path, quote(PASSWORD, safe=""))


def test_a_sensor_waits_for_a_moment_only(
    postgres_server: Server, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sensors are looked at one after the other: a silent server holds none of the others up."""
    monkeypatch.setenv("SIGHTLINE_SOURCE_SECONDS", "3")
    monkeypatch.setattr("sightline.lake.fetch.run.GLANCE_SECONDS", 0.2)
    home, paths = home_of(tmp_path)
    spec = monitor(postgres_server, table)
    put(postgres_server, table, ["a"])
    postgres_server.freeze()
    try:
        started = datetime.now(UTC)
        found = fetch_new(spec, paths, "inferences", home, waits=False)
        assert datetime.now(UTC) - started < timedelta(seconds=2)
        assert found is not None
        assert (found.is_done, found.problem) == (False, None)
        while found.problem is None:
            assert datetime.now(UTC) - started < timedelta(seconds=20)
            found = fetch_new(spec, paths, "inferences", home, waits=False)
            assert found is not None
    finally:
        postgres_server.freeze(18)
    while found.problem or not found.is_done:
        assert datetime.now(UTC) - started < timedelta(seconds=60)
        found = fetch_new(spec, paths, "inferences", home, waits=False)
        assert found is not None
    assert load(spec, home).accepted == 1


def test_a_server_that_is_silent_or_gone_holds_nobody_up(
    postgres_server: Server, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, paths = home_of(tmp_path)
    spec = monitor(postgres_server, table)
    put(postgres_server, table, ["a"])
    load(spec, home)
    monkeypatch.setenv("SIGHTLINE_SOURCE_SECONDS", "1")
    postgres_server.freeze()
    started = datetime.now(UTC)
    found = fetch_new(spec, paths, "inferences", home)
    assert found is not None
    assert "no answer for" in str(found.problem)
    assert datetime.now(UTC) - started < timedelta(seconds=10)
    postgres_server.freeze(18)
    postgres_server.stop("immediate")
    postgres_server.start()
    put(postgres_server, table, ["b"])
    monkeypatch.setenv("SIGHTLINE_SOURCE_SECONDS", "30")
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    while (found := fetch_new(spec, paths, "inferences", home)) is None or found.problem:
        assert datetime.now(UTC) < deadline
    report = intake(spec, paths, "inferences", home)
    assert ids(spec, home) == ["a", "b"]
    assert report.duplicates == 0


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_transactions_gives_each_committed_row_once(
    postgres_server: Server, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Five sessions that insert, save, roll back and commit at random, with looks and sweeps between."""
    choose = random.Random(seed)
    sweep = reading.SWEEP_EVERY
    monkeypatch.setattr(reading, "LOWER_EVERY", timedelta())
    home, _ = home_of(tmp_path)
    spec = monitor(postgres_server, table, cursor=("created_at", "n")[seed % 2], overlap="1s", overlap_rows=3)
    sessions = [postgres_server.connect() for _ in range(5)]
    open_rows: list[list[str]] = [[] for _ in sessions]
    committed: list[str] = []
    number = itertools.count()
    for _ in range(160):
        at = choose.randrange(len(sessions))
        session, rows = sessions[at], open_rows[at]
        with session.cursor() as cursor:
            match choose.choice(["insert", "insert", "kept", "gone", "commit", "rollback", "look", "sweep"]):
                case "insert":
                    rows.append(f"r{next(number)}")
                    odd = choose.choice(["now()", "clock_timestamp()", "now() - interval '1 day'", "NULL"])
                    insert(cursor, table, rows[-1:], odd)
                case "kept" | "gone" as how:
                    cursor.execute("SAVEPOINT s")
                    name = f"r{next(number)}"
                    insert(cursor, table, [name], "clock_timestamp()")
                    cursor.execute("RELEASE SAVEPOINT s" if how == "kept" else "ROLLBACK TO SAVEPOINT s")
                    rows += [name] if how == "kept" else []
                case "commit":
                    session.commit()
                    committed += rows
                    rows.clear()
                case "rollback":
                    session.rollback()
                    rows.clear()
                case "sweep":
                    monkeypatch.setattr(reading, "SWEEP_EVERY", timedelta())
                    fetch_all(spec, home)
                    monkeypatch.setattr(reading, "SWEEP_EVERY", sweep)
                case _:
                    fetch_all(spec, home)
    for session, rows in zip(sessions, open_rows, strict=True):
        session.commit()
        committed += rows
        session.close()
    monkeypatch.setattr(reading, "SWEEP_EVERY", timedelta())
    report = load(spec, home)
    assert report.duplicates == 0
    assert ids(spec, home) == sorted(committed)
    assert counts(spec, home)["rows"] == len(committed)


def test_a_transaction_that_stays_open_is_told(postgres_server: Server, table: str, tmp_path: Path) -> None:
    home, paths = home_of(tmp_path)
    spec = monitor(postgres_server, table, overlap="10m")
    session = postgres_server.connect()
    with session.cursor() as cursor:
        insert(cursor, table, ["open"])
        put(postgres_server, table, ["waits"])
        look(spec, home)
        look(spec, home)
        found = source_of(spec, "inferences")
        assert found is not None
        with open_spool(paths) as spool:
            state = spool.state(found.source)
            assert state is not None
            assert state.state["held_since"] is not None
            long_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
            spool.commit(found.source, [], {**state.state, "held_since": long_ago}, {}, datetime.now(UTC))
        told = fetch_new(spec, paths, "inferences", home)
        assert told is not None
        assert "a transaction has been open since before" in str(told.problem)
        assert "pg_stat_activity" in str(told.problem)
        session.commit()
    session.close()
    assert load(spec, home).accepted == 2
