"""The rows that a candidate was trained on, read as intake reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sightline.errors import SightlineError
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_data import EPOCH, rows_of_file


@dataclass(frozen=True)
class Training:
    """A training set; it needs no score.

    Attributes
    ----------
    frame : DataFrame
        Rows in lake columns, with ``label_class`` and ``label_value``.
    name : str
        Of the file.
    has_ids, has_times : bool
        Its rows carry prediction ids, and times.
    """

    frame: pl.DataFrame
    name: str
    has_ids: bool
    has_times: bool


def read_training(spec: MonitorSpec, file: Path) -> Training:
    """Read a training set: the monitor's inputs, and its label, ids, entities and times where it has them.

    Raises
    ------
    SightlineError
        It cannot be read, lacks an input, or holds no row that can be read.
    """
    classes = tuple(spec.columns.class_scores)
    columns = spec.columns.model_copy(update={"class_scores": {}})
    labels = spec.labels
    if labels is not None and classes and labels.classes is None:
        labels = labels.model_copy(update={"classes": classes})
    found = rows_of_file(
        spec.model_copy(update={"columns": columns, "labels": labels}), file, file.name, "training set"
    )
    frame = found.frame
    assert frame is not None  # of a file
    if frame.is_empty():
        what = f"no row of the training set can be read ({found.n_rejected} were refused)"
        raise SightlineError(what, where=str(file), fix="see the columns that the monitor's file names")
    has_times = bool((frame["predicted_at"] != EPOCH.replace(tzinfo=None)).any())
    return Training(frame, file.name, found.has_ids, has_times)
