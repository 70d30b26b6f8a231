"""What a page is, and what all pages about a monitor share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import polars as pl

from metrics_py.wording import day
from sightline.alerts.listing import jsonable
from sightline.dashboard.charts.chart import Chart
from sightline.dashboard.charts.series import Mark, Span, series_chart
from sightline.dashboard.library import Library, NotFoundError, known_monitor
from sightline.dashboard.merging import course, offered
from sightline.dashboard.selection import ALL, RANGES, Selection
from sightline.errors import SightlineError, nearest
from sightline.spec import plan
from sightline.spec.model import MonitorSpec

TABS = {
    "": "Overview",
    "columns": "Columns",
    "segments": "Segments",
    "labels": "Labels",
    "versions": "Versions",
    "health": "Data health",
    "incidents": "Incidents",
}
"""Pages of a monitor: last part of the address -> name."""


@dataclass(frozen=True)
class Page:
    """A page: its `.json` twin are `data`; `view` is what only the HTML needs.

    Parameters
    ----------
    template : str
        Name in `templates/`.
    title : str
        Of the window.
    data : dict
        Facts, JSON-able.
    charts : sequence of Chart
        Drawn by the browser; part of the twin as tables.
    view : dict
        Pictures and addresses.
    """

    template: str
    title: str
    data: dict[str, Any]
    charts: Sequence[Chart] = ()
    view: dict[str, Any] = field(default_factory=dict[str, Any])

    def as_json(self) -> dict[str, Any]:
        """The twin: the facts, and each chart's table."""
        charts = [
            {
                "title": chart.title,
                "summary": chart.summary,
                "columns": list(chart.columns),
                "rows": chart.rows,
                "notes": list(chart.notes),
            }
            for chart in self.charts
        ]
        return jsonable({"title": self.title, **self.data, "charts": charts})

    def as_view(self) -> dict[str, Any]:
        """What the template gets."""
        drawn = {chart.name: {**vars(chart), "json": option_json(chart)} for chart in self.charts}
        return {"title": self.title, "data": self.data, "charts": drawn, **self.view}


