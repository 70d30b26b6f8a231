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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from metrics_py.alerting.changes import BACK
from metrics_py.wording import day, deviations, number
from sightline.alerts.stream_words import stream_words
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState
from sightline.spec.model import Threshold
from sightline.spec.plan import PlannedCheck, family, metrics_of
from sightline.spec.stretches import is_over_stretch, metric_words, split

Level = Literal["ok", "warn", "error"]
Cause = Literal["rule", "incident", "evidence", ""]
Standing = Literal["open", "acknowledged", "answered", "settled", "near", ""]
RANK = {"alert": 3, "warn": 2, "ok": 1, "provisional": 1, "insufficient_data": 0}
AWAY = 3.0
"""Standard deviations from the old level from which a window of a member is away, or half of its effect if less."""
SHOWN_STREAMS = 8
LATE_FROM, LATE_OF = 3, 14
"""In so many of the latest so many windows rows came late: then it is no accident."""
TOLD = ("usual", "estimated", "audited", "unvalidated", "arrivals", "never_labelled")
"""Reasons that are told of a value that is ok."""
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
                    verdict, text=verdict.text + _late_words([w for w in rows if w <= start], published.grew)
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
    standings = {standing(s, incidents) for s in members}
    strongest = max(
        (s for s in streams if s.adjusted_evidence_days is not None),
        key=lambda s: s.evidence_days,
        default=None,
    )
    crossed = [found for row in rows for found in _crossed(row)]
    hard = main.status == "alert"
    spikes = [s for s in streams if s.is_spike]
    level: Level = "ok"
    cause: Cause = ""
    if hard or spikes or any(level == "error" for level, _ in crossed):
        level, cause = "error", "rule"
    elif "open" in standings:
        level, cause = "error", "incident"
    elif crossed or main.reason_code == "metric_failed":
        level, cause = "warn", "rule"
    elif main.status == "insufficient_data" and not long:
        return None
    elif "acknowledged" in standings:
        level, cause = "warn", "incident"
    elif any(s.warns and not _is_undone(s) for s in streams):
        level, cause = "warn", "evidence"
    facts = _facts(main, strongest)
    if check.unit:
        facts["unit"] = check.unit
    facts |= _incident_facts(members, incidents, main.window_start)
    if level == "error":
        facts["what to do"] = REMEDIES[family(check)]
    text = _text(main, check.unit, members, strongest, hard, incidents)
    if long and main.status == "insufficient_data" and not is_over_stretch(main.reason):
        text = f"Watched over {split(long[0].stream)[1]}. {text}"
    if members and len(waiting) == len(members):
        text = f"{text} Not judged yet after {day(max(waiting))}: as before."
    if members and "open" not in standings:
        failed = "Warned, not failed" if "acknowledged" in standings else "Reported, not failed"
        text = f"{text} {failed}: {_why_not_red(members, incidents)}."
    text += _revised_words(streams)
    told = "".join(f"{words}. " for _, words in crossed)
    return Verdict(level, f"{_spike_words(spikes)}{told}{text}", facts, cause=cause)


def _late_words(windows: Sequence[datetime], grew: frozenset[datetime]) -> str:
    """Whether rows keep coming after their windows have been judged, by the latest of some windows."""
    latest = sorted(windows)[-LATE_OF:]
    n = sum(window in grew for window in latest)
    if n < LATE_FROM:
        return ""
    return (
        f" Rows came after their window had been judged in {n} of the last {len(latest)}: `close_after` in the "
        "monitor's file says how long a window waits for them."
    )


def _is_undone(state: StreamState) -> bool:
    """Whether a window is within a standard deviation of what was expected by now, and was not when it was decided."""
    return state.distance_now is not None and abs(state.distance_now) < 1 <= abs(state.distance or 0.0)


def _revised_words(streams: Sequence[StreamState]) -> str:
    """What was decided on other values than the window has today."""
    told = [
        stream_words(s.stream, s.display_then, s.display_now)
        for s in streams
        if (s.in_incident or s.warns) and s.display_then != s.display_now
    ]
    return f" Since the window was decided {'; '.join(told[:3])}." if told else ""


def _is_unclear_stretch(row: Judgement) -> bool:
    return is_over_stretch(row.reason) and row.reason_code == "unclear"


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


