"""Queries of users' pages: one SELECT over published tables, in a DuckDB that reads nothing else.

Every query has a database of its own, in memory. It may open the listed files and no other, has no network, loads no
extension, sees nothing of this process, and its settings are locked before the query is read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sightline.dashboard.custom.tables import TABLES, files_of, view_sql
from sightline.errors import SightlineError, nearest
from sightline.home import MonitorPaths
from sightline.narrowing import Json

if TYPE_CHECKING:
    import duckdb

SECONDS = 5.0
MOST_ROWS, MOST_COLUMNS, MOST_TEXT = 1000, 50, 500
MEMORY = "160MB"
AT_ONCE, WAIT_SECONDS = 2, 15.0
PARAMETERS = ("from", "to")
FUNCTIONS = frozenset({"generate_series", "range", "unnest"})
"""Functions that may stand for a table."""
GROWING = frozenset({"repeat", "lpad", "rpad", "list_resize", "array_resize"})
"""Functions that make a value of any size, out of reach of the limits of time and memory."""
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": MEMORY,
    "threads": "2",
    "temp_directory": "",
}
READ_ATTEMPTS = 3
_turn = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True)
class Found:
    """What a query gave.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequence
        Texts, numbers, booleans and None; at most `MOST_ROWS`.
    is_cut : bool
        There are more rows.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool


@dataclass(frozen=True)
class Query:
    """A text that was found to be one SELECT.

    Parameters
    ----------
    text : str
    tables : tuple of str
        Published tables it reads.
    parameters : tuple of str
        Of `PARAMETERS`.
    """

    text: str
    tables: tuple[str, ...]
    parameters: tuple[str, ...]


@lru_cache(maxsize=256)
def read(text: str) -> Query:
    """What a query asks for.

    Raises
    ------
    SightlineError
        It is no single SELECT, or names a parameter or a function for tables that there is not.
    """
    import duckdb

    with duckdb.connect(config=CONFIG) as con:
        [(found,)] = con.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [text]).fetchall()
    parsed = json.loads(found)
    if parsed["error"]:
        fix = "write one SELECT over " + ", ".join(TABLES)
        raise SightlineError(f"the query cannot be read: {parsed['error_message']}", fix=fix)
    if len(parsed["statements"]) != 1:
        raise SightlineError(f"there are {len(parsed['statements'])} statements", fix="write one SELECT")
    tables: set[str] = set()
    parameters: set[str] = set()
    for node in _nodes(parsed["statements"][0]):
        if node.get("type") == "BASE_TABLE":
            tables.add(str(node["table_name"]).lower())
        elif node.get("class") == "PARAMETER":
            name = str(node["identifier"])
            if name not in PARAMETERS:
                raise SightlineError(f"nobody fills in ${name}", fix="there are $from and $to")
            parameters.add(name)
        elif node.get("type") == "TABLE_FUNCTION":
            name = str(node["function"]["function_name"]).lower()
            if name not in FUNCTIONS:
                known = ", ".join(sorted(FUNCTIONS))
                raise SightlineError(f"{name}() may not stand for a table", fix=f"read {', '.join(TABLES)}, or {known}")
        elif node.get("class") == "FUNCTION" and str(node["function_name"]).lower() in GROWING:
            raise SightlineError(f"{node['function_name']}() is not for a page", fix="leave it out")
    return Query(text, tuple(name for name in TABLES if name in tables), tuple(sorted(parameters)))


