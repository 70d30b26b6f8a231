"""Metrics that users write in SQL: one expression per row, checked with DuckDB before dbt ever sees it.

An expression that does not belong there is left out of the run, so that it stops nothing else; its judgement says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import SightlineError
from sightline.narrowing import Json
from sightline.spec.field_types import NUMBER_TASKS
from sightline.spec.judging_sections import CustomMetric
from sightline.spec.model import MonitorSpec
from sightline.spec.yaml_lines import read_yaml

if TYPE_CHECKING:
    import duckdb

NOT_PER_ROW = "write one expression per row; Sightline averages it over the rows of each window"
REFUSED = {
    "SUBQUERY": "a subquery, which sees other rows and tables",
    "WINDOW": "a window function, which sees other rows and the windows of the same run",
    "STAR": "a star, which stands for many columns",
    "PARAMETER": "a parameter, which nobody fills in",
}
"""What an expression per row has no use for: DuckDB's class of the node -> in words."""
CLAUSES = ("where_clause", "group_expressions", "group_sets", "having", "sample", "qualify", "modifiers")
NUMBERS = (
    "DOUBLE",
    "FLOAT",
    "DECIMAL",
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "U",
    '"NULL"',
)
"""How the types begin whose values are numbers or conditions (unsigned integers begin with U)."""


def mistakes(spec: MonitorSpec) -> dict[str, SightlineError]:
    """What is wrong with the SQL metrics of a monitor, by the metric's name; those that can be computed are left out.

    The expressions are bound to empty tables with the columns of the lake: nothing is read.
    """
    wanted = [metric for metric in spec.metrics if metric.sql is not None]
    if not wanted:
        return {}
    import duckdb

    found: dict[str, SightlineError] = {}
    with duckdb.connect() as con:
        _empty_tables(con, spec)
        refused = _refused_functions(con)
        for metric in wanted:
            if (error := _misshapen(con, metric, refused) or _unbound(con, metric)) is not None:
                found[metric.name] = error
    return found


def problems(spec: MonitorSpec, path: Path) -> list[SightlineError]:
    """The mistakes in the SQL metrics of a valid monitor file, each with its line."""
    found = mistakes(spec)
    if not found:
        return []
    document = read_yaml(path)
    return [
        SightlineError(
            f"metric {metric.name!r}: {found[metric.name].what}",
            where=document.where(("metrics", index, "sql")),
            fix=found[metric.name].fix,
        )
        for index, metric in enumerate(spec.metrics)
        if metric.name in found
    ]


def _empty_tables(con: duckdb.DuckDBPyConnection, spec: MonitorSpec) -> None:
    """`inferences` and `labelled`, as the expressions see them in the dbt project."""
    from sightline.lake.store.schema import duckdb_schema, lake_schema, quote

    columns = {**duckdb_schema(lake_schema(spec, "inferences")), "window_key": "VARCHAR"}
    is_number = spec.model.task in NUMBER_TASKS
    labels = (
        {"label_value": "DOUBLE", "label": "DOUBLE"} if is_number else {"label_class": "VARCHAR", "label": "VARCHAR"}
    )
    labels["is_positive"] = "BOOLEAN"
    for table, known in (("inferences", columns), ("labelled", columns | labels)):
        con.execute(f"CREATE TABLE {table} ({', '.join(f'{quote(name)} {kind}' for name, kind in known.items())})")


def _refused_functions(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Functions that give no value per row, or another one each time -> what they are."""
    rows = con.sql("SELECT function_name, function_type, stability FROM duckdb_functions()").fetchall()
    scalar = {name for name, kind, _ in rows if kind in ("scalar", "macro")}
    refused = {
        name: f"{name}(), an aggregate over rows"
        for name, kind, _ in rows
        if kind == "aggregate" and name not in scalar
    }
    refused |= {name: f"{name}(), which gives another value each time" for name, _, how in rows if how == "VOLATILE"}
    return refused | {name: f"{name}(), which makes rows" for name in ("unnest", "generate_subscripts")}


def _misshapen(con: duckdb.DuckDBPyConnection, metric: CustomMetric, refused: dict[str, str]) -> SightlineError | None:
    """Whether the text is one expression, and of nothing but its row: what is wrong if not."""
    if not str(metric.sql).strip():
        return SightlineError("the expression is empty", fix=NOT_PER_ROW)
    # the expression stands on lines of its own, here and in dbt: it may end in a comment
    [(text,)] = con.execute("SELECT json_serialize_sql(?)", [f"SELECT (\n{metric.sql}\n)"]).fetchall()
    parsed = json.loads(text)
    if parsed["error"]:
        fix = f"{NOT_PER_ROW}, such as `f_amount * 2`"
        return SightlineError(f"the expression is no SQL: {parsed['error_message']}", fix=fix)
    if not _is_one_expression(parsed["statements"]):
        return SightlineError("the expression ends its brackets and goes on with something else", fix=NOT_PER_ROW)
    for node in _nodes(parsed["statements"][0]["node"]["select_list"][0]):
        kind = REFUSED.get(node.get("class", "")) or refused.get(str(node.get("function_name", "")).lower())
        if kind is not None:
            return SightlineError(f"the expression holds {kind}", fix=NOT_PER_ROW)
    return None


def _unbound(con: duckdb.DuckDBPyConnection, metric: CustomMetric) -> SightlineError | None:
    """Whether the columns and functions exist, and it is a number: what is wrong if not."""
    import duckdb

    table = "labelled" if metric.needs_label else "inferences"
    try:
        # the user's own expression, asked of empty tables in memory
        described = f"DESCRIBE SELECT (\n{metric.sql}\n) AS value FROM {table}"  # noqa: S608 (see above)
        [(_, dtype, *_)] = con.execute(described).fetchall()
        con.execute(f"EXPLAIN SELECT try(cast((\n{metric.sql}\n) AS DOUBLE)) FROM {table}")  # noqa: S608 (see above)
    except duckdb.Error as error:
        if "not found in FROM" in str(error):
            return SightlineError(_brief(error), fix=_columns_fix(metric))
        return SightlineError(_brief(error), fix=NOT_PER_ROW)
    if not str(dtype).startswith(NUMBERS):
        fix = "make it a number, such as `cast(... as double)`, or a condition, such as `... = 'x'`"
        return SightlineError(f"the expression gives {dtype}, no number", fix=fix)
    return None


def _is_one_expression(statements: list[dict[str, Any]]) -> bool:
    """Whether it is nothing but ``SELECT (expression)``."""
    if len(statements) != 1:
        return False
    node = statements[0]["node"]
    source: dict[str, Any] = node.get("from_table") or {}
    return (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and source.get("type") == "EMPTY"
        and not any(node.get(name) for name in CLAUSES)
    )


def _nodes(tree: Json) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _brief(error: Exception) -> str:
    """DuckDB's message in one line, without the excerpt of the statement."""
    lines = [line.strip() for line in str(error).split("\n\nLINE ")[0].splitlines()]
    return " ".join(line for line in lines if line)


def _columns_fix(metric: CustomMetric) -> str:
    labels = (
        ", `label`, `is_positive`" if metric.needs_label else "; with `needs_label: true` also `label`, `is_positive`"
    )
    return f"the columns are those of the lake: `score`, `prediction`, `f_<feature>`, `g_<segment>`, ...{labels}"
