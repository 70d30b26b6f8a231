"""A PostgreSQL table as it grows: every row once, also those whose transaction ends late.

A row is read when all transactions up to its own have ended: each pass reads the rows whose ``xmin`` lies between the
snapshot horizon of the pass before and its own. The cursor column bounds what is searched; once an hour everything is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from sightline.arrow import from_arrow
from sightline.errors import SightlineError
from sightline.lake.fetch.postgres_types import Column, column_sql, native, quoted
from sightline.lake.fetch.reading import Needs, Piece, batched, package, parquet_piece, secret
from sightline.spec.source_sections import Postgres

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 600
SWEEP_EVERY = timedelta(hours=1)
LOWER_EVERY = timedelta(minutes=10)
"""The value from which on a pass looks moves on so often."""
WRAP = 1 << 32
"""Transaction ids of rows have 32 bits."""
CURSORS = {
    "int2": "int8",
    "int4": "int8",
    "int8": "int8",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
}
"""Type of a cursor -> type in which its values are compared."""
TABLES = ("r", "p")
"""Kinds of relations whose rows tell their transaction."""
POSITION = ("_oid", "_ctid", "_cursor")
_CTID = re.compile(r"\(\d+,\d+\)")


@dataclass(frozen=True)
class Relation:
    """The table as the catalogue has it."""

    oid: int
    name: str
    kind: str
    filenode: int
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        """A column by its name."""
        return next((column for column in self.columns if column.name == name), None)


class PostgresReader:
    """Reads a table or view on from a cursor; see `sightline.lake.fetch.reading.Reader`."""

    known: Mapping[str, str]
    loaded: Sequence[Mapping[str, Any]]
    present: Collection[str] | None = None

    def __init__(self, given: Postgres, where: str, needs: Needs) -> None:
        self.given, self.where, self.needs = given, where, needs
        self.dbapi = package("adbc_driver_postgresql.dbapi", "postgres", where)
        if given.url_env:
            url = secret(given.url_env, where=where)
            if not url.startswith(("postgresql://", "postgres://")):
                fix = "let it be postgresql://user:password@host:5432/database"
                raise SightlineError(f"the value of {given.url_env} is no URL", where=where, fix=fix)
            parts = urlsplit(url)
            known = [url, parts.password or "", unquote(parts.password or "")]
            self.secrets: Collection[str] = tuple(filter(None, known))
            self.place = f"postgres://{parts.hostname or ''}:{parts.port or 5432}{parts.path}/{given.table}"
            sign = "&" if parts.query else "?"
            self.conninfo = f"{url}{sign}connect_timeout={CONNECT_SECONDS}&application_name=sightline"
            return
        password = secret(given.password_env, where=where) if given.password_env else ""
        self.secrets = (password,) if password else ()
        self.place = f"postgres://{given.host}:{given.port}/{given.database}/{given.table}"
        named = {
            "host": given.host,
            "port": given.port,
            "dbname": given.database,
            "user": given.user,
            "password": password,
            "sslmode": given.sslmode,
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 10,
            "tcp_user_timeout": 30_000,
            "application_name": "sightline",
        }
        self.conninfo = " ".join(f"{name}={_conninfo(value)}" for name, value in named.items() if value != "")

    def columns(self) -> dict[str, str]:
        """Columns of the table and their types."""
        with self._connected() as cursor:
            return {column.name: column.described for column in self._relation(cursor).columns}

    def read(self, state: Mapping[str, Any]) -> Generator[Piece]:
        """Rows that became final since; see the module."""
        with self._connected() as cursor:
            relation = self._relation(cursor)
            self.needs([column.name for column in relation.columns])
            kind = self._cursor_type(relation)
            if relation.kind in TABLES:
                yield from _TablePass(self, cursor, relation, kind, state).pieces()
            else:
                yield from self._settled(cursor, relation, kind, state)

    @contextmanager
    def _connected(self) -> Generator[Any]:
        try:
            connection = self.dbapi.connect(self.conninfo, autocommit=True)
        except self.dbapi.Error as error:
            raise self._told(error, "connect") from error
        try:
            with connection.cursor() as cursor:
                for setting in (
                    f"SET statement_timeout = '{STATEMENT_SECONDS}s'",
                    "SET lock_timeout = '20s'",
                    "SET TimeZone = 'UTC'",
                    "SET DateStyle = 'ISO'",
                    "SET default_transaction_read_only = on",
                ):
                    cursor.execute(setting)
                yield cursor
        except self.dbapi.Error as error:
            raise self._told(error, "read") from error
        finally:
            connection.close()

    def _told(self, error: Exception, doing: str) -> SightlineError:
        text = " ".join(str(error).replace("[libpq]", "").split())
        by_word = {
            "password authentication failed": "correct the user, or the password in the environment variable that "
            "the monitor's file names",
            "no password supplied": "name the environment variable with the password: `password_env: NAME`",
            "permission denied": f"GRANT SELECT ON {self.given.table} TO {self.given.user or 'its user'}",
            "does not exist": "correct the name in the monitor's file",
            "could not translate host name": "correct `host`",
            "lock timeout": "another session holds the table exclusively: it is tried again",
        }
        fix = next(
            (fix for words, fix in by_word.items() if words in text), "see whether the server is up and reachable"
        )
        return SightlineError(f"cannot {doing}: {text}", where=f"{self.where} ({self.place})", fix=fix)

    def _relation(self, cursor: Any) -> Relation:
        schema, table = split_name(self.given.table)
        cursor.execute(
            """SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text,
                      coalesce(pg_relation_filenode(c.oid), 0)::int8
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
               AND (n.nspname = $2 OR ($2 = '' AND pg_table_is_visible(c.oid)))""",
            (table, schema),
        )
        found = cursor.fetchall()
        if not found:
            fix = "correct `table` (another schema's is `schema.table`), or GRANT USAGE on its schema"
            raise SightlineError(f"there is no table {self.given.table}", where=f"{self.where} ({self.place})", fix=fix)
        oid, space, name, kind, filenode = found[0]
        cursor.execute(
            """SELECT a.attname, coalesce(b.typname, t.typname)::text, a.atttypmod::int8,
                      format_type(a.atttypid, a.atttypmod)
               FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
               WHERE a.attrelid::int8 = $1 AND a.attnum > 0 AND NOT a.attisdropped
               AND has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum""",
            (oid,),
        )
        columns = tuple(Column(*row) for row in cursor.fetchall())
        if not columns:
            fix = f"GRANT SELECT ON {self.given.table} TO {self.given.user or 'its user'}"
            what = f"the user may not read {self.given.table}"
            raise SightlineError(what, where=f"{self.where} ({self.place})", fix=fix)
        return Relation(oid, f"{quoted(space)}.{quoted(name)}", kind, filenode, columns)

    def _cursor_type(self, relation: Relation) -> str:
        column = relation.column(self.given.cursor)
        where = f"{self.where}.cursor ({self.place})"
        if column is None:
            names = ", ".join(repr(column.name) for column in relation.columns[:50])
            fix = f"name one of {names}"
            raise SightlineError(f"there is no column {self.given.cursor!r}", where=where, fix=fix)
        if column.type not in CURSORS:
            fix = "name a column of type timestamp, date or integer that grows with time"
            raise SightlineError(f"{self.given.cursor!r} is of type {column.described}", where=where, fix=fix)
        if relation.kind not in TABLES and column.type != "timestamptz":
            fix = "name the table itself, or a column of type timestamptz (`at AT TIME ZONE 'UTC'` makes one)"
            raise SightlineError(
                "a view, or a foreign table, can be followed by a timestamptz column only", where=where, fix=fix
            )
        return CURSORS[column.type]

    def select(self, relation: Relation, kind: str, condition: str, *, has_rows: bool) -> str:
        """Query of all columns, by number, and of the position, in the order of the position."""
        columns = ", ".join(f"{column_sql(column)} AS c{i}" for i, column in enumerate(relation.columns))
        place = 'tableoid::int8 AS "_oid", ctid::text AS "_ctid"' if has_rows else "0::int8, ''"
        cursor = quoted(self.given.cursor)
        order = f"{cursor} NULLS FIRST" + (", tableoid, ctid" if has_rows else "")
        return (  # identifiers are quoted; COPY, by which rows stream, takes no parameters: positions are literals
            f"SELECT {columns}, {place}, {cursor}::{kind}::text FROM {relation.name} WHERE {condition} "  # noqa: S608
            f"ORDER BY {order}"
        )

    def stream(self, cursor: Any, relation: Relation, sql: str) -> Iterator[pl.DataFrame]:
        """Rows of a query in bounded frames: the columns by number, then the position."""
        cursor.execute(sql)
        reader = cursor.fetch_record_batch()
        names = [*(f"c{i}" for i in range(len(relation.columns))), *POSITION]
        yield from batched(_renamed(from_arrow(batch), names) for batch in reader)

    def named(self, frame: pl.DataFrame, relation: Relation) -> pl.DataFrame:
        """Rows under the names of their columns, without the position."""
        return pl.DataFrame(
            [native(frame[f"c{i}"], column).alias(column.name) for i, column in enumerate(relation.columns)]
        )

    def _settled(self, cursor: Any, relation: Relation, kind: str, state: Mapping[str, Any]) -> Generator[Piece]:
        """Rows of a view: they are read once when they are older than the overlap."""
        name = quoted(self.given.cursor)
        cursor.execute(f"SELECT (now() - interval '{self.given.overlap.total_seconds()} s')::text")
        condition = f"{name} <= {_literal(cursor.fetchone()[0], kind)}"
        if "c" in state:
            condition += f" AND {name} > {_literal(state['c'], kind)}"
        held: pl.DataFrame | None = None
        for frame in self.stream(cursor, relation, self.select(relation, kind, condition, has_rows=False)):
            if held is not None:
                last = held["_cursor"][-1]
                behind = {**state, "c": last} if frame["_cursor"][0] != last else None
                yield parquet_piece(self.named(held, relation), self.place, behind)
            held = frame
        if held is not None:
            yield parquet_piece(self.named(held, relation), self.place, {**state, "c": held["_cursor"][-1]})
        cursor.execute(f"SELECT count(*) FROM {relation.name} WHERE {name} IS NULL")  # noqa: S608 (quoted)
        if n := cursor.fetchone()[0]:
            fix = f"give them a value, or leave them out of the view: `WHERE {self.given.cursor} IS NOT NULL`"
            what = f"{n:,} rows have no {self.given.cursor}: they are never read"
            raise SightlineError(what, where=f"{self.where} ({self.place})", fix=fix)


class _TablePass:
    """One pass over a table, or the rest of one that was cut short.

    Its cursor: ``h`` (all transactions below it were read), ``c`` (highest value read), ``lows`` (from which value on
    the passes since the last sweep looked, each with the horizon from which on it held), ``swept``, ``pass`` (one that
    is under way: its horizon, and the position behind what was read).
    """

    def __init__(
        self, reader: PostgresReader, cursor: Any, relation: Relation, kind: str, state: Mapping[str, Any]
    ) -> None:
        self.reader, self.cursor, self.relation, self.kind = reader, cursor, relation, kind
        self.name = quoted(reader.given.cursor)
        self.now = datetime.now(UTC)
        cursor.execute(
            """SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8,
                      pg_snapshot_xmax(pg_current_snapshot())::text::int8, now(),
                      (SELECT oid::int8 FROM pg_database WHERE datname = current_database())"""
        )
        self.horizon, self.next_id, self.clock, database = cursor.fetchone()
        self.identity = [database, relation.oid]
        self.counts: dict[str, int] = {}
        is_other = "identity" in state and (
            state["identity"] != self.identity or max(state.get("h", 0), _horizon_of(state)) > self.next_id
        )
        if is_other:  # dropped and created, or restored: its transactions say nothing about what was read
            self.counts = {"tables_replaced": 1}
        self.state: dict[str, Any] = {} if is_other else dict(state)

    def pieces(self) -> Generator[Piece]:
        """What became final, batch by batch; then the cursor of the next pass."""
        under_way: dict[str, Any] = self.state.get("pass") or self._new_pass()
        sql = self.reader.select(self.relation, self.kind, self._condition(under_way), has_rows=True)
        for frame in self.reader.stream(self.cursor, self.relation, sql):
            last = {name: frame[name][-1] for name in POSITION}
            top = self._top(frame["_cursor"], under_way["top"])
            under_way = {**under_way, "after": last, "filenode": self.relation.filenode, "top": top}
            behind = {**self.state, "identity": self.identity, "pass": under_way}
            yield parquet_piece(self.reader.named(frame, self.relation), self.reader.place, behind, self._counted())
        after = self._after(under_way)
        yield Piece(after, counts=self._counted())
        self._tell_of_held_rows(after["held_since"])

    def _new_pass(self) -> dict[str, Any]:
        swept = self.state.get("swept")
        is_sweep = swept is None or self.now - datetime.fromisoformat(swept) >= SWEEP_EVERY
        return {"h": self.horizon, "sweep": is_sweep, "at": self.now.isoformat(), "top": self.state.get("c")}

    def _condition(self, under_way: Mapping[str, Any]) -> str:
        """Rows that became final since the pass before; of a sweep also those that passes before did not look at."""
        since, horizon = self.state.get("h"), under_way["h"]
        if since is None:  # from the start: all but those that are not final
            found = f"NOT {_between(horizon, self.next_id)}"
        elif under_way["sweep"]:
            lows: list[tuple[int, str | None]] = [*self.state["lows"], (since, None)]
            unseen = [
                f"({_between(start, end)} AND {self.name} < {_literal(low, self.kind)})"
                for (start, low), (end, _) in pairwise(lows)
                if low is not None and start < end
            ]
            found = f"({' OR '.join([_between(since, horizon), *unseen])})"
        else:
            low = self.state["lows"][-1][1]
            found = _between(since, horizon)
            if low is not None:
                found += f" AND ({self.name} >= {_literal(low, self.kind)} OR {self.name} IS NULL)"
        if (last := under_way.get("after")) is None:
            return found
        return f"{found} AND {self._behind(last, is_same=under_way['filenode'] == self.relation.filenode)}"

    def _behind(self, last: Mapping[str, Any], *, is_same: bool) -> str:
        """Behind a position; rows with its value once more if the table was rewritten and its places with it."""
        value, place = last["_cursor"], f"({int(last['_oid'])}::oid, '{_checked(last['_ctid'], _CTID)}'::tid)"
        if value is None:
            rest = f"({self.name} IS NULL AND (tableoid, ctid) > {place})" if is_same else f"{self.name} IS NULL"
            return f"({rest} OR {self.name} IS NOT NULL)"
        literal = _literal(value, self.kind)
        if not is_same:
            return f"{self.name} >= {literal}"
        return f"({self.name} > {literal} OR ({self.name} = {literal} AND (tableoid, ctid) > {place}))"

    def _top(self, values: pl.Series, top: str | None) -> str | None:
        """The highest value read; of times not beyond the server's clock, so that no odd one hides those behind it."""
        for value in reversed(values.drop_nulls().unique(maintain_order=True).to_list()):
            found = value if self.kind == "int8" else self._no_later(value)
            if found is not None:
                return found
        return top

    def _no_later(self, value: str) -> str | None:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:  # infinite, or of a year that nobody has in mind
            return None
        clock = self.clock.astimezone(UTC)
        clock = clock if moment.tzinfo else clock.replace(tzinfo=None)
        return (
            value if moment <= clock else clock.isoformat(sep=" ")[: len("2026-01-31") if self.kind == "date" else None]
        )

    def _after(self, under_way: Mapping[str, Any]) -> dict[str, Any]:
        """The cursor behind a pass."""
        horizon, top = under_way["h"], under_way["top"]
        is_held = self.state.get("h") == horizon < self.next_id
        after: dict[str, Any] = {
            "h": horizon,
            "c": top,
            "identity": self.identity,
            "held_since": (self.state.get("held_since") or self.now.isoformat()) if is_held else None,
        }
        lows: list[Any] = [] if under_way["sweep"] else self.state["lows"]
        low_at: str = self.state.get("low_at", "")
        if not lows or self.now - datetime.fromisoformat(low_at) >= LOWER_EVERY:
            return {
                **after,
                "swept": under_way["at"] if under_way["sweep"] else self.state["swept"],
                "lows": [*lows, [horizon, None if top is None else self._low(top)]],
                "low_at": self.now.isoformat(),
            }
        return {**after, "swept": self.state["swept"], "lows": lows, "low_at": low_at}

    def _low(self, value: str) -> str:
        given = self.reader.given
        if self.kind == "int8":
            return f"{int(value) - given.overlap_rows}"
        lag = f"interval '{given.overlap.total_seconds()} s'"
        self.cursor.execute(f"SELECT ({_literal(value, self.kind)} - {lag})::{self.kind}::text")
        return self.cursor.fetchone()[0]

    def _counted(self) -> dict[str, int]:
        found, self.counts = self.counts, {}
        return found

    def _tell_of_held_rows(self, since: str | None) -> None:
        limit = max(self.reader.given.overlap, timedelta(minutes=5))
        if since is None or self.now - datetime.fromisoformat(since) < limit:
            return
        fix = (
            "end it: SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY "
            "xact_start; prepared ones are in pg_prepared_xacts"
        )
        what = f"a transaction has been open since before {since[:19]} UTC: rows written after it wait for its end"
        raise SightlineError(what, where=f"{self.reader.where} ({self.reader.place})", fix=fix)