def _breaks_throughout(threshold: Threshold, row: Judgement) -> bool:
    """Whether a value that may still move breaks a threshold with all of its interval."""
    ends = (row.ci_low, row.ci_high)
    return all(end is not None and threshold.broken(end) is not None for end in ends)


def standing(state: StreamState, incidents: Mapping[str, list[IncidentMember]]) -> Standing:
    """How a stream stands in this window.

    Parameters
    ----------
    state : StreamState
        Of one window.
    incidents : mapping of str to list of IncidentMember
        Members of each incident.

    Returns
    -------
    {'open', 'acknowledged', 'answered', 'settled', 'near', ''}
        Open and acknowledged: away from its level as part of an incident. Answered and settled: away, but somebody
        said what it was, or it has been so for long. Near: not away. Empty without an incident.
    """
    if not state.in_incident:
        return ""
    member, at = _member(state, incidents), state.window_start
    if member is None:
        return "open"
    if member.is_answered(at):
        return "answered"
    if member.has_settled(at):
        return "settled"
    if not is_away(state, incidents):
        return "near"
    return "acknowledged" if member.is_acknowledged(at) else "open"


def _member(state: StreamState, incidents: Mapping[str, list[IncidentMember]]) -> IncidentMember | None:
    return next((m for m in incidents.get(state.incident_id or "", []) if m.stream == state.stream), None)


def is_away(state: StreamState, incidents: Mapping[str, list[IncidentMember]]) -> bool:
    """Whether a member of an incident is away from its level in this window, as far as is known."""
    member = _member(state, incidents)
    if member is None or state.current_distance is None:
        return True
    return abs(state.current_distance) >= min(AWAY, abs(member.effect or AWAY) / 2)


def _why_not_red(members: list[StreamState], incidents: Mapping[str, list[IncidentMember]]) -> str:
    found = {standing(state, incidents): state for state in members}
    if "acknowledged" in found:
        return "the incident is acknowledged"
    if "answered" in found:
        return "somebody has said what it was (`sightline incidents`)"
    member = _member(found["settled"], incidents) if "settled" in found else None
    if member is not None:
        return f"settled at a new level since {day(member.settled_at)}, until somebody says what it was"
    return "in this window near its old level"


def _facts(row: Judgement, strongest: StreamState | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"metric": row.metric}
    facts |= {name: fact for name, fact in (("value", row.value), ("n", row.n)) if fact is not None}
    if row.reference_value is not None:
        facts["reference"] = row.reference_value
    if row.ci_low is not None and row.ci_high is not None:
        facts["interval"] = f"[{number(row.ci_low)}, {number(row.ci_high)}]"
    bound = _bound(row)
    if bound:
        facts["bound"] = bound
    if strongest is not None:
        facts["evidence"] = evidence_words(strongest.evidence_days)
    if row.naive_value is not None:
        facts["naive value"] = row.naive_value
    if row.maturity is not None:
        facts["maturity"] = row.maturity
    if row.reason:
        facts["reason"] = row.reason
    return facts


def evidence_words(days: float) -> str:
    """Evidence as people read it; it is counted over all streams, to compare with the budget.

    Examples
    --------
    >>> evidence_words(412.3)
    'appears by chance at most once in 412 days, over all streams'
    """
    return f"appears by chance at most once in {days:,.0f} days, over all streams" if days >= 1 else "none"


def _incident_facts(
    rejected: list[StreamState], incidents: Mapping[str, list[IncidentMember]], start: datetime
) -> dict[str, Any]:
    if not rejected:
        return {}
    incident = rejected[0].incident_id or ""
    members = incidents.get(incident, [])
    own = [m for m in members if m.stream in {s.stream for s in rejected}]
    facts: dict[str, Any] = {"incident": incident}
    if own:
        facts["evidence"] = evidence_words(max(m.evidence_days for m in own))
        first = max(own, key=lambda m: m.evidence)
        facts["change point"] = f"{first.since:%Y-%m-%d %H:%M} UTC"
        facts["moved"] = first.words
        if first.effect is not None:
            facts["effect"] = (
                f"{deviations(first.effect, sign=True).removesuffix(' sd')} standard deviations of the days before"
            )
        facts |= _later_facts(own, members, start)
    others = [m.words for m in sorted(members, key=lambda m: -m.evidence) if m not in own]
    if others:
        rest = f" and {len(others) - SHOWN_STREAMS} more" if len(others) > SHOWN_STREAMS else ""
        facts["moved with it"] = "; ".join(others[:SHOWN_STREAMS]) + rest
    return facts


