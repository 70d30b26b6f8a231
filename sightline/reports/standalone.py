"""A page of the dashboard's look as one file: style, charts and scripts inside, nothing loaded from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sightline.dashboard import filters
from sightline.dashboard.charts.chart import Chart
from sightline.dashboard.pages.page import option_json

DASHBOARD = Path(__file__).parent.parent / "dashboard"
TEMPLATES = Path(__file__).parent / "templates"


def standalone(template: str, title: str, data: Mapping[str, Any], charts: Sequence[Chart] = ()) -> str:
    """A report.

    Parameters
    ----------
    template : str
        Name in `templates/`.
    title : str
        Of the window.
    data : mapping
        What the template tells; escaped.
    charts : sequence of Chart
        Drawn when they come into sight.

    Returns
    -------
    str
        HTML. Its content security policy names the hashes of its own scripts and style and allows nothing else.
    """
    static = DASHBOARD / "static"
    style = _inside(static / "sightline.css")
    scripts = [_inside(static / "theme.js")]
    if charts:
        scripts += [_inside(next(static.glob("echarts-*.js"))), _inside(static / "charts.js")]
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts))}; "
        "base-uri 'none'; form-action 'none'"
    )
    drawn = {chart.name: {**asdict(chart), "json": option_json(chart)} for chart in charts}
    inside = {"style": Markup(style), "first": Markup(scripts[0]), "scripts": [Markup(each) for each in scripts[1:]]}  # noqa: S704 (our own files)
    return _environment().get_template(template).render(title=title, data=data, charts=drawn, policy=policy, **inside)


def fragment(template: str, **data: Any) -> str:
    """A piece of HTML for a page of somebody else's; escaped."""
    return _environment().get_template(template).render(**data)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, DASHBOARD / "templates"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters.FILTERS)
    return environment


def _inside(file: Path) -> str:
    """A file that may stand in a ``script`` or ``style`` element."""
    text = file.read_text(encoding="utf-8")
    if "</script" in text or "</style" in text or "<!--" in text:
        text = text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return text


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"
