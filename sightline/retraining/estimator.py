"""The user's estimator: found by its name, trained on rows of the lake, asked for what the monitor's model says."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.errors import SightlineError, nearest
from sightline.judging.time_limit import TimeLimitExceeded, time_limit
from sightline.spec.model import MonitorSpec
from sightline.spec.yaml_lines import read_yaml
from sightline.user_metrics.python_metrics import brief, importable

FIT_SECONDS = 600.0
"""Limit of one training, and of one scoring."""
EXAMPLE = "a function without parameters that returns a new estimator with `fit`, and `predict_proba` or `predict`"
FloatArray = NDArray[np.float64]


class FewClassesError(Exception):
    """The labels known at a moment are all of one class: nothing can be learnt."""


def load_estimator(path: str) -> Callable[[], Any]:
    """The function behind ``package.module:function``; call it within `importable`.

    Raises
    ------
    SightlineError
        The module cannot be imported for whatever reason, or has no such function.
    """
    module_name, _, name = path.partition(":")
    where = f"retraining.estimator {path}"
    try:
        with time_limit(FIT_SECONDS):
            module = importlib.import_module(module_name)
    except (Exception, SystemExit, TimeLimitExceeded) as error:  # the user's module may raise anything
        is_missing = isinstance(error, ModuleNotFoundError) and module_name.startswith(str(error.name))
        fix = f"mend {module_name}: importing it must not fail"
        if is_missing:
            fix = f"put {module_name.replace('.', '/')}.py into the home folder (beside monitors/), or install it"
        what = f"the module {module_name} cannot be imported ({type(error).__name__}: {brief(error)})"
        raise SightlineError(what, where=where, fix=fix) from error
    made = getattr(module, name, None)
    if made is None:
        raise SightlineError(f"{module_name} has no {name}", where=where, fix=nearest(name, dir(module), most=10))
    if not callable(made):
        raise SightlineError(f"{name} is no function", where=where, fix=f"name {EXAMPLE}")
    return made


def problems(spec: MonitorSpec, path: Path, home: Path) -> list[SightlineError]:
    """What keeps the estimator of a valid monitor file from being found, with its line.

    Parameters
    ----------
    spec : MonitorSpec
        As read from `path`.
    path : Path
        The monitor file.
    home : Path
        The home folder.
    """
    if spec.retraining is None or spec.retraining.estimator is None:
        return []
    try:
        with importable(home):
            load_estimator(spec.retraining.estimator)
    except SightlineError as error:
        where = read_yaml(path).where(("retraining", "estimator"))
        return [SightlineError(error.what, where=where, fix=error.fix)]
    return []


class Trained:
    """An estimator that was fitted to labelled rows.

    Parameters
    ----------
    spec : MonitorSpec
    make : callable
        From `load_estimator`.
    rows : DataFrame
        Labelled rows in lake columns.
    when : str
        Which training it is, for errors.

    Raises
    ------
    SightlineError
        The estimator raises, or has no `fit`.
    FewClassesError
        All labels are of one class.
    """

    def __init__(self, spec: MonitorSpec, make: Callable[[], Any], rows: pl.DataFrame, when: str) -> None:
        self.spec, self.when = spec, when
        truth = _truth(spec, rows)
        if spec.model.task != "regression" and len(np.unique(truth)) < 2:
            raise FewClassesError
        with self._told("making it"):
            self.estimator = make()
        with self._told(f"`fit` on {len(rows):,} rows"):
            self.estimator.fit(inputs(spec, rows), truth)

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the outputs of the estimator, in lake columns.

        Parameters
        ----------
        rows : DataFrame
            In lake columns.

        Raises
        ------
        SightlineError
            It raises, or returns what is no prediction of each row.
        """
        null = {"score": pl.Float64, "prediction": pl.Float64, "predicted_class": pl.String}
        rows = rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in null.items())
        task, columns = self.spec.model.task, self.spec.columns
        if task == "regression":
            return rows.with_columns(prediction=pl.Series(self._predicted(rows).astype(float)))
        if task == "binary_classification" and columns.score is not None:
            found = self._probabilities(rows)
            if "1" not in found:
                self._refuse(f"`classes_` is {sorted(found)}, without the positive class 1")
            return rows.with_columns(score=pl.Series(found["1"]))
        if task == "multiclass_classification" and columns.class_scores:
            found = self._probabilities(rows)
            zero = np.zeros(len(rows))
            scores = [pl.Series(f"p_{name}", found.get(name, zero)) for name in columns.class_scores]
            names = np.array(list(found))
            decided = names[np.argmax(np.column_stack(list(found.values())), axis=1)]
            return rows.with_columns(*scores, predicted_class=pl.Series(decided.astype(str).tolist(), dtype=pl.String))
        said = [str(value) for value in self._predicted(rows).tolist()]
        if task == "binary_classification":
            names = {"1": self.spec.positive_class, "0": _negative(self.spec)}
            said = [names.get(value.removesuffix(".0"), value) for value in said]
        return rows.with_columns(predicted_class=pl.Series(said, dtype=pl.String))

    def _predicted(self, rows: pl.DataFrame) -> NDArray[Any]:
        with self._told("`predict`"):
            said = np.asarray(self.estimator.predict(inputs(self.spec, rows)))
        if said.shape != (len(rows),):
            self._refuse(f"`predict` returned the shape {said.shape} for {len(rows)} rows")
        if self.spec.model.task == "regression" and not np.isfinite(said.astype(float)).all():
            self._refuse("`predict` returned numbers that are not finite")
        return said

    def _probabilities(self, rows: pl.DataFrame) -> dict[str, FloatArray]:
        """Probability of each class that the estimator knows, by its name (``0`` and ``1`` where there are two)."""
        if not hasattr(self.estimator, "predict_proba"):
            self._refuse("it has no `predict_proba`, and the monitor judges scores")
        with self._told("`predict_proba`"):
            said = np.asarray(self.estimator.predict_proba(inputs(self.spec, rows)), dtype=float)
            classes = [str(name) for name in np.asarray(self.estimator.classes_).tolist()]
        if said.shape != (len(rows), len(classes)):
            self._refuse(
                f"`predict_proba` returned the shape {said.shape} for {len(rows)} rows, {len(classes)} classes"
            )
        if not (np.isfinite(said).all() and (said >= 0).all() and (said <= 1).all()):
            self._refuse("`predict_proba` returned numbers that are no probabilities")
        return {name: said[:, k] for k, name in enumerate(classes)}

    def _refuse(self, what: str) -> None:
        where = f"retraining.estimator {self._path}"
        raise SightlineError(f"{self.when}: {what}", where=where, fix=f"it has to name {EXAMPLE}")

    @property
    def _path(self) -> str:
        return (self.spec.retraining.estimator if self.spec.retraining else None) or ""

    @contextmanager
    def _told(self, what: str) -> Generator[None]:
        """Whatever the user's code raises names the training and the place."""
        try:
            with time_limit(FIT_SECONDS):
                yield
        except (Exception, SystemExit, TimeLimitExceeded) as error:
            said = f"{type(error).__name__}: {brief(error)}" if str(error) else type(error).__name__
            raise SightlineError(
                f"{self.when}: {what} failed ({said})",
                where=f"retraining.estimator {self._path}",
                fix="mend the estimator: inputs come as a Polars frame, categories as text, missing numbers as NaN",
            ) from error


def inputs(spec: MonitorSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """The monitor's features under their own names, as an estimator sees them.

    Numbers and booleans are floats with NaN where they are missing, times are seconds since 1970, the rest is as it is
    in the lake (text with nulls, lists of numbers).
    """
    taken: list[pl.Expr] = []
    for name, feature in spec.columns.features.items():
        column = pl.col(f"f_{name}")
        if feature.kind == "datetime":
            column = column.dt.epoch("ms").cast(pl.Float64) / 1000
        if feature.kind in ("numeric", "boolean", "datetime"):
            column = column.cast(pl.Float64).fill_null(float("nan"))
        taken.append(column.alias(name))
    return rows.select(taken)


def _truth(spec: MonitorSpec, rows: pl.DataFrame) -> NDArray[Any]:
    """0 and 1 of two classes, the names of several, the value of a regression."""
    if spec.model.task == "binary_classification":
        return rows["label_value"].to_numpy().astype(np.int64)
    if spec.model.task == "multiclass_classification":
        return np.asarray(rows["label_class"].to_list(), dtype=str)
    return rows["label_value"].to_numpy().astype(np.float64)


def _negative(spec: MonitorSpec) -> str:
    from sightline.warehouse.settings import negative_class

    return negative_class(spec)
