"""One ranked list of causes: what moved beyond chance, and what happened at the time."""

from __future__ import annotations

from metrics_py.multiple_testing import benjamini_hochberg
from sightline.alerts.causes import columns, events, kinds, operations, segments
from sightline.alerts.causes.case import Case, Cause

KINDS = {
    "upstream": "an asset outside of Sightline",
    "marker": "a deployment or another mark",
    "version": "a new model version",
    "rule": "a hard rule that is broken",
    "guard": "a row guard's alert",
    "feed": "a feed of several columns",
    "operations": "a failed data test, freshness or run",
    "column": "an input",
    "rejected": "rows that were refused",
    "volume": "the number of predictions",
    "service": "the service",
    "segment": "a segment",
    "slice": "a slice of the rows",
    "labels": "the labels",
    "concept": "another truth of like rows",
    "covariate": "other rows",
    "none": "no cause found",
}
FALSE_SHARE = 0.05
"""Expected share of false ones among the tests of inputs, segments and rates that count (Benjamini-Hochberg); where
nothing changed, the probability that any does."""

MOST_CAUSES = 8


def rank(case: Case) -> list[Cause]:
    """Causes of an incident, the likeliest first.

    Parameters
    ----------
    case : Case
        What is known about it.

    Returns
    -------
    list of Cause
        At least one: of the kind ``none``, with what was looked at, where no cause is found.
    """
    inputs = columns.moved_columns(case)
    parts = segments.moved_segments(case)
    rates = list(events.moved_rates(case))
    quality = kinds.moved_quality(case) if case.is_about_quality() else None
    p = [item.p_value for item in (*inputs, *parts)] + [move.p_value for _, _, move, _ in rates]
    is_real = list(benjamini_hochberg(p) <= FALSE_SHARE) if p else []
    moved_inputs = [item for item, real in zip(inputs, is_real, strict=False) if real]
    moved_parts = [item for item, real in zip(parts, is_real[len(inputs) :], strict=False) if real]
    moved_rates = [item for item, real in zip(rates, is_real[len(inputs) + len(parts) :], strict=False) if real]
    found = [
        *events.events(case),
        *operations.operations(case),
        *columns.causes(case, moved_inputs),
        *segments.causes(moved_parts),
        *events.rate_causes(case, moved_rates),
    ]
    cannot = ""
    if quality and quality.p_value <= kinds.REAL_AT:
        found += kinds.causes(case, quality, inputs_moved=bool(moved_inputs))
    elif quality is None and case.is_about_quality():
        cannot = "; quality has too few windows to compare"
    if not found:
        return [_none(case, len(inputs), len({item.segment for item in parts}), len(rates), cannot)]
    found = operations.below_feeds(_one_per_kind(found, "labels", "service"))
    ordered = sorted(found, key=lambda cause: (-cause.score, cause.p_value or 0.0, cause.words))
    return [cause.at(i + 1) for i, cause in enumerate(ordered[:MOST_CAUSES])]


def _one_per_kind(found: list[Cause], *kinds_of_one: str) -> list[Cause]:
    """Without causes that say of the same thing the same in other words: the one with the smaller p-value is kept."""
    best = {
        kind: min(
            (cause for cause in found if cause.kind == kind), key=lambda cause: cause.p_value or 0.0, default=None
        )
        for kind in kinds_of_one
    }
    return [cause for cause in found if cause.kind not in best or cause is best[cause.kind]]


def _none(case: Case, n_columns: int, n_segments: int, n_rates: int, cannot: str) -> Cause:
    looked = [
        f"{n_columns} inputs",
        f"{n_segments} segments",
        f"{n_rates} rates of volume, service and labels",
        f"{case.versions['model_version'].n_unique()} model versions",
        f"{len(case.marks)} marks",
        f"{len(case.operations)} operational facts",
        f"{case.upstream['asset'].n_unique()} assets upstream",
    ]
    evidence = f"looked at {', '.join(looked)}: nothing moved with it beyond chance{cannot}"
    return Cause("none", "no cause found", evidence, 0.0, rank=1)