def option_json(chart: Chart) -> str:
    """Options as JSON that may stand inside a ``script`` element."""
    text = json.dumps(chart.option, allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@dataclass(frozen=True)
class Subject:
    """A monitor and what of it is shown.

    Parameters
    ----------
    library : Library
    spec : MonitorSpec
    selection : Selection
        With both ends named.
    asked : Selection
        As in the address.
    newest : datetime or None
        Start of the newest window.
    """

    library: Library
    spec: MonitorSpec
    selection: Selection
    asked: Selection
    newest: datetime | None

    @property
    def window(self) -> timedelta:
        """Length of a window."""
        return self.spec.window

    def judgements(self, **wanted: Any) -> pl.DataFrame:
        """Judgements of the shown windows, segment and version, unless said otherwise."""
        chosen: dict[str, Any] = {
            "start": self.selection.start,
            "end": self.selection.end,
            "segment": self.selection.segment,
            "version": self.selection.version,
            **wanted,
        }
        return self.library.judgements(self.spec.id, **chosen)

    def address(self, tab: str = "", selection: Selection | None = None, **more: object) -> str:
        """Address of a page of this monitor that shows the same."""
        kept = (selection or self.asked).query(**more)
        base = f"/monitors/{quote(self.spec.id, safe='')}"
        return f"{base}/{tab}{kept}" if tab else f"{base}{kept}"

    def course(self, name: str, title: str, metric: str, column: str = "", **more: Any) -> Chart:
        """A metric over time, by the granularity that was asked for.

        Parameters
        ----------
        name, title : str
            Of the chart.
        metric, column : str
            What is drawn.
        **more
            `asset`, `streams` (whose incidents are marked: beginnings of their names), `estimated` (rows of the
            estimate of the same metric), `height`.
        """
        asset, streams = more.pop("asset", None), more.pop("streams", ())
        rows = self.judgements(metric=metric, column=column, **({} if asset is None else {"asset": asset}))
        drawn = course(rows, metric, self.selection.granularity, self.window)
        if drawn.moments is not None and more.get("estimated") is not None:
            more["estimated"] = None  # an estimate holds for its window
        return series_chart(
            name,
            title,
            drawn.rows,
            self.window,
            marks=self.marks(*streams),
            spans=self.spans(*streams),
            moments=drawn.moments,
            notes=[drawn.note] if drawn.note else [],
            **more,
        )

    def marks(self, *streams: str) -> list[Mark]:
        """Deployments that were told and versions that appeared in the shown time, and incidents that began.

        Of the incidents those that have a member whose name begins with one of `streams`.
        """
        told = [Mark(row["at"], row["text"], "mark") for row in self.library.marks(self.spec.id)]
        opened = [Mark(row["change_point"] or row["opened_at"], "incident", "incident") for row in self.of(*streams)]
        found = [*told, *self._versions(), *opened]
        start, end = self.selection.start, self.selection.end
        assert start is not None and end is not None
        return [mark for mark in found if start <= mark.at < end]

    def _versions(self) -> Iterator[Mark]:
        """Model versions, by the first window that counted rows of them."""
        if self.spec.columns.model_version is None:
            return
        rows = self.library.judgements(self.spec.id, metric="n_rows", asset="data_quality", version=None)
        first = rows.group_by("model_version").agg(at=pl.col("window_start").min()).sort("at")
        begin = first["at"].min()
        for version, at in first.iter_rows():
            if version != ALL and at != begin:
                yield Mark(at, f"version {version}", "version")

    def incidents(self) -> list[dict[str, Any]]:
        """Incidents that were open at some moment of the shown time, newest first."""
        start, end = self.selection.start, self.selection.end
        assert start is not None and end is not None
        known = self.library.incidents(self.spec.id)
        return [row for row in known if row["opened_at"] < end and _until(row, end) >= start]

    def of(self, *streams: str) -> list[dict[str, Any]]:
        """Incidents of the shown time that have a member whose name begins with one of `streams`."""
        if not streams:
            return []
        return [row for row in self.incidents() if any(m["stream"].startswith(streams) for m in row["members"])]

    def spans(self, *streams: str) -> list[Span]:
        """The time of these incidents."""
        end = self.selection.end
        assert end is not None
        rows = self.of(*streams)
        return [Span(row["change_point"] or row["opened_at"], _until(row, end), row["incident_id"]) for row in rows]


def _until(row: Mapping[str, Any], end: datetime) -> datetime:
    return end if row["is_open"] else row["ended_at"] or row["closed_at"] or end


def subject_of(library: Library, monitor: str, asked: Selection) -> Subject:
    """The monitor a page is about, and what of it is shown.

    Raises
    ------
    SightlineError
        There is no such monitor, or its file has mistakes; or no such version or segment.
    """
    spec = known_monitor(library, monitor)
    newest = library.newest_window(monitor)
    selection = asked.within(spec.schedule, newest, spec.window)
    if selection.start is not None and selection.end is not None and selection.end <= selection.start:
        raise SightlineError("`from` lies after the newest window", fix="choose an earlier one, or name `to`")
    names = library.names(monitor)
    for what, chosen, known in (
        ("version", asked.version, names["model_version"]),
        ("segment", asked.segment, names["segment"]),
    ):
        if chosen != ALL and chosen not in known:
            raise NotFoundError(
                f"{monitor} has no {what} {chosen[:80]!r}", fix=nearest(chosen, sorted(set(known) - {ALL}))
            )
    return Subject(library, spec, selection, asked, newest)


def common(subject: Subject, tab: str, **own: str) -> dict[str, Any]:
    """What every page of a monitor shows: its name, tabs, selectors that keep its `own` fields."""
    spec = subject.spec
    names = subject.library.names(spec.id)
    return {
        "monitor": spec.id,
        "tab": tab,
        "tabs": [(name, words, subject.address(name)) for name, words in TABS.items() if is_shown(spec, name)],
        **shown_ranges(
            spec.schedule, lambda chosen: subject.address(tab, chosen, **own), subject.asked, subject.selection
        ),
        "own_fields": [(name, value) for name, value in own.items() if value],
        "granularities": offered(spec.window),
        "versions": _choices(names["model_version"], subject.asked.version),
        "segments": _choices(names["segment"], subject.asked.segment),
        "subject": subject,
        "dagster_path": f"/asset-groups?{urlencode({'expanded': f'global@global:{spec.id}'})}",
    }


def shown_ranges(
    schedule: str, address: Callable[[Selection], str], asked: Selection, chosen: Selection
) -> dict[str, Any]:
    """What the selectors of a page need: which time is shown, and which lengths are offered at which addresses."""
    end = chosen.end
    assert end is not None
    lengths = [
        (words, address(replace(asked, start=end - length, end=asked.end)))
        for words, length in RANGES[schedule].items()
    ]
    return {
        "ranges": lengths,
        "from": day(chosen.start),
        "to": day(end),
        "asked": {"from": _date(asked.start), "to": _date(asked.end)},
        "selection": asked,
    }


def is_shown(spec: MonitorSpec, tab: str) -> bool:
    """Whether a monitor has such a page."""
    has_labels = spec.labels is not None
    return {"labels": has_labels, "versions": has_labels or spec.columns.model_version is not None}.get(tab, True)


def _choices(names: pl.Series, chosen: str) -> list[str]:
    found = sorted(set(names.drop_nulls().to_list()) - {ALL})[:200]
    return [ALL, *found] if chosen in (ALL, *found) else [ALL, chosen, *found]


def _date(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"


def facts_of(subject: Subject) -> dict[str, Any]:
    """The head of every twin: which monitor, which windows."""
    chosen = subject.selection
    return {
        "monitor": subject.spec.id,
        "from": chosen.start,
        "to": chosen.end,
        "version": chosen.version,
        "segment": chosen.segment,
        "granularity": chosen.granularity,
        "newest_window": subject.newest,
    }


def newest_judged(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each metric the newest window, but for those whose labels are not due where an earlier one was judged."""
    waits = pl.col("reason_code").eq_missing("labels_not_due")
    ordered = rows.sort(waits, "window_start", descending=[True, False])
    return ordered.group_by("metric", maintain_order=True).last().sort("metric")


def primary(spec: MonitorSpec) -> str | None:
    """The metric of realised quality that is shown first."""
    return plan.primary_metric(spec)