def _later_facts(own: list[IncidentMember], members: list[IncidentMember], start: datetime) -> dict[str, Any]:
    """What happened after the incident had opened.

    Streams of the check that joined it, and those that moved once more.
    """
    opened = min((m.joined_at for m in members if m.joined_at), default=None)
    joined = [m for m in own if opened and m.joined_at and m.joined_at > opened]
    again = [m for m in own if m.moved_again_at and m.moved_again_at <= start]
    facts: dict[str, Any] = {}
    if joined:
        facts["joined later"] = "; ".join(
            f"{m.stream} on {m.joined_at:%Y-%m-%d %H:%M}, changed {m.change_point:%Y-%m-%d %H:%M}" for m in joined
        )
    if again:
        facts["moved again"] = "; ".join(
            f"{m.stream} since {m.moved_again_at:%Y-%m-%d %H:%M}: "
            f"{deviations(m.moved_again_effect or 0.0, sign=True)} from the old level"
            for m in again
        )
    return facts


def _bound(row: Judgement) -> str:
    low, high = row.bound_low, row.bound_high
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)}"
    return f"at least {number(low)}" if low is not None else f"at most {number(high)}" if high is not None else ""


def _text(
    row: Judgement,
    unit: str,
    rejected: list[StreamState],
    strongest: StreamState | None,
    hard: bool,
    incidents: Mapping[str, list[IncidentMember]],
) -> str:
    name = metric_words(row.metric)
    if row.status == "insufficient_data" and (not rejected or row.value is None) and not _is_unclear_stretch(row):
        return f"{_incident_words(row, rejected, incidents)}Not enough data: {row.reason}."
    text = f"{name} {number(row.value)}"
    if row.ci_low is not None and row.ci_high is not None:
        text += f" [{number(row.ci_low)}, {number(row.ci_high)}]"
    if row.reference_value is not None:
        text += f", reference {number(row.reference_value)}"
    text += f" {unit}." if unit else "."
    is_pause = row.metric == "n_rows" and row.status == "ok"
    is_told = hard or is_pause or row.status in ("warn", "provisional") or row.reason_code in TOLD
    if row.reason and (is_told or is_over_stretch(row.reason)):
        text = f"{row.reason[0].upper()}{row.reason[1:]}. {text}"
    if rejected:
        text = _incident_words(row, rejected, incidents) + text
    elif strongest is not None and strongest.status == "warn":
        text += f" Evidence {evidence_words(strongest.evidence_days)}."
    return text


def _spike_words(spikes: list[StreamState]) -> str:
    """Which streams are too far out in this one window; the rule is the user's own (`alerts.spikes`)."""
    told = [
        f"{stream_words(s.stream)} ({s.stream}) lies {deviations(s.current_distance or 0.0, sign=True)} from what was "
        f"expected "
        f"(limit {s.spike_limit:g})"
        for s in sorted(spikes, key=lambda s: -abs(s.current_distance or 0.0))
    ]
    return f"Spike: {'; '.join(told)}. " if told else ""


def _incident_words(row: Judgement, rejected: list[StreamState], incidents: Mapping[str, list[IncidentMember]]) -> str:
    """Which incident the check is in, since when, and what its streams did later, as far as this window can know."""
    if not rejected:
        return ""
    own = {s.stream for s in rejected}
    members = [m for m in incidents.get(rejected[0].incident_id or "", []) if m.stream in own]
    strongest = sorted(members, key=lambda m: -m.evidence)
    since = strongest[0].since if strongest else None
    later = [(m.moved_again_at, m.moved_again_effect or 0.0) for m in members if m.moved_again_at]
    later = [(moment, effect) for moment, effect in later if moment <= row.window_start]
    words = f" since {day(since)}" if since else ""
    if later:
        moment, effect = max(later, key=lambda moved: moved[0])
        is_back = abs(effect) < BACK
        words += f", {'back at its old level' if is_back else 'moved again'} since {day(moment)}"
    told = [m.words for m in strongest[:3]] or sorted(own)[:3]
    return f"In incident {rejected[0].incident_id}{words}: {'; '.join(told)}. "
