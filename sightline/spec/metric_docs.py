"""The text of `docs/metrics.md`: every metric of the registry, the facts of test suites, and how to add one's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

HEADING = {
    "drift": "Drift: two samples of a column",
    "binary_classification": "Quality: binary classification",
    "multiclass_classification": "Quality: multiclass classification",
    "regression": "Quality: regression",
    "ranking": "Quality: ranking",
}
NEEDS = {
    "profile": "reference profile and counts per bin",
    "bins": "counts per bin of both sides",
    "ordered_bins": "counts per bin of both sides, bins in the order of the values",
    "values": "the values of both sides",
    "rates": "events and rows of both sides",
    "confusion": "confusion matrix",
    "scores": "score histogram by class",
    "sums": "sums over the rows",
    "rows": "query, score and relevance of every row",
}
BETTER = {"higher_is_better": "higher", "lower_is_better": "lower", "none": ""}
UNCHANGED = {
    "symmetric": "swapping the sides",
    "relabel": "renaming the categories",
    "scale": "a positive factor",
    "shift": "a constant added",
    "monotone": "any increasing transformation",
}
FROM_SPEC = (
    *("business_value", "business_value_total", "pinball_<quantile>", "labelled_rate", "label_arrivals"),
    *("popularity_at_k", "novelty_at_k", "coverage_at_k"),
)
"""Metrics that the monitor file makes (`value_matrix`, `quality.quantiles`, `labels`, `quality.item`): no names of the
registry."""

EXAMPLE = '''\
# my_metrics.py, in the home folder, beside monitors/
from metrics_py.registry import metric


@metric(name="mean_refund", task="custom", needs="rows", unit="EUR", direction="lower_is_better", range=(0, 1e6))
def mean_refund(rows):
    """Mean refund of an order that was returned."""
    return rows.filter("is_positive")["f_refund"].mean()
'''
YAML = """\
# monitors/orders.yaml
metrics:
  - name: mean_refund
    python: my_metrics:mean_refund
    needs_label: true
    columns: [f_refund]         # what the function reads; less memory
  - name: share_of_dear_orders
    sql: '"f_price" > 100'      # the mean over the rows, aggregated by dbt
"""

RANKING_YAML = """\
# monitors/shop_search.yaml
model: {id: shop_search, task: ranking}
columns:
  prediction_id: impression_id       # one row per item shown; labels refer to it
  timestamp: shown_at
  query_id: request_id               # the list that a row belongs to
  entity_id: user_id                 # queries of one user depend on each other
  score: relevance_score             # any number, the highest is shown first
  features: {product_id: {kind: categorical, drift: false}}
  segments: [device]
labels: {column: clicked, observed_at: clicked_at, silence: negative, give_up_after: 3d}   # only clicks are reported
quality: {k: 10, item: product_id}
reference: {start: 2026-01-01, end: 2026-02-01}
"""

RANKING = f"""\
```yaml
{RANKING_YAML}```

What counts, in monitors, test suites and candidates alike:

- **List.** The rows of one `query_id` and model version in a window, by falling `score`; `k` is `quality.k` (10).
  Every list counts alike. One id is one list: a query text that comes a thousand times a day is no id. A list belongs
  to the window of its first row; rows that follow one of the window before within half an hour count nowhere, so that
  none counts twice.
- **Relevance.** The label: 0 is irrelevant, more is better, a negative one is refused (`bad_label`). NDCG takes it as
  the gain itself, not `2^r - 1`; all others ask whether it is above 0.
