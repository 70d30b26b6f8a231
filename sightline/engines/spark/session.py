"""The process that drives Spark for one run: ``python -m sightline.engines.spark.session job.json``.

It is a process of its own because a JVM lives as long as the Python that started it, keeps its catalogue and settings,
and cannot be ended by a run that is cancelled. It ends when its standard input does, so it never outlives the run.

Writes ``started`` once the master has answered, ``ready`` once an executor has, and ``events.json`` with dbt's events
when dbt has ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

RESULTS = {"LogModelResult", "LogTestResult"}


def main() -> None:
    """Run the job of the file that is named."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(job["folder"])
    spark = _start(job["conf"])
    (folder / "started").touch()
    spark.range(1).count()  # an executor must answer
    for statement in job["statements"]:
        spark.sql(statement)
    refused = _refused(spark, job["probes"])
    for statement in job["last"]:
        spark.sql(statement.replace("{refused}", ", ".join(f"'{name}'" for name in ["", *refused])))
    (folder / "ready").write_text(spark.version)
    told: dict[str, Any] = {**(_run_dbt(job["dbt"]) if job["dbt"] else {}), "refused": refused}
    part = folder / "events.json.tmp"
    part.write_text(json.dumps(told))
    part.replace(folder / "events.json")
    spark.stop()


def _end_with_parent() -> None:
    while os.read(0, 1024):  # not by sys.stdin, whose lock would stop the interpreter's end
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)  # the JVM too


def _start(conf: dict[str, str]) -> Any:
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder
    for name, value in conf.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


def _refused(spark: Any, probes: dict[str, str]) -> dict[str, str]:
    """Queries that Spark cannot bind, by name, and why: one of them would fail the mart of all."""
    from pyspark.errors import PySparkException

    found: dict[str, str] = {}
    for name, query in probes.items():
        try:
            spark.sql(query).collect()
        except PySparkException as error:
            found[name] = f"Spark has no such expression: {str(error).splitlines()[0][:300]}"
    return found


def _run_dbt(args: list[str]) -> dict[str, Any]:
    """Run dbt; `events` that tell a result or an error, whether it succeeded, and the exception it ended with."""
    from dbt.cli.main import dbtRunner
    from dbt_common.events.functions import msg_to_dict  # pyright: ignore[reportUnknownVariableType]

    events: list[dict[str, Any]] = []
    as_dict: Any = msg_to_dict  # pyright: ignore[reportUnknownVariableType]
    runner: Any = dbtRunner

    def keep(message: Any) -> None:
        if message.info.level == "error" or message.info.name in RESULTS:
            events.append(as_dict(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dbt's own business
        done = runner(callbacks=[keep]).invoke(args)
    return {"events": events, "is_success": done.success, "exception": str(done.exception or "")}


if __name__ == "__main__":
    main()
