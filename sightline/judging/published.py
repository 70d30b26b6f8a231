"""What was published about some windows, typed: judgements, decisions of the alert engine, members of incidents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import polars as pl

from metrics_py.alerting import MEMBERS_SCHEMA, STREAMS_SCHEMA
from metrics_py.alerting.lifecycle import NEW_NORMAL
from sightline.alerts import answers, decisions
from sightline.alerts.stream_words import stream_words
from sightline.home import MonitorPaths
from sightline.judging.marts import ALL_VERSIONS
from sightline.judging.revised import with_revised
from sightline.results.evidence import read_evidence, read_revised
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from sightline.results.withdrawn import is_withdrawn
from sightline.spec.judging_sections import Threshold
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import split, stretch_of, strides

DAY = timedelta(days=1)
VOLUME = "data_quality/n_rows"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A row of the judgement table, segment and version 'all'; see `sightline.results.judgements`."""

    window_start: datetime
    column: str
    metric: str
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    n: int | None = None
    reference_value: float | None = None
    bound_low: float | None = None
    bound_high: float | None = None
    status: str = "ok"
    reason: str | None = None
    reason_code: str | None = None
    naive_value: float | None = None
    maturity: float | None = None
    thresholds: tuple[Threshold, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """One stream in one window, as the alert engine decided it (snapshot `alert_streams`).

    `warns` marks the window in which its evidence came to exceed the budget of warnings. `spike_limit` is the distance
    from which the monitor's file calls a single window a spike, None where it names none. `known_to` is the window that
    the state is of where it is told of a later one, in which the stream is not judged yet. Where rows came or were
    corrected after the decision, `display_then` and `display_now` are the value then and now, and `distance_now` is the
    distance by now. `is_gone` where the value was withdrawn: there are no rows any more.
    """

    stream: str
    asset: str | None
    column: str | None
    statistic: str | None
    window_start: datetime
    status: str
    in_incident: bool
    incident_id: str | None = None
    adjusted_evidence_days: float | None = None
    distance: float | None = None
    warns: bool = False
    spike_limit: float | None = None
    known_to: datetime | None = None
    reason_code: str | None = None
    decided_at: datetime | None = None
    display_then: float | None = None
    display_now: float | None = None
    distance_now: float | None = None
    is_gone: bool = False

    @property
    def current_distance(self) -> float | None:
        """Standard deviations from the level, by what the window holds today."""
        return self.distance if self.distance_now is None else self.distance_now

    @property
    def is_spike(self) -> bool:
        """Is this window by itself as far out as `spike_limit`? A stream in an incident is away already."""
        now = self.current_distance
        if self.spike_limit is None or self.distance is None or now is None or self.in_incident or self.is_gone:
            return False
        return min(abs(self.distance), abs(now)) >= self.spike_limit

    @property
    def evidence_days(self) -> float:
        """Evidence over all streams of the monitor, 0 where there is none."""
        return self.adjusted_evidence_days or 0.0


@dataclass(frozen=True, kw_only=True)
class IncidentMember:
    """One stream of an incident (snapshot `incident_members`).

    `evidence_days` counts over all streams of the monitor; `began` is the change point of the incident as a whole. From
    the windows `acknowledged_from` and `answered_from` on somebody has said that the incident is being looked at, or
    that it is the new normal or mended.
    """

    incident_id: str
    stream: str
    change_point: datetime
    joined_at: datetime | None
    evidence: float
    evidence_days: float
    level_before: float
    level_after: float
    effect: float | None
    display_before: float | None = None
    display_after: float | None = None
    display_extreme: float | None = None
    moved_again_at: datetime | None = None
    moved_again_effect: float | None = None
    acknowledged_from: datetime | None = None
    answered_from: datetime | None = None
    settle_after: timedelta | None = None
    began: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None

    @property
    def rank(self) -> tuple[datetime, float]:
        """Place among the members: those that opened the incident first, of one window the most evident."""
        return self.joined_at or datetime.min, -self.evidence

    @property
    def since(self) -> datetime:
        """When it changed as part of the incident: not before the incident as a whole."""
        return max(self.change_point, self.began or self.change_point)

    @property
    def words(self) -> str:
        """How the stream moved, in words, and its name."""
        moved = stream_words(self.stream, self.display_before, self.display_after, self.display_extreme)
        return f"{moved} ({self.stream})"

    def is_acknowledged(self, window_start: datetime) -> bool:
        """Whether somebody is at it in this window."""
        return self.acknowledged_from is not None and window_start >= self.acknowledged_from

    def is_normal_now(self, window_start: datetime) -> bool:
        """Whether it had become the normal unasked by this window: it is judged against that level."""
        return self.ended_by == NEW_NORMAL and self.ended_at is not None and window_start >= self.ended_at

    def is_answered(self, window_start: datetime) -> bool:
        """Whether somebody has ended it by this window."""
        return self.answered_from is not None and window_start >= self.answered_from

    @property
    def settled_at(self) -> datetime | None:
        """From when on this membership, if it goes on, is a new level: `settle_after` from the last change on.

        None without `settle_after`: it never settles.
        """
        changes = [moment for moment in (self.joined_at, self.moved_again_at) if moment is not None]
        return max(changes) + self.settle_after if changes and self.settle_after is not None else None

    def has_settled(self, window_start: datetime) -> bool:
        """Whether it had settled by this window, by what was known then."""
        settled_at = self.known_at(window_start).settled_at
        return settled_at is not None and window_start >= settled_at

    def known_at(self, window_start: datetime) -> IncidentMember:
        """Itself by what was known in this window: a later second change is not."""
        again = self.moved_again_at
        return replace(self, moved_again_at=None) if again is not None and again > window_start else self


@dataclass(frozen=True)
class Published:
    """What verdicts are made from.

    Parameters
    ----------
    judgements : sequence of Judgement
        The asset's latest, also of some windows before those in question.
    streams : sequence of StreamState
        Decisions on the windows in question.
    members : sequence of IncidentMember
        Of all incidents.
    long : frozenset of str
        Columns of the asset with streams over stretches.
    waiting : sequence of StreamState
        Last decisions on members of incidents, in the windows in question that come after: not judged yet.
    grew : frozenset of datetime
        Windows that have more rows by now than when they were decided.
    """

    judgements: Sequence[Judgement]
    streams: Sequence[StreamState]
    members: Sequence[IncidentMember]
    long: frozenset[str] = frozenset()
    waiting: Sequence[StreamState] = ()
    grew: frozenset[datetime] = frozenset()


def read_published(spec: MonitorSpec, paths: MonitorPaths, asset: str, keys: Sequence[str]) -> Published:
    """What was published about some windows of an asset.

    Judgements are also of those before, to tell how long one has lacked; those that were withdrawn are none.
    """
    stretch = stretch_of(spec)
    start, end = spec.window_start(min(keys)), spec.window_start(max(keys)) + spec.window
    earlier = start - (spec.warmup_windows + (stretch.n if stretch else 0)) * spec.window
    judgements = read_judgements(paths, asset=asset, start=earlier, end=end, segment="all").filter(~is_withdrawn())
    streams = read_snapshot(paths, decisions.STREAMS)
    members = read_snapshot(paths, decisions.MEMBERS)
    if streams is None or members is None:
        streams, members = pl.DataFrame(schema=STREAMS_SCHEMA), pl.DataFrame(schema=MEMBERS_SCHEMA)
    streams, members = answers.in_current_incidents(streams, members)
    first, last = (moment.replace(tzinfo=None) for moment in (start, end))
    is_inside = pl.col("window_start").is_between(first, last, closed="left")
    evidence = read_evidence(paths)
    revised = with_revised(streams, members, evidence, read_revised(paths))
    known = held(spec, revised)
    starts = [spec.window_start(key).replace(tzinfo=None) for key in keys]
    inside, waiting = known.filter(is_inside), not_judged_yet(known, members, starts).filter(is_inside)
    members = _with_began(members, read_snapshot(paths, decisions.INCIDENTS))
    named = evidence.select("stream", "asset", "column", "statistic").unique()
    return Published(
        _with_thresholds(spec, _typed(judgements.filter(pl.col("model_version") == ALL_VERSIONS), Judgement)),
        [
            replace(s, spike_limit=spike_limit(spec, s.stream))
            for s in _typed(inside.join(named, on="stream", how="left"), StreamState)
        ],
        [
            replace(m, settle_after=spec.settle_windows * spec.window)
            for m in _typed(
                members.with_columns(evidence_days=pl.col("adjusted_evidence") * (spec.window / DAY)), IncidentMember
            )
        ],
        frozenset(
            c for a, c, s in named.select("asset", "column", "statistic").rows() if a == asset and c and split(s)[1]
        ),
        _typed(waiting.join(named, on="stream", how="left"), StreamState),
        frozenset(
            revised.filter(pl.col("stream") == VOLUME, pl.col("display_now") > pl.col("display_then"))["window_start"]
        ),
    )


def _with_began(members: pl.DataFrame, incidents: pl.DataFrame | None) -> pl.DataFrame:
    if incidents is None:
        return members
    return members.join(incidents.select("incident_id", began="change_point"), on="incident_id", how="left")


def _with_thresholds(spec: MonitorSpec, rows: list[Judgement]) -> list[Judgement]:
    by_name: dict[tuple[str, str], tuple[Threshold, ...]] = {}
    for threshold in spec.alerts.thresholds:
        name = (threshold.column, threshold.metric)
        by_name[name] = (*by_name.get(name, ()), threshold)
    if not by_name:
        return rows
    return [replace(row, thresholds=by_name.get((row.column, row.metric), ())) for row in rows]


def held(spec: MonitorSpec, streams: pl.DataFrame) -> pl.DataFrame:
    """Decisions, those on a member of an incident over several windows also in the windows until its next value.

    In between nothing new is known of it: it is still away, and the incident still open.

    Parameters
    ----------
    spec : MonitorSpec
    streams : DataFrame
        Of `STREAMS_SCHEMA`.

    Returns
    -------
    DataFrame
        The same columns; no window that the engine has not decided.
    """
    if streams.is_empty():
        return streams
    told_once = {"warns": pl.lit(False)} if "warns" in streams.columns else {}
    later: list[pl.DataFrame] = []
    for ending, stride in strides(spec).items():
        away = streams.filter(pl.col("stream").str.ends_with(ending) & pl.col("in_incident"))
        later += [
            away.with_columns(window_start=pl.col("window_start") + k * spec.window, **told_once)
            for k in range(1, stride)
        ]
    decided = pl.col("window_start") <= streams["window_start"].max()
    return pl.concat([streams, *(frame.filter(decided) for frame in later)])


def not_judged_yet(streams: pl.DataFrame, members: pl.DataFrame, others: Sequence[datetime] = ()) -> pl.DataFrame:
    """Last decisions on members of incidents, in all windows since, in which these streams are not judged yet.

    Quality waits for labels, and everything for the end of a window that is open. Until then nothing new is known: it
    is as far away as it was, and the incident still open.

    Parameters
    ----------
    streams, members : DataFrame
        Of `STREAMS_SCHEMA` and `MEMBERS_SCHEMA`. Windows that were withdrawn (``is_gone``) say nothing.
    others : sequence of datetime
        Windows (naive UTC) beside those decided.

    Returns
    -------
    DataFrame
        The columns of `streams`, with ``window_start`` of the later window, and ``known_to``, the one that was decided.
    """
    more = pl.DataFrame({"later": list(others)}, schema={"later": streams.schema["window_start"]})
    windows = pl.concat([streams.select(later="window_start"), more]).unique()
    told = streams.with_columns(decided_to=pl.col("window_start").max().over("stream"))
    told = told.filter(~pl.col("is_gone")) if "is_gone" in streams.columns else told
    newest = told.filter(pl.col("window_start") == pl.col("window_start").max().over("stream"))
    last = newest.filter("in_incident").join_where(windows, pl.col("later") > pl.col("decided_to"))
    ended = members.select("incident_id", "stream", "ended_at")
    last = last.join(ended, on=["incident_id", "stream"], how="left")
    last = last.filter((pl.col("later") < pl.col("ended_at")).fill_null(True))
    shown = [name for name in ("display_then", "display_now") if name in last.columns]
    nothing = dict.fromkeys(shown, pl.lit(None, dtype=pl.Float64))
    moved = last.with_columns(known_to="window_start", window_start="later", **nothing)
    return moved.drop("later", "ended_at", "decided_to").sort("window_start", "stream")


def spike_limit(spec: MonitorSpec, stream: str) -> float | None:
    """Standard deviations from which a window of this stream is a spike; the first pattern that matches decides."""
    return next((limit for pattern, limit in spec.alerts.spikes.items() if decisions.matches(pattern, stream)), None)


Row = TypeVar("Row", Judgement, StreamState, IncidentMember)


def _typed(frame: pl.DataFrame, kind: type[Row]) -> list[Row]:
    names = [field.name for field in fields(kind) if field.name in frame.columns]
    rows: list[dict[str, Any]] = frame.select(names).to_dicts()
    return [kind(**row) for row in rows]
