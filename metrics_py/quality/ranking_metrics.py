"""The metrics of ranking as means over queries, one entry each; the sums come from `metrics_py.quality.ranking`."""

from __future__ import annotations

import numpy as np

from metrics_py.quality import classification
from metrics_py.quality.definition import QualityMetric, Scale
from metrics_py.registry import Direction

MANNING = "Manning, Raghavan & Schuetze (2008), ch. 8"
TIES = "McSherry & Najork (2008), LNCS 4956:414"
ORDERED = ("ndcg", "map", "mrr", "precision_at_k", "recall_at_k", "hit_rate_at_k")
"""Metrics of the order within a query: of those queries that have two rows, all their labels, and a relevant one."""

COMPLETE, RELEVANT = "complete_query_rate", "relevant_query_rate"
"""Shares of the queries that count in `ORDERED`: without their labels they cannot, without a relevant row neither."""


def _mean(
    name: str,
    summary: str,
    *references: str,
    scale: Scale = "proportion",
    direction: Direction = "higher_is_better",
    is_watched: bool = True,
    unit: str = "",
    counted: str = "queries",
) -> QualityMetric:
    is_share = scale == "proportion"
    return QualityMetric(
        name=name,
        summary=summary,
        direction=direction,
        value=lambda a: classification.divide(a["sum_value"], a["n"]),
        needs=("n",),
        scale=scale,
        references=references,
        is_watched=is_watched,
        unit=unit,
        counted=counted,
        is_fraction=is_share and name in ORDERED,
        counts=(lambda a: (np.clip(a["sum_value"], 0.0, a["n"]), a["n"])) if is_share else None,
    )


RANKING: tuple[QualityMetric, ...] = (
    _mean(
        "ndcg",
        "Discounted gain of the first k places of a query, relative to the best order.",
        "Jarvelin & Kekalainen (2002), ACM TOIS 20:422",
        TIES,
    ),
    _mean("map", "Precision averaged over the places of the relevant rows among the first k.", MANNING, TIES),
    _mean("mrr", "1 / place of the first relevant row, 0 beyond place k.", "Voorhees (1999), TREC-8", TIES),
    _mean("precision_at_k", "Share of the first k places that hold a relevant row.", MANNING, TIES),
    _mean("recall_at_k", "Share of the relevant rows that stand among the first k.", MANNING, TIES),
    _mean("hit_rate_at_k", "Share of the queries with a relevant row among the first k.", MANNING, TIES),
    _mean(RELEVANT, "Share of the fully labelled queries that have a relevant row: the others count in no other one."),
    _mean(
        COMPLETE,
        "Share of the queries of two and more rows that have the labels of all their rows: the others do not count.",
        is_watched=False,
    ),
)
RECOMMENDED: tuple[QualityMetric, ...] = (
    _mean(
        "popularity_at_k",
        "Mean share of the reference's rows that the items at the first k places have: how popular they are.",
        "Yin, Cui, Li, Yao & Chen (2012), PVLDB 5:896",
        scale="error",
        direction="none",
        is_watched=False,
    ),
    _mean(
        "novelty_at_k",
        "Mean self-information of these items, -log2 of their share of the reference's rows (one is added to each).",
        "Zhou, Kuscsik, Liu et al. (2010), PNAS 107:4511",
        scale="error",
        direction="none",
        is_watched=False,
        unit="bits",
    ),
    _mean(
        "coverage_at_k",
        "Share of the reference's items that stand among the first k places of some query; it grows with the queries "
        "of a window. Of several versions together the mean of their own ones. The interval takes items as drawn.",
        "Ge, Delgado-Battenfeld & Jannach (2010), RecSys:257",
        direction="none",
        is_watched=False,
        counted="items",
    ),
)
"""What needs no label, where `quality.item` names the recommended item."""

BY_NAME = {metric.name: metric for metric in (*RANKING, *RECOMMENDED)}
