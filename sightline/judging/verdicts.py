"""From judgements and the engine's decisions to one verdict per check and window: no Dagster here.

A check fails when the alert engine has rejected one of its streams (until the incident ends), when a hard rule is
broken, or when a window is a spike by a rule of the monitor's file. Below that it warns: a drift known to exceed its
tolerance, a value beyond what the reference's windows show, not enough data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from metrics_py.alerting.changes import BACK
from metrics_py.reasons import ReasonCode
from metrics_py.wording import day, deviations, number
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState
from sightline.spec.plan import PlannedCheck

Level = Literal["ok", "warn", "error"]
FAMILY_METRICS = {
    "column": ("null_rate", "not_finite_rate", "unseen_rate", "out_of_range_rate", "is_constant"),
    "contract": ("contract_rate", "null_rate"),
}
RANK = {"alert": 3, "warn": 2, "ok": 1, "insufficient_data": 0}
LOUD: frozenset[ReasonCode] = frozenset({"no_reference", "column_named_later", "no_labels", "metric_failed"})
"""Missing data that somebody should look into: the check warns.

All else that is not enough for a verdict leaves the check without one, neither passed nor failed; the reason stands
in the judgement.
"""

TOO_LITTLE = (
    "This has not been judged for a long time. Judge longer windows (`schedule`), ask for fewer rows "
    "(`drift.min_rows`, `quality.min_labels`), or take it as not applicable where the reason says so."
)
SHOWN_STREAMS = 8
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
    """

    level: Level
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stops: bool = True


def family(check: PlannedCheck) -> str:
    """Kind of a check: its name, or what stands before the double underscore."""
    return check.name.partition("__")[0]


def verdicts(
    asset: str, checks: Sequence[PlannedCheck], published: Published, patience: int | None = None
) -> Iterator[tuple[PlannedCheck, datetime, Verdict]]:
    """Verdicts of an asset's checks.

    Parameters
    ----------
    asset : str
        Name of the asset.
    checks : sequence of PlannedCheck
        Those to evaluate.
    published : Published
    patience : int, optional
        A check that had not enough data for a verdict in so many windows in a row warns:
        nobody should take it for a pass.

    Yields
    ------
    (check, window_start, Verdict)
        Nothing for a window about which nothing was judged.
    """
    judged: dict[tuple[str, str], list[Judgement]] = {}
    for row in published.judgements:
        judged.setdefault((row.column, row.metric), []).append(row)
    decided: dict[tuple[str | None, str | None], list[StreamState]] = {}
    for state in published.streams:
        if state.asset == asset:
            decided.setdefault((state.column, state.statistic), []).append(state)
    incidents: dict[str, list[IncidentMember]] = {}
    for member in published.members:
        incidents.setdefault(member.incident_id, []).append(member)
    for check in checks:
        column = check.column or ""
        metrics = FAMILY_METRICS.get(family(check), (check.metric or "",))
        rows = _by_window(judged.get((column, metric), []) for metric in metrics)
        streams = _by_window(found for key, found in decided.items() if _belongs(check, key))
        waited = 0
        for start, candidates in sorted(rows.items()):
            verdict = _verdict(check, candidates, streams.get(start, []), incidents)
            main = _main(check, candidates)
            waited = waited + 1 if verdict is None else 0
            if verdict is None and patience is not None and waited >= patience:
                text = f"Not judged in {waited} windows in a row, not enough data: {main.reason}."
                verdict = Verdict("warn", text, {**_facts(main, None), "what to do": TOO_LITTLE})
            if verdict is not None:
                yield check, start, verdict


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


