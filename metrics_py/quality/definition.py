"""What a realised-quality metric is: formula, text, direction, range, scale, and when it is undefined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metrics_py.quality import classification
from metrics_py.registry import Direction, Metric, Task
from metrics_py.registry import Needs as Inputs

FloatArray = NDArray[np.float64]
Aggregates = Mapping[str, FloatArray]
Scale = Literal["proportion", "unit", "error", "skill", "identity"]
Needs = Literal["confusion", "scores", "n_score", "n", "label_counts"]

ONE_CLASS = "only one class among the labels"
NO_POSITIVES = "no positive labels"
UNDEFINED = "the metric is undefined on these rows"
RANGES: dict[Scale, tuple[float, float]] = {
    "proportion": (0, 1),
    "unit": (0, 1),
    "error": (0, float("inf")),
    "skill": (float("-inf"), 1),
    "identity": (float("-inf"), float("inf")),
}


@dataclass(frozen=True, kw_only=True)
class QualityMetric:
    """One metric as a function of additive aggregates.

    Attributes
    ----------
    name : str
        Name in the tables.
    summary : str
        What it is, one sentence.
    direction : {"higher_is_better", "lower_is_better", "none"}
        Which way is better. There is no default: a forgotten one would alarm at improvements.
    value : callable
        Aggregates with any leading axes -> metric, NaN where undefined.
    needs : tuple of str
        Aggregates it reads, of ``confusion``, ``scores``, ``n_score`` (sums over the rows with a forecast), ``n``
        (custom sums) and ``label_counts``; the first one counts the rows behind the metric.
    scale : {"proportion", "unit", "error", "skill", "identity"}
        Stabilising transform: ``proportion`` arcsine, ``unit`` logit, ``error`` log, ``skill`` -log(1 - x),
        ``identity``.
    references : tuple of str
        Where it is defined.
    is_watched : bool
        Has every monitor of the task whose columns allow it a check and a stream for it?
    possible : (float, float), optional
        Possible values where the scale does not say them.
    unit : str
        Shown beside the value.
    undefined : str
        Reason given where the value is NaN though there are rows.
    counts : callable, optional
        Successes and trials of a proportion.
    size : callable, optional
        Rows that carry the information (the rarer class, say); default: the rows behind the metric.
    formula_variance : callable, optional
        Variance for independent rows, used as a floor where few rows carry the information.
    binning : callable, optional
        Guaranteed distances (below, above) from the binned value to the value of the raw scores.
    tail : callable, optional
        Mean squared error, and the square of the mean absolute one: where few rows decide the former, there is no
        interval.
    classes : callable, optional
        Successes, trials and weights of proportions whose mean it is, class by class: the interval is not narrower than
        theirs together.
    noise : callable, optional
        What noise alone adds to a value that cannot be negative; the lower bound allows for it.
    counted : str, optional
        What `n` counts, where it is not rows.
    is_fraction : bool
        A mean of values between 0 and 1, which vary less than zeros and ones: so does what alerts take for noise.
    needs_probabilities : bool
        It is undefined where the aggregate ``n_improper`` is not 0: scores of several classes that do not sum to 1.
    """

    name: str
    summary: str
    direction: Direction
    value: Callable[[Aggregates], FloatArray]
    needs: tuple[Needs, ...]
    scale: Scale
    references: tuple[str, ...] = ()
    is_watched: bool = False
    possible: tuple[float, float] | None = None
    unit: str = ""
    undefined: str = UNDEFINED
    counts: Callable[[Aggregates], tuple[FloatArray, FloatArray]] | None = None
    size: Callable[[Aggregates], FloatArray] | None = None
    formula_variance: Callable[[Aggregates], FloatArray] | None = None
    binning: Callable[[Aggregates], tuple[FloatArray, FloatArray]] | None = None
    tail: Callable[[Aggregates], tuple[FloatArray, FloatArray]] | None = None
    classes: Callable[[Aggregates], tuple[FloatArray, FloatArray, FloatArray]] | None = None
    noise: Callable[[Aggregates], FloatArray] | None = None
    counted: str = ""
    is_fraction: bool = False
    needs_probabilities: bool = False

    @property
    def reads_labels(self) -> bool:
        """Custom sums may need no label; everything else does."""
        return self.needs[0] != "n"

    @property
    def range(self) -> tuple[float, float]:
        """Possible values."""
        return self.possible or RANGES[self.scale]

    def entry(self, task: Task) -> Metric:
        """The metric in the registry, for one of its tasks.

        Parameters
        ----------
        task : str
            Task of the model.

        Returns
        -------
        Metric
            Whose function takes the aggregates.
        """
        inputs: Inputs = "confusion" if "confusion" in self.needs else "scores" if "scores" in self.needs else "sums"
        return Metric(
            self.name,
            task,
            inputs,
            self.value,
            self.unit,
            self.direction,
            self.range,
            self.references,
            summary=self.summary,
        )


def proportion(
    name: str,
    summary: str,
    counts: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    *,
    direction: Direction = "higher_is_better",
    undefined: str = "",
    references: tuple[str, ...] = (),
    is_watched: bool = False,
) -> QualityMetric:
    """A share from the confusion matrix, with its successes and trials.

    Parameters
    ----------
    name, summary : str
        As in `QualityMetric`.
    counts : callable
        Confusion matrices of shape (..., C, C) -> successes and trials of shape (...).
    direction, undefined, references, is_watched : object, optional
        As in `QualityMetric`.

    Returns
    -------
    QualityMetric
        Of scale ``proportion``.

    Examples
    --------
    >>> recall = proportion("recall", "Found of the positive.", classification.recall_counts)
    >>> float(recall.value({"confusion": np.array([[50.0, 8.0], [10.0, 32.0]])}))
    0.8
    """
    return QualityMetric(
        name=name,
        summary=summary,
        direction=direction,
        value=lambda a: classification.divide(*counts(a["confusion"])),
        needs=("confusion",),
        scale="proportion",
        references=references,
        is_watched=is_watched,
        undefined=undefined,
        counts=lambda a: counts(a["confusion"]),
    )
