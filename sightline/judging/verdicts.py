"""From judgements and the engine's decisions to one verdict per check and window: no Dagster here.

A check fails for two causes. A rule: a hard rule is broken, or the window is a spike by a rule of the monitor's file.
An incident: one of the check's streams is a member of an open incident and away from its old level in this window, for
at most `alerts.settle_after` windows from the change on; then the incident has settled and waits for somebody's word.
It warns where such an incident is acknowledged, and in the window in which the evidence of a stream comes to exceed the
softer budget `alerts.warnings`. All else is a report: a distance above the tolerance, a value beyond the reference's
windows, an incident that has settled or that somebody has answered. It is told, and fails nothing. What is not judged
has no verdict; `sightline.judging.board` tells of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from metrics_py.wording import day, number
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState
from sightline.judging.standing import Standing, standing
from sightline.judging.verdict_words import (
    facts_of,
    incident_facts,
    late_words,
    moved_words,
    newly_normal_words,
    normal_now,
    normal_words,
    revised_words,
    spike_words,
    text_of,
    why_not_red,
)
from sightline.spec.judging_sections import Threshold
from sightline.spec.plan import PlannedCheck, family, metrics_of
from sightline.spec.stretches import is_over_stretch, metric_words, split

Level = Literal["ok", "warn", "error"]
Cause = Literal["rule", "incident", "evidence", ""]
RANK = {"alert": 3, "warn": 2, "ok": 1, "provisional": 1, "insufficient_data": 0}
REMEDIES = {
    "row_guards": (
        "Each row names a column and what its events broke; the alert lines are in "
        "data/<monitor>/guards/alerts.ndjson. Mend the sender, or correct the rule in the monitor's file."
    ),
    "row_volume": (
        "See whether the service answers and logs: the newest batches are in the metadata of `inferences`. A planned "
        "pause: list the day under `alerts.holidays`."
    ),
    "rejected_rows": (
        "Read the reasons in the quarantine (metadata of `inferences`), mend the sender, and land the corrected "
        "file; rows are loaded once: `sightline reload` puts a file in the place of what it brought before."
    ),
    "error_rate": "Look at the service's own logs of this window; the status column says which calls failed.",
    "latency": "Look at the service's load in this window; compare the quantiles by model version and segment.",
    "column": "Follow the column upstream: which job fills it, and what changed there at the change point?",
    "contract": (
        "The data break a rule of the monitor's file: mend the sender and `sightline reload` the corrected file, or "
        "correct the rule."
    ),
    "drift": (
        "Compare the bins before and after the change point, by segment. A new normal: `sightline accept`. A mended "
        "fault: `sightline fixed`."
    ),
    "multivariate_drift": (
        "Look at the pairs of features that are named, and at what joins or fills them upstream: each alone may look "
        "as ever. A new normal: `sightline accept`. A mended fault: `sightline fixed`."
    ),
    "metric": "Compare your metric by segment and model version, and see which inputs moved at the same time.",
    "estimate": (
        "Look at the drift of the score or prediction and of the inputs: an estimate moves with what the model answers "
        "alone. The labels will tell whether it holds (`estimation_error` in `model_quality`)."
    ),
    "quality": (
        "Compare by segment and model version, and see which inputs moved at the same time. A new normal: `sightline "
        "accept`."
    ),
}


@dataclass(frozen=True)
class FactTable:
    """A fact with rows; whoever shows it chooses the form."""

    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Verdict:
    """What one check says about one window.

    Attributes
    ----------
    level : {'ok', 'warn', 'error'}
    text : str
        One sentence or two.
    facts : mapping
        What it rests on, by name.
    stops : bool
        An error of a check that blocks keeps everything built on the window from being made; False tells only.
    cause : {'rule', 'incident', 'evidence', ''}
        Why it failed or warned; empty where it passed.
    """

    level: Level
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stops: bool = True
    cause: Cause = ""


def verdicts(
    asset: str, checks: Sequence[PlannedCheck], published: Published
) -> Iterator[tuple[PlannedCheck, datetime, Verdict]]:
    """Verdicts of an asset's checks.

    Parameters
    ----------
    asset : str
        Name of the asset.
    checks : sequence of PlannedCheck
        Those to evaluate.
    published : Published

    Yields
    ------
    (check, window_start, Verdict)
        Nothing for a window about which nothing was judged, or with too little for a verdict.
    """
    decided: dict[tuple[str | None, str | None], list[StreamState]] = {}
    for state in (*published.streams, *published.waiting):
        if state.asset == asset:
            decided.setdefault((state.column, state.statistic), []).append(state)
    incidents: dict[str, list[IncidentMember]] = {}
    for member in published.members:
        incidents.setdefault(member.incident_id, []).append(member)
    for check, rows in judged(checks, published):
        streams = _by_window(found for key, found in decided.items() if _belongs(check, key))
        for start, candidates in sorted(rows.items()):
            verdict = _verdict(check, candidates, streams.get(start, []), incidents)
            if verdict is not None and check.metric == "n_rows":
                verdict = replace(
                    verdict, text=verdict.text + late_words([w for w in rows if w <= start], published.grew)
                )
            if verdict is not None:
                yield check, start, verdict


def judged(
    checks: Sequence[PlannedCheck], published: Published
) -> Iterator[tuple[PlannedCheck, dict[datetime, list[Judgement]]]]:
    """The judgements that each check is about, by window.

    Parameters
    ----------
    checks : sequence of PlannedCheck
        Of one asset.
    published : Published
        Of the same asset.

    Yields
    ------
    (check, dict of window_start to judgements)
    """
    by_name: dict[tuple[str, str], list[Judgement]] = {}
    for row in published.judgements:
        by_name.setdefault((row.column, row.metric), []).append(row)
    for check in checks:
        yield check, _by_window(by_name.get((check.column or "", metric), []) for metric in metrics_of(check))


Row = TypeVar("Row", Judgement, StreamState)


def _by_window(groups: Iterable[Sequence[Row]]) -> dict[datetime, list[Row]]:
    found: dict[datetime, list[Row]] = {}
    for group in groups:
        for row in group:
            found.setdefault(row.window_start, []).append(row)
    return found


def _belongs(check: PlannedCheck, stream: tuple[str | None, str | None]) -> bool:
    """Whether a stream (column, statistic) of the check's asset belongs to the check."""
    column, statistic = stream
    kind = family(check)
    if kind == "contract":
        return False
    if check.column:
        return column == check.column
    return column == "" and statistic == check.metric


