"""One entry per metric: name, task, inputs, unit, direction, range, sources and what leaves it unchanged.

The entries feed the names in YAML, the documentation, dashboard labels and a common test-suite: a new metric is one
decorated function and inherits its tests.

Examples
--------
A business metric of one's own; ``needs="rows"`` passes the joined rows of a window as a Polars frame:

>>> import polars as pl
>>> @metric(name="refund_per_order", task="custom", needs="rows", unit="EUR", direction="lower_is_better")
... def refund_per_order(rows):
...     \"\"\"Mean refund of an order.\"\"\"
...     return float(rows["f_refund"].mean())
>>> get("refund_per_order").function(pl.DataFrame({"f_refund": [0.0, 12.0]}))
6.0
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

Task = Literal[
    "drift", "binary_classification", "multiclass_classification", "regression", "ranking", "text_generation", "custom"
]  # fmt: skip
Needs = Literal["profile", "bins", "ordered_bins", "values", "rates", "confusion", "scores", "sums", "rows"]
Direction = Literal["higher_is_better", "lower_is_better", "none"]
Invariance = Literal["symmetric", "relabel", "scale", "shift", "monotone"]
Returns = Literal["number", "test"]
F = TypeVar("F", bound=Callable[..., Any])

BUILTIN_MODULES = ("metrics_py.drift.methods", "metrics_py.quality.metrics", "metrics_py.quality.ranking")
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
UNBOUNDED = (float("-inf"), float("inf"))


@dataclass(frozen=True)
class Metric:
    """A registered metric.

    Attributes
    ----------
    name : str
        Lower case with underscores; the name in YAML, tables and pages.
    task : str
        ``drift``, a model task, or ``custom``.
    needs : str
        What `function` takes: ``profile`` (a `ColumnProfile` and counts, shape (..., K)), ``bins`` (reference and
        current counts, shape (G,) and (..., G)), ``ordered_bins`` (the same, in the order of the values), ``values``
        (reference and current numbers), ``rates`` (events and rows of both sides), ``confusion``, ``scores``, ``sums``
        (additive aggregates of one window), ``rows`` (a frame of joined rows).
    function : callable
        The metric.
    unit : str
        Shown beside the value, "" for a plain number.
    direction : {"higher_is_better", "lower_is_better", "none"}
        Which way is better; an alert needs no improvement to be wrong.
    range : (float, float)
        Possible values.
    references : tuple of str
        Where it is defined.
    returns : {"number", "test"}
        Plain number(s), or a `TestResult`.
    invariances : frozenset of str
        What leaves it unchanged: ``symmetric`` (swapping the sides), ``relabel`` (permuting the categories), ``scale``
        and ``shift`` (a positive factor, a constant on all values), ``monotone`` (any increasing transformation).
    summary : str
        First sentence of its docstring.

    Notes
    -----
    Nobody makes one by hand: `metric` does, from a function, and `get` finds it. Name and task together are unique.

    Examples
    --------
    >>> entry = get("psi")
    >>> entry.task, entry.needs, entry.range, sorted(entry.invariances)
    ('drift', 'bins', (0.0, inf), ['relabel', 'symmetric'])
    """

    name: str
    task: Task
    needs: Needs
    function: Callable[..., Any]
    unit: str = ""
    direction: Direction = "none"
    range: tuple[float, float] = UNBOUNDED
    references: tuple[str, ...] = ()
    returns: Returns = "number"
    invariances: frozenset[Invariance] = frozenset()
    summary: str = ""

    def describe(self) -> dict[str, Any]:
        """Everything but the function, as JSON values.

        Returns
        -------
        dict
            By the names of the fields; an open end of the range is None.

        Examples
        --------
        >>> get("psi").describe()["range"]
        [0.0, None]
        """
        low, high = (x if abs(x) != float("inf") else None for x in self.range)
        return {
            "name": self.name,
            "task": self.task,
            "needs": self.needs,
            "unit": self.unit,
            "direction": self.direction,
            "range": [low, high],
            "references": list(self.references),
            "returns": self.returns,
            "invariances": sorted(self.invariances),
            "summary": self.summary,
        }


_entries: dict[tuple[str, str], Metric] = {}
_loaded: list[str] = []


def metric(
    *,
    name: str,
    task: Task | Iterable[Task],
    needs: Needs,
    unit: str = "",
    direction: Direction = "none",
    range: tuple[float, float] = UNBOUNDED,
    references: Iterable[str] = (),
    returns: Returns = "number",
    invariances: Iterable[Invariance] = (),
) -> Callable[[F], F]:
    """Register the decorated function as a metric; the function itself stays as it is.

    Parameters
    ----------
    name : str
        Lower case with underscores; the name in YAML, tables and pages.
    task : str or iterable of str
        ``custom`` for a metric of one's own, ``drift`` or tasks of models.
    needs : str
        What the function takes; see `Metric`.
    unit : str, default ""
        Shown beside the value.
    direction : {"none", "higher_is_better", "lower_is_better"}
        Which way is better.
    range : (float, float), optional
        Possible values.
    references : iterable of str, optional
        Where it is defined.
    returns : {"number", "test"}
        Plain number(s), or a `TestResult`.
    invariances : iterable of str, optional
        What leaves it unchanged; see `Metric`.

    Returns
    -------
    callable
        The decorator, which gives back the function it is put on.

    Raises
    ------
    ValueError
        A name that is malformed or taken by another function, an unknown task, input, direction or invariance.

    Notes
    -----
    The first paragraph of the function's docstring is what people read about the metric. A function that is defined
    again under the same qualified name (a module that is loaded twice) replaces its entry.

    The direction decides what is worse: an improvement raises no alarm and fails no check, with ``none`` a change
    either way does.

    References
    ----------
    Chen, Cheung & Yiu (1998), Metamorphic Testing, arXiv 2002.12543 (invariances as tests of what has no known answer).

    Examples
    --------
    >>> @metric(name="largest_gap", task="drift", needs="bins", direction="lower_is_better", range=(0, 1))
    ... def largest_gap(reference, current):
    ...     \"\"\"Largest difference of shares.\"\"\"
    ...     return abs(current / current.sum() - reference / reference.sum()).max()
    >>> get("largest_gap").summary
    'Largest difference of shares.'
    """

    def register_function(function: F) -> F:
        for each in (task,) if isinstance(task, str) else tuple(task):
            register(
                Metric(
                    name,
                    each,
                    needs,
                    function,
                    unit,
                    direction,
                    range,
                    tuple(references),
                    returns,
                    frozenset(invariances),
                    summary_of(function),
                )
            )
        return function

    return register_function


def register(entry: Metric) -> None:
    """Add an entry; the same function may be registered again (a module that is loaded twice).

    Parameters
    ----------
    entry : Metric
        With a name that no other function of its task has.

    Raises
    ------
    ValueError
        A name that is malformed or taken by another function, an unknown task, input, direction or invariance.
    """
    where = f"metric {entry.name!r}"
    if not NAME.fullmatch(entry.name):
        raise ValueError(f"{where}: a name is lower case letters, digits and _, starts with a letter, at most 63 long")
    for what, value, kind in (
        ("task", entry.task, Task),
        ("needs", entry.needs, Needs),
        ("direction", entry.direction, Direction),
        ("returns", entry.returns, Returns),
        *(("invariance", i, Invariance) for i in sorted(entry.invariances)),
    ):
        if value not in get_args(kind):
            raise ValueError(f"{where}: {what}={value!r} is unknown; {_nearest(str(value), get_args(kind))}")
    is_pair = isinstance(entry.range, tuple | list)  # pyright: ignore[reportUnnecessaryIsInstance]  # users' own
    if not is_pair or len(entry.range) != 2:
        raise ValueError(f"{where}: range={entry.range!r} is no pair; give (low, high)")
    if not entry.range[0] < entry.range[1]:
        raise ValueError(f"{where}: range {entry.range} is empty; give (low, high) with low < high")
    if not is_builtin(entry):
        _load()  # a name of a built-in metric is taken, whichever is imported first
    known = _entries.get((entry.task, entry.name))
    if known and _origin(known.function) != _origin(entry.function):
        raise ValueError(
            f"{where}: the name is taken by {_origin(known.function)} for task {entry.task}; choose another one"
        )
    _entries[entry.task, entry.name] = entry


def is_builtin(entry: Metric) -> bool:
    """Whether the metric comes with `metrics_py`, not from a user.

    Parameters
    ----------
    entry : Metric
        Of the registry.

    Returns
    -------
    bool
        By the module of its function.

    Examples
    --------
    >>> is_builtin(get("psi"))
    True
    """
    return getattr(entry.function, "__module__", "").split(".")[0] == "metrics_py"


def get(name: str, task: Task | None = None) -> Metric:
    """The metric of this name.

    Parameters
    ----------
    name : str
        As in YAML.
    task : str, optional
        Where one name serves several tasks; default: the first task that has it.

    Returns
    -------
    Metric
        The entry.

    Raises
    ------
    ValueError
        Unknown; with the nearest known name.

    Examples
    --------
    >>> get("roc_auc").task
    'binary_classification'
    >>> get("roc_auk")
    Traceback (most recent call last):
    ValueError: metric 'roc_auk' is unknown; did you mean 'roc_auc'?
    """
    _load()
    for (_, known), entry in _entries.items():
        if known == name and task in (None, entry.task):
            return entry
    among = f" for task {task}" if task else ""
    raise ValueError(f"metric {name!r} is unknown{among}; {_nearest(name, names(task))}")


def names(task: Task | None = None) -> tuple[str, ...]:
    """Sorted names of all metrics, or of those of one task.

    Parameters
    ----------
    task : str, optional
        Default: all tasks.

    Returns
    -------
    tuple of str
        Each once.

    Examples
    --------
    >>> names("regression")
    ('mae', 'mean_error', 'mean_label', 'r2', 'rmse')
    """
    return tuple(sorted({entry.name for entry in entries(task)}))


def entries(task: Task | None = None) -> tuple[Metric, ...]:
    """All metrics, or those of one task.

    Parameters
    ----------
    task : str, optional
        Default: all tasks.

    Returns
    -------
    tuple of Metric
        In the order of their registration.

    Examples
    --------
    >>> [entry.name for entry in entries("regression")]
    ['mae', 'rmse', 'r2', 'mean_error', 'mean_label']
    """
    _load()
    return tuple(entry for entry in _entries.values() if task in (None, entry.task))


def load(path: str) -> Metric:
    """Import a custom metric by ``package.module:function``.

    Parameters
    ----------
    path : str
        Where Python finds it.

    Returns
    -------
    Metric
        The entry that its decorator made.

    Raises
    ------
    ValueError
        If the path is malformed, the module or function does not exist, or the function carries no `@metric`.

    Examples
    --------
    >>> load("refunds")
    Traceback (most recent call last):
    ValueError: metric 'refunds': write package.module:function
    """
    _load()
    module_name, colon, function_name = path.partition(":")
    if not colon or not module_name or not function_name:
        raise ValueError(f"metric {path!r}: write package.module:function")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"metric {path!r}: module {module_name} cannot be imported ({error})") from error
    function = getattr(module, function_name, None)
    if function is None:
        raise ValueError(
            f"metric {path!r}: {module_name} has no {function_name}; {_nearest(function_name, dir(module))}"
        )
    for entry in _entries.values():
        if entry.function is function:
            return entry
    raise ValueError(f"metric {path!r}: decorate the function with @metric(name=..., task='custom', needs='rows')")


def _load() -> None:
    if not _loaded:
        _loaded.append("")  # an import below may ask the registry again
        for module in BUILTIN_MODULES:
            importlib.import_module(module)


def _origin(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


def summary_of(function: Callable[..., Any]) -> str:
    """The first paragraph of a function's docstring, on one line.

    Parameters
    ----------
    function : callable
        With or without a docstring.

    Returns
    -------
    str
        "" without one.

    Examples
    --------
    >>> summary_of(is_builtin)
    'Whether the metric comes with `metrics_py`, not from a user.'
    """
    text = (function.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(text.split())


def _nearest(name: str, allowed: Iterable[str]) -> str:
    known = sorted(allowed)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(known)}"