- **Ties.** Rows of equal score stand in random order, and the metric is its mean over these orders (NDCG as
  scikit-learn's `ndcg_score`).
- **Short lists.** k may be larger than the list: NDCG compares with the best order of the rows there are, `map` divides
  by the relevant rows that fit into k places, `precision_at_k` by k.
- **No order to judge.** A list of one row counts nowhere. One without a relevant row counts in `relevant_query_rate`
  alone, which tells how many have one. Rows without a score were not ranked and do not count.
- **Labels of a part.** A list counts once all its rows have a label; `complete_query_rate` tells how many have. Where
  more than 5 % of the lists lack one there is no number (`not_identifiable`); below that the interval allows for
  whatever they are. With `labels: {{silence: negative, give_up_after: 3d}}` no label means irrelevant, once three days
  have passed in which labels were seen to come.
- **Labels still to come.** Nothing corrects for which rows of a list are labelled first, so younger windows have no
  number, and say so.
- **Interval.** The jackknife over 64 buckets of entities (`columns.entity_id`: queries of one user depend on each
  other), else of queries; 16 within a segment. In a segment a list is its rows there.
- **Without labels.** With `quality.item` the first k places are measured by how often their items stand in the rows of
  the reference (`popularity_at_k`, `novelty_at_k`, `coverage_at_k`, checks on `data_quality`), as soon as a window
  closes. Rows without an item do not count, and of equal scores coverage takes those with the first ids. A reference
  file needs labels for it.

"""

INTRO = """\
<!-- Generated by `python -m sightline.spec.docs` from the registry; edit the functions in metrics_py/ instead. -->

# Metrics

The names are the same in monitor files, in the judgement table, in `metrics_py.compare`, in `sightline compare` \
and in test
suites. "Better" is the side that is no harm; a metric without one warns on both sides. Realised quality carries a 95 %
interval from the 64-bucket jackknife (proportions: Wilson with design effect).
"""

OWN = f"""\
## Metrics of your own

A metric is a SQL expression per row, or a Python function of a window's rows. Both have the same life: \
a value with interval per
window, model version and segment, a judgement row, a check (`metric__<name>` on `data_quality`, \
with `needs_label: true`
`quality__<name>` on `model_quality`) and a stream of the alert engine.

```python
{EXAMPLE}```

```yaml
{YAML}```

- The module lies in the home folder, or is installed in the environment of Sightline; what is installed comes first.
  `sightline validate` imports it and tells what is wrong, with the line of the monitor file.
- The function gets a Polars frame of one window and returns one number, or None where it is undefined. \
The columns are those of
  the lake (`score`, `prediction`, `predicted_class`, `model_version`, `f_<feature>`, `g_<segment>`, ...; \
see [tables](tables.md)), all but text and
  embedding features unless `columns` names them, and `bucket`. With `needs_label: true` the rows are those with a
  current label, and have the columns `label` and `is_positive` too.
- The interval is the delete-one-bucket jackknife: the function is called once on all rows and once without each of the
  64 buckets of entities (16 within a segment). Its result must not depend on the order of the rows.
- A SQL expression gives one number (or condition) per row from that row's columns, \
with `needs_label: true` `label` and `is_positive` too.
  Subqueries, window functions, aggregates and functions such as `random()` are refused, \
because they see other rows or change from
  run to run. A row whose expression fails or is not finite (division by zero, a text that is no number) \
does not count; `n` tells how
  many rows did. A metric that is undefined in every row of a window gives `insufficient_data`.
- A mistake in an expression is told by `sightline validate`, with its line; \
in a run it makes that metric's check warn, and the others go on.
- The `direction` of the monitor file goes before that of the decorator; `range` cuts the bounds.
- A function that raises, returns NaN or cannot be imported gives `insufficient_data` with the reason, \
for that metric alone; if it is
  broken, its check warns. So does a window of too few rows (20; \
with labels `quality.min_labels`), or of more than 200 million rows x columns: name `columns`,
  or write SQL.
"""


def metrics_page() -> str:
    """The text of `docs/metrics.md`."""
    from metrics_py.registry import entries

    parts = [INTRO]
    built_in = [entry.describe() for entry in entries() if entry.function.__module__.startswith("metrics_py.")]
    for task, heading in HEADING.items():
        own = (described for described in built_in if described["task"] == task)
        found = sorted(own, key=lambda described: (list(NEEDS).index(described["needs"]), described["name"]))
        if found:
            parts += [f"## {heading}\n", *_registry_table(found, is_drift=task == "drift"), ""]
            parts += [RANKING] if task == "ranking" else []
    parts += ["## Quality: made by the monitor file\n", "| name | meaning | better |", "|---|---|---|"]
    parts += [f"| `{name}` | {_meaning(name)} | {_better(name)} |" for name in FROM_SPEC]
    return "\n".join([*parts, "", *_facts(), OWN])


def _meaning(name: str) -> str:
    from metrics_py.quality.metrics import quality_metric

    if name == "business_value_total":
        return "The same over all labelled rows together; shown, no stream of its own."
    return quality_metric(name, "ranking").summary


def _better(name: str) -> str:
    from metrics_py.quality.metrics import quality_metric

    return BETTER[quality_metric(name.removesuffix("_total"), "ranking").direction]


def _registry_table(found: list[dict[str, Any]], *, is_drift: bool) -> Iterator[str]:
    last = " unchanged by |" if is_drift else ""
    yield f"| name | meaning | from | unit | range | better |{last} source |"
    yield f"|---|---|---|---|---|---|{'---|' if is_drift else ''}---|"
    for entry in found:
        meaning = entry["summary"] + (" A test: statistic, p-value and effect." if entry["returns"] == "test" else "")
        unchanged = "; ".join(UNCHANGED[name] for name in entry["invariances"])
        cells = [f"`{entry['name']}`", meaning, NEEDS[entry["needs"]], entry["unit"], _range(entry["range"])]
        cells += [BETTER[entry["direction"]], *([unchanged] if is_drift else []), "; ".join(entry["references"])]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _range(ends: list[float | None]) -> str:
    low, high = ends
    left = "(-inf" if low is None else f"[{low:.6g}"
    right = "inf)" if high is None or math.isinf(high) else f"{high:.6g}]"
    return f"{left}, {right}"


def _facts() -> Iterator[str]:
    from metrics_py.suite.facts import COLUMN_FACTS, TABLE_FACTS

    yield "## Facts for test suites\n"
    yield "What `sightline test SUITE.yaml REF CUR` can bound besides the metrics above.\n"
    yield "| name | meaning | of | better |"
    yield "|---|---|---|---|"
    for fact in (*TABLE_FACTS.values(), *COLUMN_FACTS.values()):
        of = f"columns: {', '.join(fact.kinds)}" if fact.kinds else "the table"
        yield f"| `{fact.name}` | {fact.summary} | {of} | {BETTER[fact.direction]} |"
    yield ""