def speaker(check: PlannedCheck, rows: list[Judgement]) -> Judgement:
    """The judgement that speaks for the check.

    Parameters
    ----------
    check : PlannedCheck
    rows : list of Judgement
        Its judgements of one window, at least one.

    Returns
    -------
    Judgement
        The worst of them, the first of equals.
    """
    main = max(
        rows,
        key=lambda row: (
            RANK[row.status],
            -metrics_of(check).index(row.metric),
        ),
    )
    if family(check) == "contract" and main.metric == "null_rate" and main.status != "alert":
        main = next((row for row in rows if row.metric == "contract_rate"), main)
    return main


def _verdict(
    check: PlannedCheck,
    rows: list[Judgement],
    streams: list[StreamState],
    incidents: Mapping[str, list[IncidentMember]],
) -> Verdict | None:
    main = speaker(check, rows)
    members = [s for s in streams if s.in_incident]
    if main.reason_code == "judged_later" and not members:
        return None
    waiting = [s.known_to for s in members if s.known_to is not None]
    streams = [s for s in streams if s.known_to is None]
    long = [s for s in streams if s.column and split(s.stream)[1] and s.status != "insufficient_data"]
    standings: set[Standing] = {standing(s, incidents) for s in members}
    strongest = max(
        (s for s in streams if s.adjusted_evidence_days is not None),
        key=lambda s: s.evidence_days,
        default=None,
    )
    crossed = [found for row in rows for found in _crossed(row)]
    spikes = [s for s in streams if s.is_spike]
    broken: list[Level] = [*("error" for _ in spikes), *(level for level, _ in crossed)]
    found = _level(main, streams, standings, is_long=bool(long), crossed=broken)
    if found is None:
        return None
    level, cause = found
    facts = facts_of(main, strongest)
    if check.unit:
        facts["unit"] = check.unit
    facts |= incident_facts(members, incidents, main.window_start)
    if level == "error":
        facts["what to do"] = REMEDIES[family(check)]
    text = text_of(main, check.unit, members, strongest, main.status == "alert", incidents)
    is_told = main.reason_code == "judged_later" or is_over_stretch(main.reason)
    if long and main.status == "insufficient_data" and not is_told:
        text = f"Watched over {split(long[0].stream)[1]}. {text}"
    if members and len(waiting) == len(members):
        text = f"{text} Not judged yet after {day(max(waiting))}: as before."
    if members and "open" not in standings and cause != "rule":
        failed = "Warned, not failed" if "acknowledged" in standings else "Reported, not failed"
        text = f"{text} {failed}: {why_not_red(members, incidents)}."
    normal = [] if members else normal_now(streams, incidents, main.window_start)
    if normal:
        facts["judged against"] = "; ".join(normal_words(m) for m in normal)
        text += newly_normal_words(normal, main.window_start)
    text += revised_words(streams)
    if cause == "evidence":
        text += moved_words([s for s in streams if s.warns])
    text += "".join(f" {words}, by a value that may still move: the rule waits." for words in _may_cross(rows))
    told = "".join(f"{words}. " for _, words in crossed)
    return Verdict(level, f"{spike_words(spikes)}{told}{text}", facts, cause=cause)