def run(
    query: Query,
    monitors: Iterable[MonitorPaths],
    start: datetime,
    end: datetime,
    *,
    hidden: Mapping[str, Sequence[str]] | None = None,
    seconds: float = SECONDS,
) -> Found:
    """Ask a query.

    Parameters
    ----------
    query : Query
    monitors : iterable of MonitorPaths
        Whose tables it sees; none: empty ones.
    start, end : datetime
        What ``$from`` and ``$to`` stand for.
    hidden : mapping, optional
        Columns whose values are not shown, by monitor.
    seconds : float
        It is stopped after these.

    Returns
    -------
    Found

    Raises
    ------
    SightlineError
        It names what there is not, takes too long or too much memory, or others take all turns.
    """
    import duckdb

    known = list(monitors)
    given = {"from": start, "to": end}
    values = {name: given[name] for name in query.parameters}
    if not _turn.acquire(timeout=WAIT_SECONDS):
        raise SightlineError("too many queries run at once", fix="reload the page in a moment")
    try:
        for attempt in range(READ_ATTEMPTS):
            try:
                return _ask(query, _Sources(known, hidden or {}), values, seconds)
            except duckdb.IOException:  # a merge took a listed file away: list again
                if attempt == READ_ATTEMPTS - 1:
                    raise
    except duckdb.Error as error:
        raise _explained(error, seconds) from None
    finally:
        _turn.release()
    raise AssertionError("every attempt returns or raises")


@dataclass(frozen=True)
class _Sources:
    monitors: list[MonitorPaths]
    hidden: Mapping[str, Sequence[str]]


def _ask(query: Query, sources: _Sources, values: dict[str, datetime], seconds: float) -> Found:
    with _closed(query.tables, sources) as con:
        timer = threading.Timer(seconds, con.interrupt)
        timer.start()
        try:
            answer = con.execute(query.text, values or None)
            names = [str(each[0]) for each in answer.description or ()]
            rows = answer.fetchmany(MOST_ROWS + 1)
        finally:
            timer.cancel()
            timer.join()
    if len(names) > MOST_COLUMNS:
        raise SightlineError(f"the query has {len(names)} columns", fix=f"choose at most {MOST_COLUMNS}")
    shown = tuple(tuple(_plain(value) for value in row) for row in rows[:MOST_ROWS])
    return Found(tuple(names), shown, len(rows) > MOST_ROWS)


@contextmanager
def _closed(tables: Iterable[str], sources: _Sources) -> Generator[duckdb.DuckDBPyConnection]:
    """A database with these tables as views, which can open their files and nothing else."""
    import duckdb

    files = files_of(tables, sources.monitors)
    allowed = sorted({str(file) for by in files.values() for each in by.values() for file in each})
    with duckdb.connect(config=CONFIG) as con:
        con.execute("SET allowed_paths = ?", [allowed])
        con.execute("SET enable_external_access = false")
        for name, by in files.items():
            con.execute(view_sql(name, by, sources.hidden))
        con.execute("SET lock_configuration = true")
        yield con


def _explained(error: duckdb.Error, seconds: float) -> SightlineError:
    import duckdb

    text = str(error).strip().partition("\n\n")[0]
    if isinstance(error, duckdb.InterruptException):
        fix = "ask for fewer windows (`WHERE window_start >= $from AND window_start < $to`) or fewer columns"
        return SightlineError(f"the query took longer than {seconds:g} seconds", fix=fix)
    if isinstance(error, duckdb.OutOfMemoryException):
        return SightlineError(
            f"the query needs more than {MEMORY} of memory", fix="aggregate, or ask for fewer windows"
        )
    if isinstance(error, duckdb.CatalogException) and "Table with name" in text:
        name = text.partition("Table with name ")[2].partition(" ")[0]
        return SightlineError(f"there is no table {name!r}", fix=nearest(name, TABLES))
    if isinstance(error, duckdb.PermissionException):
        fix = f"queries read published tables alone: {', '.join(TABLES)}"
        return SightlineError("the query asks for a file or an address", fix=fix)
    return SightlineError(f"the query fails: {text}")


def _plain(value: Any) -> Any:
    """A cell as text, number, boolean or None."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes").removesuffix(" 00:00")
    text = value.isoformat() if isinstance(value, date | time) else str(value)
    if isinstance(value, timedelta):
        text = str(value)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


def _nodes(value: Json) -> Iterator[dict[str, Any]]:
    """Every object of the parsed query."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _nodes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _nodes(each)