def _main(check: PlannedCheck, rows: list[Judgement]) -> Judgement:
    """The judgement that speaks for the check."""
    main = max(
        rows,
        key=lambda row: (
            RANK[row.status],
            -FAMILY_METRICS.get(family(check), (row.metric,)).index(row.metric),
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
    main = _main(check, rows)
    rejected = [s for s in streams if s.in_incident]
    strongest = max(
        (s for s in streams if s.adjusted_evidence_days is not None),
        key=lambda s: s.evidence_days,
        default=None,
    )
    hard = main.status == "alert"
    spikes = [s for s in streams if s.is_spike]
    is_warned = any(s.status == "warn" for s in streams)
    if rejected or hard or spikes:
        level: Level = "error"
    elif main.status == "insufficient_data":
        if main.reason_code not in LOUD:
            return None
        level = "warn"
    elif is_warned or (main.status == "warn" and family(check) != "contract"):
        level = "warn"
    else:
        level = "ok"
    facts = _facts(main, strongest)
    if check.unit:
        facts["unit"] = check.unit
    if level == "error":
        facts |= _incident_facts(rejected, incidents, main.window_start)
        facts["what to do"] = REMEDIES[family(check)]
    text = _text(main, check.unit, rejected, strongest, hard, incidents)
    return Verdict(level, f"{_spike_words(spikes)}{text}", facts)


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
        facts["change point"] = f"{min(m.change_point for m in own):%Y-%m-%d %H:%M} UTC"
        first = max(own, key=lambda m: m.evidence)
        before, after, scale = first.display_before, first.display_after, ""
        if before is None or after is None:
            before, after, scale = first.level_before, first.level_after, " (stabilised scale)"
        facts["moved"] = f"{first.stream}: {number(before)} to {number(after)}{scale}"
        if first.effect is not None:
            facts["effect"] = (
                f"{deviations(first.effect, sign=True).removesuffix(' sd')} standard deviations of the days before"
            )
        facts |= _later_facts(own, members, start)
    others = [m.stream for m in sorted(members, key=lambda m: -m.evidence) if m not in own]
    if others:
        rest = f" and {len(others) - SHOWN_STREAMS} more" if len(others) > SHOWN_STREAMS else ""
        facts["moved with it"] = ", ".join(others[:SHOWN_STREAMS]) + rest
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
    name = row.metric.replace("_", " ")
    if row.status == "insufficient_data" and (not rejected or row.value is None):
        return f"{_incident_words(row, rejected, incidents)}Not enough data: {row.reason}."
    text = f"{name} {number(row.value)}"
    if row.ci_low is not None and row.ci_high is not None:
        text += f" [{number(row.ci_low)}, {number(row.ci_high)}]"
    if row.reference_value is not None:
        text += f", reference {number(row.reference_value)}"
    text += f" {unit}." if unit else "."
    is_pause = row.metric == "n_rows" and row.status == "ok"
    if row.reason and (hard or is_pause or row.status == "warn"):
        text = f"{row.reason[0].upper()}{row.reason[1:]}. {text}"
    if rejected:
        text = _incident_words(row, rejected, incidents) + text
    elif strongest is not None and strongest.status == "warn":
        text += f" Evidence {evidence_words(strongest.evidence_days)}."
    return text


def _spike_words(spikes: list[StreamState]) -> str:
    """Which streams are too far out in this one window; the rule is the user's own (`alerts.spikes`)."""
    told = [
        f"{s.stream} lies {deviations(s.distance or 0.0, sign=True)} from what was expected (limit {s.spike_limit:g})"
        for s in sorted(spikes, key=lambda s: -abs(s.distance or 0.0))
    ]
    return f"Spike: {'; '.join(told)}. " if told else ""


def _incident_words(row: Judgement, rejected: list[StreamState], incidents: Mapping[str, list[IncidentMember]]) -> str:
    """Which incident the check is in, since when, and what its streams did later, as far as this window can know."""
    if not rejected:
        return ""
    own = {s.stream for s in rejected}
    members = [m for m in incidents.get(rejected[0].incident_id or "", []) if m.stream in own]
    since = min((m.change_point for m in members), default=None)
    later = [(m.moved_again_at, m.moved_again_effect or 0.0) for m in members if m.moved_again_at]
    later = [(moment, effect) for moment, effect in later if moment <= row.window_start]
    words = f" since {day(since)}" if since else ""
    if later:
        moment, effect = max(later, key=lambda moved: moved[0])
        is_back = abs(effect) < BACK
        words += f", {'back at its old level' if is_back else 'moved again'} since {day(moment)}"
    return f"In incident {rejected[0].incident_id}{words} ({', '.join(sorted(own)[:3])}). "