def _level(
    main: Judgement,
    streams: Sequence[StreamState],
    standings: Collection[Standing],
    crossed: Collection[Level],
    *,
    is_long: bool,
) -> tuple[Level, Cause] | None:
    """How loud the check is and why; None where there is too little for a verdict."""
    if main.status == "alert" or "error" in crossed:
        return "error", "rule"
    if "open" in standings:
        return "error", "incident"
    if crossed or main.reason_code == "metric_failed":
        return "warn", "rule"
    if main.status == "insufficient_data" and not is_long:
        return None
    return _soft_level(streams, standings)


def _soft_level(streams: Sequence[StreamState], standings: Collection[Standing]) -> tuple[Level, Cause]:
    if "acknowledged" in standings:
        return "warn", "incident"
    if any(s.warns for s in streams):
        return "warn", "evidence"
    return "ok", ""


def _crossed(row: Judgement) -> Iterator[tuple[Level, str]]:
    """The fixed thresholds of the monitor's file that a judged value crosses, in words."""
    if row.value is None or row.status == "insufficient_data":
        return
    for threshold in row.thresholds:
        broken = threshold.broken(row.value)
        if row.status == "provisional" and not _breaks_throughout(threshold, row):
            continue
        if broken:
            yield broken[0], f"{metric_words(row.metric).capitalize()} {number(row.value)} is {broken[1]}"


def _may_cross(rows: Sequence[Judgement]) -> Iterator[str]:
    """Fixed thresholds that a value crosses which may still move, while some of its interval does not."""
    for row in rows:
        for threshold in row.thresholds if row.status == "provisional" and row.value is not None else ():
            broken = threshold.broken(row.value or 0.0)
            if broken and not _breaks_throughout(threshold, row):
                yield f"{metric_words(row.metric).capitalize()} {number(row.value)} is {broken[1]}"


def _breaks_throughout(threshold: Threshold, row: Judgement) -> bool:
    """Whether a value that may still move breaks a threshold with all of its interval."""
    ends = (row.ci_low, row.ci_high)
    return all(end is not None and threshold.broken(end) is not None for end in ends)
