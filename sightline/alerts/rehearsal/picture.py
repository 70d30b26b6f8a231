"""The days until a change is told as a picture: one panel per kind of change, one line per budget (SVG, no script)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from sightline.alerts.rehearsal.run import Delay, Rehearsal

WIDTH, HEIGHT, GAP, TOP = 250, 170, 46, 62
COLUMNS = 3
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
"""Okabe and Ito (2008): told apart by all."""
TITLES = {
    "mean": "mean of a number",
    "spread": "spread of a number",
    "missing": "missing values",
    "unseen": "values never seen",
    "score": "mean of the score",
    "label": "label",
    "quality": "quality",
    "rows": "rows that do not come",
}


def picture(rehearsal: Rehearsal) -> str:
    """The rehearsal as an SVG document.

    Parameters
    ----------
    rehearsal : Rehearsal

    Returns
    -------
    str
        A hollow mark at the upper edge: less than half of the changes were told within the horizon.
    """
    panels = [list(part) for _, part in groupby(_by_kind(rehearsal.delays), key=lambda each: each.injection.kind)]
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP) + GAP, TOP + rows * (HEIGHT + 2 * GAP)
    budgets = [str(price.budget) for price in rehearsal.prices]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11" role="img" aria-label="Days until a change is told, {escape(rehearsal.monitor)}">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{GAP}" y="22" font-size="15">{escape(rehearsal.monitor)}: median days until a change is told</text>',
    ]
    for k, budget in enumerate(budgets):
        x = GAP + k * 150
        parts += [f'<circle cx="{x + 5}" cy="41" r="4" fill="{COLOURS[k % len(COLOURS)]}"/>']
        parts += [f'<text x="{x + 14}" y="45">budget {escape(budget)}</text>']
    hollow = f"hollow: fewer than half of the changes were told, of {len(rehearsal.starts)} begins"
    parts += [f'<text x="{GAP + len(budgets) * 150}" y="45">{hollow}</text>']
    longest = rehearsal.horizon.total_seconds() / 86_400
    for n, panel in enumerate(panels):
        left = GAP + (n % COLUMNS) * (WIDTH + GAP)
        parts.append(_panel(panel, budgets, longest, left, TOP + GAP + (n // COLUMNS) * (HEIGHT + 2 * GAP)))
    return "\n".join([*parts, "</svg>", ""])


def _by_kind(delays: Sequence[Delay]) -> list[Delay]:
    order = list(dict.fromkeys(each.injection.kind for each in delays))
    return sorted(delays, key=lambda each: order.index(each.injection.kind))


def _panel(panel: Sequence[Delay], budgets: Sequence[str], longest: float, left: int, top: int) -> str:
    sizes = sorted({each.injection.size for each in panel})
    across = {size: left + (k + 0.5) * WIDTH / len(sizes) for k, size in enumerate(sizes)}

    def up(days: float) -> float:
        return top + HEIGHT - HEIGHT * min(days, longest) / longest

    kind = panel[0].injection.kind
    parts = [f'<text x="{left}" y="{top - 10}" font-weight="bold">{escape(TITLES[kind])}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = up(share * longest)
        parts += [f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>']
        parts += [f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{share * longest:g}</text>']
    words = {each.injection.size: each.injection for each in panel}
    for size, x in across.items():
        parts += [
            f'<text x="{x:.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{_short(words[size].kind, size)}</text>'
        ]
    for k, budget in enumerate(budgets):
        colour = COLOURS[k % len(COLOURS)]
        own = [each for each in panel if str(each.budget) == budget and each.days]
        beside = 7 * (k - (len(budgets) - 1) / 2)
        told = [(across[each.injection.size] + beside, each.median) for each in own]
        line = " ".join(f"{x:.1f},{up(median):.1f}" for x, median in told if median is not None)
        parts += [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
        for x, median in told:
            y, fill = (up(longest), "#fff") if median is None else (up(median), colour)
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}"/>']
    return "\n".join(parts)


def _short(kind: str, size: float) -> str:
    if kind in ("missing", "unseen", "rows"):
        return f"{size:.0%}"
    if kind in ("mean", "score"):
        return f"+{size:g} sd"
    return f"{size:g}"
