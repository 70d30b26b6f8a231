"""One incident as those see it who look for its cause: what is known of the windows before and after it began."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl

from sightline.results.upstream import SCHEMA as UPSTREAM
from sightline.spec.stretches import split

MOST_AFTER = 14
"""Windows since the change that are looked at, at most: a cause is there when its effect begins."""

LABELS = ("/labelled_rate", "/label_arrivals", "/positive_rate")
"""Streams of the labels."""

SUMS = pl.Schema(
    {
        "outcome": pl.String,
        "segment_column": pl.String,
        "segment": pl.String,
        "window_start": pl.Datetime("us"),
        "n": pl.Float64,
        "total": pl.Float64,
        "squares": pl.Float64,
    }
)
"""Sums by segment; of all rows `segment` is ``all`` and `segment_column` empty."""

VERSIONS = pl.Schema({"model_version": pl.String, "window_start": pl.Datetime("us"), "n": pl.Float64})


@dataclass(frozen=True)
class Mark:
    """What somebody did to the model or its surroundings, such as a deployment; `at` is naive UTC."""

    at: datetime
    text: str
    source: str = ""


@dataclass(frozen=True)
class BrokenRule:
    """A hard rule that was broken, or a row guard that raised an alert; `at` is naive UTC, `rule` names it."""

    at: datetime
    kind: str
    rule: str
    column: str
    words: str


@dataclass(frozen=True)
class OperationalFact:
    """Something that failed in operation: a run, a data test, or a feed that was not fresh.

    Attributes
    ----------
    at : datetime
        When it was seen to fail (naive UTC).
    until : datetime or None
        When it was seen well again; None: not yet.
    kind : str
        ``run``, ``check`` or ``freshness``.
    cause : str
        What failed, as in `sightline.alerts.operational`.
    words : str
        One sentence.
    windows : tuple of datetime
        Windows that failed; empty where `at` alone tells.
    """

    at: datetime
    until: datetime | None
    kind: str
    cause: str
    words: str
    windows: tuple[datetime, ...] = ()


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Labelled rows before and after the change.

    Attributes
    ----------
    before, after : DataFrame
        ``score, bucket, is_positive`` and the inputs as ``f_<name>``.
    """

    before: pl.DataFrame
    after: pl.DataFrame


@dataclass(frozen=True)
class Quality:
    """A metric of realised quality as a member of an incident.

    Attributes
    ----------
    metric : str
        As in the judgement table.
    began, joined : datetime
        Its own change point, and the window in which it joined the incident.
    known : datetime
        Last window that tells something: windows after `joined` had no part in the decision.
    """

    metric: str
    began: datetime
    joined: datetime
    known: datetime


def is_metric(stream: str) -> bool:
    """Whether a stream is a metric of realised quality rather than one of the labels.

    Examples
    --------
    >>> is_metric("model_quality/roc_auc@7d"), is_metric("model_quality/labelled_rate"), is_metric("drift/a/skew")
    (True, False, False)
    """
    name = split(stream)[0]
    return name.startswith("model_quality/") and "@" not in name and not name.endswith(LABELS)


@dataclass(frozen=True, eq=False)
class Case:
    """What is known about an incident.

    Attributes
    ----------
    incident_id : str
        Id of the incident.
    began, opened : datetime
        Its change point, and the window in which it opened (naive UTC).
    window : timedelta
        Length of a window.
    before_windows : int
        So many windows before the change tell how things were.
    members : mapping of str to float
        Stream -> evidence with which it joined, in windows.
    evidence : DataFrame
        Columns ``stream, asset, column, statistic, window_start, value, display_value, variance``; before the change
        calm windows only.
    sums : DataFrame
        Shape `SUMS`.
    versions : DataFrame
        Shape `VERSIONS`.
    broken : sequence of BrokenRule
        Hard rules and row guards, those of the windows before as well.
    operations : sequence of OperationalFact
        What failed in operation, those of the windows before as well.
    marks : sequence of Mark
        What somebody said was done, whenever.
    upstream : DataFrame
        Shape `UPSTREAM`.
    rejections : DataFrame
        ``window_start, reason, n`` of refused rows and values that break a rule.
    importance : mapping of str to float
        Column -> weight; empty where it is not known.
    quality : Quality, optional
        The metric of realised quality that moved most evidently, if one is a member.
    rows : callable, optional
        Reads the labelled rows before, and those from one window to another; None where there are none to read, such as
        for a regression.
    no_rows : str
        Why not.
    personal : frozenset of str
        Columns whose values are not told.
    """

    incident_id: str
    began: datetime
    opened: datetime
    window: timedelta
    before_windows: int
    members: Mapping[str, float]
    evidence: pl.DataFrame
    sums: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SUMS))
    versions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=VERSIONS))
    broken: Sequence[BrokenRule] = ()
    operations: Sequence[OperationalFact] = ()
    marks: Sequence[Mark] = ()
    upstream: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=UPSTREAM))
    rejections: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(
            schema={"window_start": pl.Datetime("us"), "reason": pl.String, "n": pl.Float64}
        )
    )
    importance: Mapping[str, float] = field(default_factory=dict[str, float])
    quality: Quality | None = None
    rows: Callable[[datetime, datetime, datetime], LabelledRows | None] | None = None
    no_rows: str = ""
    personal: frozenset[str] = frozenset()

    @property
    def last_after(self) -> datetime:
        """Last window that is looked at as changed."""
        return min(self.opened, self.began + (MOST_AFTER - 1) * self.window)

    @property
    def first_before(self) -> datetime:
        """First window that tells how things were."""
        return self.began - self.before_windows * self.window

    def is_before(self) -> pl.Expr:
        """Rows of windows before the change."""
        return pl.col("window_start").is_between(self.first_before, self.began, closed="left")

    def is_after(self) -> pl.Expr:
        """Rows of windows since it, at most up to the one in which the incident opened."""
        return pl.col("window_start").is_between(self.began, self.last_after)

    def is_about_quality(self) -> bool:
        """Whether a metric of the model's realised quality is a member."""
        return self.quality is not None


@dataclass(frozen=True)
class Cause:
    """A likely cause of an incident.

    Attributes
    ----------
    kind : str
        `sightline.alerts.causes.rank.KINDS`.
    words : str
        What it is, in plain words.
    evidence : str
        How that is known.
    score : float
        By which causes are ranked, from 0 to 1.
    column, segment : str
        What it is about, empty where it is about neither.
    p_value : float or None
        Of the test behind it, where there is one.
    rank : int
        1 is the likeliest; 0 before they are ranked.
    """

    kind: str
    words: str
    evidence: str
    score: float
    column: str = ""
    segment: str = ""
    p_value: float | None = None
    rank: int = 0

    def at(self, rank: int) -> Cause:
        """The same with a rank."""
        return replace(self, rank=rank)
