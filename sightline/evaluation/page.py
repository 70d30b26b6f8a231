"""An evaluation as one HTML file: no script, nothing is loaded, names are escaped."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

import sightline
from metrics_py.quality.metrics import quality_metric
from metrics_py.visible import visible
from sightline.evaluation import render
from sightline.evaluation.forest import MARGINS_SHOWN, Forest, Row, forest
from sightline.evaluation.run import Evaluation
from sightline.evaluation.suite import words

UNITS = {
    "proportion": "difference, the right is better",
    "unit": "difference, the right is better",
    "skill": "difference, the right is better",
}
SIGNS = {"superior": "▲", "non_inferior": "●", "inferior": "▼", "cannot_tell": "?"}


@dataclass(frozen=True)
class Table:
    """Cells as text; the first row is the head."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading, sentences, a picture and its table."""

    heading: str
    text: str
    pictures: tuple[Forest, ...]
    table: Table


def to_html(found: Evaluation) -> str:
    """One self-contained page: verdict, criteria, metrics and segments with their intervals, the data, notes."""
    style = _resource("evaluation.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return template().render(
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        style=style,
        found=found,
        word=render.WORDS[found.verdict.outcome],
        sign=SIGNS[found.verdict.outcome],
        facts=[("compared with", found.compared.source), ("file", found.candidate), *found.facts.told()],
        sections=_sections(found),
        product=f"Sightline {sightline.__version__}",
    )


@cache
def template() -> Template:
    """The page's template, which comes with the package."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    return environment.from_string(_resource("evaluation.html"))


def _shown(value: Any) -> Any:
    """Texts of the data with nothing hidden in them; our own markup as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _resource(name: str) -> str:
    return (files("sightline.evaluation") / "templates" / name).read_text(encoding="utf-8")


def _sections(found: Evaluation) -> list[Section]:
    sections = [_criteria(found), _metrics(found)]
    weakest = render.weakest(found)
    if weakest:
        picture = forest(
            [_of_table(row, row["segment"]) for row in weakest if _is_known(row)],
            title=f"Differences of {found.primary} by segment",
            unit="difference, the right is better",
            margin=found.verdict.criteria[0].margin,
        )
        head = ("segment", *render.HEADS[1:4], "rows")
        sections.append(
            Section(
                f"{found.primary} by segment",
                "Where the challenger loses most stands first.",
                (picture,) if picture else (),
                Table("Segments", head, tuple(render.segment_row(row) for row in weakest)),
            )
        )
    for title, rows, notes in words.markdown_lines(found.sections):
        head, *body = rows or [words.HEADS]
        sections.append(Section(title, " ".join(f"{note}." for note in notes), (), Table(title, head, tuple(body))))
    return sections


def _criteria(found: Evaluation) -> Section:
    """Criteria that compare the models on one axis, gains in units of their margins; limits stand in the table."""
    rows: list[Row] = []
    limits = {limit.name for section in found.sections for limit in section.limits}
    for c in found.verdict.criteria:
        value, low, high = c.found.difference, c.found.ci_low, c.found.ci_high
        if value is None or low is None or high is None or c.name in limits:
            continue
        low, high = sorted(x / c.margin for x in ((low, high) if c.direction == "higher_is_better" else (-low, -high)))
        gain = (value if c.direction == "higher_is_better" else -value) / c.margin
        rows.append(Row(c.name, gain, low, high, c.outcome, render.difference_of(c)))
    picture = forest(
        rows,
        title="Criteria of the verdict",
        unit="gain in margins: all must lie right of the dashed line",
        margin=1.0,
        most=MARGINS_SHOWN,
    )
    head = ("criterion", "difference (95 %)", "margin", "outcome")
    told = tuple(render.criterion_row(c) for c in found.verdict.criteria)
    text = "None may be lost by more than its margin; all must hold at once."
    return Section("Criteria", text, (picture,) if picture else (), Table("Criteria", head, told))


def _metrics(found: Evaluation) -> Section:
    """Metrics of one scale share an axis: those between 0 and 1; each other one has its own."""
    of_all = render.of_segment(found, "all")
    axes: dict[str, list[dict[str, Any]]] = {}
    for row in filter(_is_known, of_all):
        scale = quality_metric(row["metric"], found.task).scale
        axes.setdefault("shares" if scale in UNITS else row["metric"], []).append(row)
    pictures = [
        forest(
            [_of_table(row, row["metric"]) for row in rows],
            title="Differences of the metrics between 0 and 1" if axis == "shares" else f"Difference of {axis}",
            unit="difference, the right is better"
            if axis == "shares"
            else f"difference of {axis}, the right is better",
        )
        for axis, rows in sorted(axes.items(), key=lambda item: item[0] != "shares")
    ]
    text = f"{render.how(found)} “knows no input”: the most frequent class, the share of positives, or the mean."
    table = Table("Metrics", render.HEADS, tuple(render.metric_row(row) for row in of_all))
    return Section("Metrics", text, tuple(each for each in pictures if each), table)


def _is_known(row: dict[str, Any]) -> bool:
    directed = row["direction"] in ("higher_is_better", "lower_is_better")
    return directed and all(row[name] is not None for name in ("difference", "ci_low", "ci_high"))


def _of_table(row: dict[str, Any], name: str) -> Row:
    sign = 1.0 if row["direction"] == "higher_is_better" else -1.0
    low, high = sorted((sign * row["ci_low"], sign * row["ci_high"]))
    state = "superior" if low > 0 else "inferior" if high < 0 else "open"
    return Row(name, sign * row["difference"], low, high, state, render.difference(row))
