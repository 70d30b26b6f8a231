"""Metrics that users write as Python functions.

They are found on ``sys.path`` and in the home folder, and checked by `sightline validate`.

A monitor file is read without importing anything of the user's: only `sightline validate`
and the judgement of a window do.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import SightlineError, nearest
from sightline.spec.model import MonitorSpec
from sightline.spec.yaml_lines import read_yaml

if TYPE_CHECKING:
    from metrics_py.registry import Metric

LABEL_COLUMNS = ("label", "is_positive")
"""Columns of the rows beside those of the lake, for a metric with ``needs_label: true``."""

MAX_REASON_LENGTH = 300
EXAMPLE = "decorate it with @metric(name=..., task='custom', needs='rows') from metrics_py.registry"


@contextmanager
def importable(home: Path) -> Generator[None]:
    """Let modules in the home folder be imported within the block; what is installed comes first.

    Modules of the same name that an earlier block found in another home folder are forgotten.
    """
    importlib.invalidate_caches()
    folder = os.fspath(home.resolve())
    for name, found_in in list(_home_modules.items()):
        if found_in != folder:
            for known in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
                del sys.modules[known]
            del _home_modules[name]
    before = set(sys.modules)
    is_new = folder not in sys.path
    if is_new:
        sys.path.append(folder)
    try:
        yield
    finally:
        if is_new and folder in sys.path:
            sys.path.remove(folder)
        for name in sorted({m.partition(".")[0] for m in set(sys.modules) - before}):
            module = sys.modules.get(name)
            origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
            if is_new and origin and Path(origin).resolve().is_relative_to(folder):
                _home_modules[name] = folder


_home_modules: dict[str, str] = {}


def load(path: str) -> Metric:
    """The metric behind ``package.module:function``; call it within `importable`.

    Raises
    ------
    SightlineError
        If the module cannot be imported for whatever reason, has no such function, or the
        function is no metric of rows.
    """
    from metrics_py import registry

    module = path.partition(":")[0]
    try:
        entry = registry.load(path)
    except ValueError as error:
        if isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name in _parents(module):
            fix = f"put {module.replace('.', '/')}.py into the home folder (beside monitors/), or install it"
        elif isinstance(error.__cause__, ImportError):
            fix = f"install what {module} imports, then try `python -c 'import {module}'` in the home folder"
        else:
            fix = EXAMPLE
        raise SightlineError(brief(error), fix=fix) from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything while it is imported
        what = f"metric {path!r}: module {module} cannot be imported ({type(error).__name__}: {brief(error)})"
        raise SightlineError(what, fix=f"mend {module}: importing it must not fail") from error
    if entry.needs != "rows":
        what = f"metric {path!r}: the function takes {entry.needs}, not the rows of a window"
        raise SightlineError(what, fix=EXAMPLE)
    return entry


def brief(error: BaseException) -> str:
    """An error's message in one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_REASON_LENGTH else f"{text[: MAX_REASON_LENGTH - 3]}..."


def problems(spec: MonitorSpec, path: Path, home: Path) -> list[SightlineError]:
    """What keeps the Python metrics of a valid monitor file from being computed, each with its line.

    Parameters
    ----------
    spec : MonitorSpec
        As read from `path`.
    path : Path
        The monitor file.
    home : Path
        The home folder.
    """
    wanted = [(index, metric) for index, metric in enumerate(spec.metrics) if metric.python is not None]
    if not wanted:
        return []
    from sightline.lake.store.schema import lake_schema

    document = read_yaml(path)
    known = [*lake_schema(spec, "inferences"), *LABEL_COLUMNS]
    found: list[SightlineError] = []
    with importable(home):
        for index, metric in wanted:
            try:
                load(str(metric.python))
            except SightlineError as error:
                where = document.where(("metrics", index, "python"))
                found.append(SightlineError(error.what, where=where, fix=error.fix))
            for column in metric.columns or ():
                if column not in known:
                    what = f"the metric {metric.name!r} reads {column!r}, which is no column of the rows"
                    where = document.where(("metrics", index, "columns"))
                    found.append(SightlineError(what, where=where, fix=nearest(column, known)))
    return found


def _parents(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[: i + 1]) for i in range(len(parts))}
