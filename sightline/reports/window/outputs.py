"""A window's report as Markdown, JSON and Parquet, and where reports are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sightline.alerts.messages.escaping import markdown
from sightline.dashboard.charts.chart import shown
from sightline.home import Home, MonitorPaths
from sightline.reports.files import parquet_bytes, write_report
from sightline.reports.standalone import fragment
from sightline.reports.window.collect import WindowReport, collect, headline
from sightline.reports.window.page import FAR, to_html
from sightline.spec.model import MonitorSpec

SIGNS = {"bad": "▲", "warn": "◆", "ok": "●", "none": "○"}
MOST_LINES = 5
KEEP = timedelta(days=90)
"""How long reports are kept unless the monitor's file says otherwise."""


def to_json(report: WindowReport) -> str:
    """All facts."""
    return json.dumps(report.facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_parquet(report: WindowReport) -> bytes:
    """All judgements of the window, of all versions and segments, with the asset that made each."""
    return parquet_bytes(report.rows)


def to_markdown(report: WindowReport) -> str:
    """A few lines for a chat, and for Dagster; names and values are escaped."""
    facts = report.facts
    lines = [f"**{SIGNS[facts['health']['level']]} {markdown(headline(facts))}**", ""]
    for row in facts["incidents"][:MOST_LINES]:
        causes = f" Likely cause: {markdown(row['causes'][0]['words'])}." if row["causes"] else ""
        what = f"{row['state']} since {row['since']}: {row['what']}"
        lines.append(f"- {markdown(what)}.{causes}")
    lines += [f"- {markdown(fact['words'])}" for fact in facts["operations"][:MOST_LINES]]
    loud = [row for row in facts["checks"] if row["level"] != "ok" and row["asset"] != "alerts"]
    lines += [f"- {markdown(row['asset'] + '/' + row['check'])}: {markdown(row['text'])}" for row in loud[:MOST_LINES]]
    if len(loud) > MOST_LINES:
        lines.append(f"- {MOST_LINES} of {len(loud)} checks that fail or warn shown")
    lines += [f"- {text}" for text in (*_quality(report), *_drift(report), *_data(report))]
    return "\n".join(lines) + "\n"


def _quality(report: WindowReport) -> list[str]:
    found = report.facts["quality"][:1]
    told: list[str] = []
    for row in found:
        realised, guess = row["realised"], row["estimated"]
        words = {"final": "", "provisional": " (provisional: labels are still coming)"}
        if row["stage"] in words and realised is not None:
            interval = _interval(realised)
            told.append(f"{markdown(row['metric'])} {shown(realised['value'])}{interval}{words[row['stage']]}")
        else:
            told.append(f"{markdown(row['metric'])} has no value yet")
        if guess is not None and guess["value"] is not None:
            told[-1] += f"; estimated without labels {shown(guess['value'])}{_interval(guess)}"
    return told


def _interval(row: dict[str, float | None]) -> str:
    return "" if row["ci_low"] is None else f" ({shown(row['ci_low'])} to {shown(row['ci_high'])})"


def _drift(report: WindowReport) -> list[str]:
    rows = report.facts["drift"]
    far = [row for row in rows if row["status"] in FAR]
    names = ", ".join(markdown(row["column"]) for row in far[:MOST_LINES])
    more = f" and {len(far) - MOST_LINES} more" if len(far) > MOST_LINES else ""
    return [f"{len(far)} of {len(rows)} columns beyond tolerance" + (f": {names}{more}" if far else "")]


def _data(report: WindowReport) -> list[str]:
    found = report.facts["data_quality"]
    rows = "no count of predictions" if found["n_rows"] is None else f"{found['n_rows']:,.0f} predictions"
    share = report.facts["labels"].get("labelled_rate")
    return [rows + ("" if share is None else f", {100 * share:.3g} % of them labelled")]


SHAPES = {"html": to_html, "markdown": to_markdown, "json": to_json, "parquet": to_parquet}
"""Formats of a report."""


@dataclass(frozen=True, repr=False)
class Report:
    """What `sightline.report` returns: prints as Markdown, is drawn in a notebook's cell, is saved by its ending.

    Parameters
    ----------
    found : WindowReport
    """

    found: WindowReport

    @property
    def facts(self) -> dict[str, object]:
        """All that is told, as in the JSON."""
        return self.found.facts

    def save(self, file: Path | str) -> Path:
        """Write it to a file ending in ``.html``, ``.md``, ``.json`` or ``.parquet``."""
        path = Path(file)
        named = {".html": "html", ".md": "markdown", ".json": "json", ".parquet": "parquet"}
        if path.suffix.lower() not in named:
            raise ValueError(f"{path}: the ending {path.suffix!r} is no format of a report; use {', '.join(named)}")
        write_report(path, SHAPES[named[path.suffix.lower()]](self.found))
        return path

    def __repr__(self) -> str:
        return to_markdown(self.found)

    def _repr_html_(self) -> str:
        return window_inline(self.found)


def window_inline(found: WindowReport) -> str:
    """A report for a notebook's cell: HTML without script, style sheet or address."""
    facts = found.facts
    far = [row for row in facts["drift"] if row["status"] in FAR]
    rows: list[tuple[str, str, str, str, str]] = []
    for row in facts["incidents"]:
        cause = row["causes"][0]["words"] if row["causes"] else ""
        rows.append((row["incident_id"], row["state"], "#c4491d", f"{row['what']}, since {row['since']}", cause))
    rows += [(row["column"], "drift", "#9a5b00", row["text"], f"{shown(row['value'])}") for row in far]
    for row in facts["quality"]:
        value = row["realised"]["value"] if row["realised"] else None
        rows.append((row["metric"], row["stage"], "#6b7683", "", shown(value)))
    about = "; ".join(facts["health"]["reasons"][:3]) or facts["description"]
    heads = ("of", "state", "what", "value or likely cause")
    more = f"20 of {len(rows)} lines shown." if len(rows) > 20 else ""
    return fragment("inline.html", title=headline(facts), about=about, heads=heads, rows=rows[:20], more=more)


def report(home: Home | Path | str, monitor: str, window: str | None = None) -> Report:
    """The report of one window.

    Parameters
    ----------
    home : Home or path
        The folder that holds ``monitors/`` and ``data/``.
    monitor : str
        Its id.
    window : str, optional
        Key (`2026-01-31`); default: the newest one.

    Returns
    -------
    Report

    Raises
    ------
    SightlineError
        There is no such monitor or window, or nothing has been judged of it.
    """
    return Report(collect(home if isinstance(home, Home) else Home(Path(home).resolve()), monitor, window))


def folder_of(paths: MonitorPaths) -> Path:
    """Where reports are kept: ``results/reports/<window>.html``."""
    return paths.results / "reports"


def publish(paths: MonitorPaths, spec: MonitorSpec, found: WindowReport) -> Path:
    """Keep a report as HTML, and forget those of windows that are older than `report.keep` beside the newest one.

    Parameters
    ----------
    paths : MonitorPaths
    spec : MonitorSpec
    found : WindowReport

    Returns
    -------
    Path
        Of the file.
    """
    file = folder_of(paths) / f"{found.facts['window']}.html"
    write_report(file, to_html(found))
    forget(paths, spec)
    return file


def forget(paths: MonitorPaths, spec: MonitorSpec) -> list[str]:
    """Remove reports of windows that began longer than `report.keep` before the newest that is kept."""
    known: dict[str, Path] = {}
    for file in folder_of(paths).glob("*.html"):
        try:
            spec.window_start(file.stem)
        except ValueError:
            continue  # somebody else's file
        known[file.stem] = file
    if not known:
        return []
    keep = KEEP if spec.report is None else spec.report.keep
    limit = spec.window_start(max(known)) - keep
    gone = sorted(key for key in known if spec.window_start(key) < limit)
    for key in gone:
        known[key].unlink(missing_ok=True)
    return gone
