"""The advice as text, Markdown or JSON; kept beside the other results."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from sightline.durable import replace_file
from sightline.home import MonitorPaths
from sightline.results.append_only import STAMP
from sightline.retraining.advise import Advice
from sightline.retraining.words import sections, verdict


def to_table(found: Advice) -> str:
    """For people, in a terminal."""
    lines = [f"{found.monitor}: {verdict(found)}"]
    for head, sentences in sections(found):
        lines += ["", head, *(f"  {text}" for text in sentences)]
    return "\n".join(lines)


def to_markdown(found: Advice) -> str:
    """For a page."""
    lines = [f"# {_md(found.monitor)}: {_md(verdict(found))}"]
    for head, sentences in sections(found):
        lines += ["", f"## {head}", "", *(f"- {_md(text)}" for text in sentences)]
    return "\n".join([*lines, ""])


def to_json(found: Advice) -> str:
    """All numbers; null where one is undefined. Losses are the metric times ``sign``, ages are in weeks."""
    parts = {
        name: None if value is None else asdict(value)
        for name, value in (
            ("decay", found.decay),
            ("served", found.served),
            ("cadence", found.cadence),
            ("gap", found.gap),
            ("saving", found.saving),
        )
    }
    parts["decay"] = {**asdict(found.decay), "change": found.decay.change}
    return json.dumps(
        {
            "monitor": found.monitor,
            "metric": found.metric,
            "source": found.source,
            "state": found.state,
            "verdict": verdict(found),
            "reason": found.reason,
            "sign": found.sign,
            "point": found.point,
            "rules": found.rules.model_dump(mode="json"),
            "n_fits": found.n_fits,
            "age": found.age,
            "horizon": found.horizon,
            **parts,
            "comparisons": [asdict(each) for each in found.comparisons],
            "cells": found.cells.to_dicts(),
            "words": dict(sections(found)),
            "notes": list(found.notes),
        },
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
        default=_spelled,
    )


def publish(paths: MonitorPaths, found: Advice, now: datetime) -> Path:
    """Keep an advice; earlier ones stay."""
    file = paths.results / "retraining" / f"{now.strftime(STAMP)}.json"
    replace_file(file, to_json(found))
    return file


def _spelled(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    raise TypeError(type(value).__name__)


def _md(text: str) -> str:
    for sign in "\\*_{}[]<>#|":
        text = text.replace(sign, {"<": "&lt;", ">": "&gt;"}.get(sign, f"\\{sign}"))
    return " ".join(text.split())
