"""The advice in words: what decays and how fast, what that costs, what to do and when, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from metrics_py.wording import number
from sightline.retraining.advise import Advice, Comparison

WEEK = timedelta(days=7)
VERDICTS = {
    "pays": "retrain now: it pays",
    "does_not_pay": "a retraining does not pay now",
    "cannot_say": "cannot say whether a retraining pays now",
}


def verdict(found: Advice) -> str:
    """One line: what to do now."""
    tail = f": {found.reason}" if found.state == "cannot_say" else ""
    return VERDICTS[found.state] + tail


def sections(found: Advice) -> list[tuple[str, list[str]]]:
    """Headlines and their sentences."""
    parts = [
        ("Decay", list(_decay(found))),
        ("Cost and cadence", list(_cadence(found))),
        ("Now", list(_now(found))),
        ("What to learn from", [_comparison(found, each) for each in found.comparisons]),
        ("What it rests on", [*_assumptions(found), *(f"{_first_upper(note)}." for note in found.notes)]),
    ]
    return [(head, lines) for head, lines in parts if lines]


def _decay(found: Advice) -> Iterator[str]:
    d = found.decay
    whose = f"{d.n_versions} versions" if found.source == "versions" else f"{d.n_versions} trainings"
    seen = f"{whose} of different ages on the same {d.n_windows} windows"
    if d.longest_age is not None:
        seen += f", up to {d.longest_age:.0f} weeks old"
    if d.slope is None or d.ci_low is None or d.ci_high is None:
        told = "" if d.slope is None else f" (so far {_rate(found, d.slope)} per week)"
        yield f"Cannot say how fast {found.metric} decays: {d.reason}{told}."
        if found.source == "versions" and found.rules.estimator:
            yield f"The backtest can: `sightline retraining {found.monitor} --backtest`."
        elif found.source == "versions":
            yield "A backtest can: name `retraining.estimator`."
        return
    interval = f"(95 %: {_rates(found, d.ci_low, d.ci_high)})"
    match d.change:
        case "worse":
            yield f"{found.metric} {_worse(found)} by {number(d.slope, 3)} per week of age {interval}, from {seen}."
        case "better":
            yield (
                f"{found.metric} gets better with age, by {number(-d.slope, 3)} per week {interval}, from {seen}: "
                "newer trainings were worse than older ones. Look for what changed in data or labels first."
            )
        case _:
            told = f"{_rate(found, d.slope)} per week of age {interval}"
            yield f"No measurable decay of {found.metric}: {told}, from {seen}."
    if d.is_bent:
        yield "It is not steady: the loss rises faster or slower at first, so the rate is an average over these ages."


def _cadence(found: Advice) -> Iterator[str]:
    rules, c = found.rules, found.cadence
    if rules.cost is None or rules.value_per_point is None:
        yield "No cost is stated (`retraining: {cost: ..., value_per_point: ...}`), so nothing is advised."
        return
    yield (
        f"A retraining costs {_amount(found, rules.cost)}; a point of {found.metric} ({found.point:g}) is worth "
        f"{_amount(found, rules.value_per_point)} a week."
    )
    if c is None:
        if found.decay.change is not None:
            yield "Do not retrain on schedule: no decay is measurable that a schedule could pay for."
        return
    yield (
        f"Retrain every {_weeks(c.interval)} (95 %: {_weeks(c.ci_low)} to {_weeks(c.ci_high)}): retraining and decay "
        f"together then cost {_amount(found, c.rate)} a week, the least possible."
    )
    if found.decay.longest_age is not None and c.interval > found.decay.longest_age:
        oldest = _weeks(found.decay.longest_age)
        yield f"No version was that old: beyond {oldest} the decay is taken to go on as before."
    if found.served is not None:
        due = found.served.trained_at + c.interval * WEEK
        yield f"By that schedule version {found.served.name} is due on {due:%Y-%m-%d}."


def _now(found: Advice) -> Iterator[str]:
    if found.served is not None and found.age is not None:
        since = "trained" if found.served.is_declared else "first seen (retraining.trained_at does not say more)"
        told = f"{since} {found.served.trained_at:%Y-%m-%d}, {_weeks(found.age)} ago"
        yield f"In service: version {found.served.name}, {told}."
    g, s = found.gap, found.saving
    if g is not None:
        side, turn = ("worse", 1) if g.value > 0 else ("better", -1)
        low, high = sorted((turn * g.ci_low, turn * g.ci_high))
        yield (
            f"It is {side} by {number(abs(g.value), 3)} in {found.metric} (95 %: {_signed(low)} to {_signed(high)}) "
            f"than a fresh one; measured by {g.source}."
        )
    if s is not None and found.horizon is not None:
        gain = f"{'gains' if s.value >= 0 else 'loses'} {_amount(found, abs(s.value))}"
        yield (
            f"Over {_weeks(found.horizon)} a retraining {gain}, its cost taken off "
            f"(95 %: {_amount(found, s.ci_low)} to {_amount(found, s.ci_high)})."
        )
        if s.value > 0 and not s.pays:
            yield "The gap may be chance (its interval holds 0), so that is no reason to retrain."
        elif s.pays and not s.is_sure:
            yield "It is likely, not sure: the interval holds a loss, too."
    yield f"{verdict(found).capitalize()}."


def _comparison(found: Advice, each: Comparison) -> str:
    e = each.found
    second = _first_upper(each.second)
    if e.value is None or e.ci_low is None or e.ci_high is None:
        return f"{second} against {each.first}: cannot say, {e.reason}."
    size = number(abs(e.value), 3) if e.ci_high < 0 or e.ci_low > 0 else _signed(-e.value)
    told = f"{size} (95 %: {_signed(-e.ci_high)} to {_signed(-e.ci_low)} for the better, {e.n} blocks)"
    change = "better" if e.ci_high < 0 else "worse" if e.ci_low > 0 else "open"
    verb = {"better": "gains", "worse": "loses", "open": "does not measurably change:"}[change]
    if each.kind == "rows":
        head = {"better": "More data help", "worse": "More data hurt", "open": "Whether more data help is open"}[change]
        return f"{head}: from {each.n_rows[0]:,.0f} to {each.n_rows[1]:,.0f} rows, {found.metric} {verb} {told}."
    advice = {
        "longer": {"better": ": keep old data", "worse": ": drop data that are older", "open": ""},
        "shorter": {"better": ": drop old data", "worse": ": do not drop that much", "open": ""},
    }["shorter" if each.is_shorter else "longer"][change]
    return f"{second} instead of {each.first}: {found.metric} {verb} {told}{advice}."


def _assumptions(found: Advice) -> Iterator[str]:
    yield "What makes a window hard (season, mix) is the same for all versions that judge it, and taken out."
    if found.source == "versions":
        yield (
            "Versions differ by age only. That newer versions are better recipes cannot be told from decay: a "
            "version's own level and a linear ageing are the same to such data. A backtest has one recipe."
        )
        yield "Versions are counted as independent of each other, as if their training data overlapped little."
        if found.served is not None and not found.served.is_declared:
            yield "Ages count from when a version was first seen: right up to a delay that is the same for all."
    else:
        yield (
            f"{found.n_fits} trainings of {found.rules.estimator} on what was logged, each with the labels that had "
            "come by its moment; each usual one saw as long a history as the others, and other rows. Predictions "
            "corrected since stand as they are now."
        )
        if found.gap is not None:
            yield "The model in service may differ from the estimator in more than its age, and so in the gap."
            yield "The interval of the gap is about the rows that were judged, not about the luck of one training."
    if found.cadence is not None:
        yield "The decay goes on as it was, retraining starts it anew, and a point is worth the same every week."


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _worse(found: Advice) -> str:
    return "falls" if found.sign < 0 else "rises"


def _rate(found: Advice, slope: float) -> str:
    """Change of the metric itself, with its sign."""
    return _signed(found.sign * slope)


def _rates(found: Advice, low: float, high: float) -> str:
    if found.decay.change == "worse":
        return f"{number(low, 3)} to {number(high, 3)}"
    if found.decay.change == "better":
        return f"{number(-high, 3)} to {number(-low, 3)}"
    ends = sorted((found.sign * low, found.sign * high))
    return f"{_signed(ends[0])} to {_signed(ends[1])}"


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _weeks(weeks: float) -> str:
    return f"{weeks:.1f} weeks" if weeks >= 2 else f"{weeks * 7:.1f} days"


def _amount(found: Advice, amount: float) -> str:
    told = f"{amount:,.0f}" if abs(amount) >= 100 else number(amount, 3)
    return f"{told} {found.rules.unit}".strip()