def _between(start: int, end: int) -> str:
    """Rows whose transaction lies in ``[start, end)``."""
    return f"((xmin::text::int8 - {start % WRAP} + {WRAP}) % {WRAP} < {end - start})"


def _horizon_of(state: Mapping[str, Any]) -> int:
    return state["pass"]["h"] if state.get("pass") else 0


def split_name(name: str) -> tuple[str, str]:
    """Schema (empty: by the search path) and table of a name; parts with odd characters may be quoted.

    Examples
    --------
    >>> split_name("ml.predictions"), split_name("predictions"), split_name('"My.Schema"."a ""b"')
    (('ml', 'predictions'), ('', 'predictions'), ('My.Schema', 'a "b'))
    """
    part = r'"(?:[^"]|"")+"|[^".]+'
    found = re.fullmatch(rf"(?:({part})\.)?({part})", name)
    if found is None:
        return "", name
    schema, table = (_unquoted(text or "") for text in found.groups())
    return schema, table


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _conninfo(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def _literal(value: str, kind: str) -> str:
    """A value of a cursor, as the server wrote it, in SQL."""
    return f"'{_checked(value, re.compile(r'-?[0-9][-0-9 :.+A-Z]*|-?infinity'))}'::{kind}"


def _checked(value: str, pattern: re.Pattern[str]) -> str:
    if pattern.fullmatch(value) is None:
        raise SightlineError(
            f"the stored cursor {value!r} is no position", fix="sightline sources MONITOR --restart SIDE"
        )
    return value


def _renamed(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    frame.columns = list(names)
    return frame
