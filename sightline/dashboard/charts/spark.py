"""A series as a small picture in a table's cell: inline SVG, drawn by the server."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, PAD = 120, 28, 3


def spark(values: Sequence[float | None], words: str) -> Markup:
    """A line of values, gaps where there is none, and a dot at the last.

    Parameters
    ----------
    values : sequence of float or None
        Oldest first.
    words : str
        What it shows, for those who cannot see it; escaped.

    Returns
    -------
    Markup
        An ``svg`` element; an en dash where there is nothing to draw.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return Markup('<span class="muted">–</span>')
    low, high = min(known), max(known)
    spread = (high - low) or 1.0
    step = (WIDTH - 2 * PAD) / max(len(values) - 1, 1)
    paths: list[str] = []
    pen = "M"
    last = (0.0, 0.0)
    for k, value in enumerate(values):
        if value is None or not math.isfinite(value):
            pen = "M"
            continue
        y = HEIGHT / 2 if high == low else HEIGHT - PAD - (HEIGHT - 2 * PAD) * (value - low) / spread
        last = (PAD + k * step, y)
        paths.append(f"{pen}{last[0]:.1f} {last[1]:.1f}")
        pen = "L"
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{words}">'
        '<path d="{path}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.2"/></svg>'
    ).format(w=WIDTH, h=HEIGHT, words=words, path="".join(paths), x=last[0], y=last[1])
