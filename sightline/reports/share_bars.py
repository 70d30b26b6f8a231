"""Small still pictures for places without scripts: a notebook's cell, a mail, a list."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

BEFORE, NOW, ALARM = "#8a94a0", "#0072b2", "#c4491d"
"""Seen on white and on black; told apart by colour-blind people."""
MOST_BARS = 24
WIDTH, HEIGHT = 260, 64


def share_bars(
    labels: Sequence[str], before: Sequence[int], now: Sequence[int], title: str, most: int = MOST_BARS
) -> Markup:
    """Both distributions as bars beside each other, each as a share of its rows.

    Parameters
    ----------
    labels : sequence of str
        Of the bins.
    before, now : sequence of int
        Rows per bin of the reference and of the current table.
    title : str
        What it shows, for those who cannot see it.
    most : int
        Bins that are drawn: those with the largest share on either side, in their order.

    Returns
    -------
    Markup
        An SVG element without script, style sheet or address; empty where there are no rows.
    """
    totals = max(sum(before), 1), max(sum(now), 1)
    shares = [(a / totals[0], b / totals[1]) for a, b in zip(before, now, strict=True)]
    kept = sorted(range(len(labels)), key=lambda k: -max(shares[k]))[:most]
    kept = sorted(k for k in kept if max(shares[k]) > 0)
    if not kept:
        return Markup()
    top = max(max(shares[k]) for k in kept)
    step = WIDTH / len(kept)
    parts: list[Markup] = []
    for place, k in enumerate(kept):
        told = f"{labels[k]}: {_percent(shares[k][0])} then, {_percent(shares[k][1])} now"
        bars = Markup().join(
            _bar(place * step + (0.08 + 0.42 * side) * step, 0.42 * step, shares[k][side] / top, colour)
            for side, colour in enumerate((BEFORE, NOW))
        )
        parts.append(Markup("<g><title>{}</title>{}</g>").format(told, bars))
    body = Markup().join(parts)
    return Markup(
        '<svg role="img" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}" xmlns="http://www.w3.org/2000/svg">{}</svg>'
    ).format(title, WIDTH, HEIGHT, WIDTH, HEIGHT, body)


def bound_picture(
    value: float | None,
    interval: tuple[float | None, float | None],
    bounds: tuple[float | None, float | None],
    reference: float | None,
    title: str,
    *,
    is_bad: bool,
) -> Markup:
    """An observed value beside its bounds: allowed range, interval, value, and the reference as a tick.

    Parameters
    ----------
    value : float or None
        What was observed.
    interval : pair of float or None
        Its 95 % interval.
    bounds : pair of float or None
        Lowest and highest allowed value; None: no bound on that side.
    reference : float or None
        The reference's value.
    title : str
        What it shows, for those who cannot see it.
    is_bad : bool
        Whether the value breaks its bounds.

    Returns
    -------
    Markup
        An SVG element; empty where there is no value or no bound.
    """
    low, high = bounds
    if value is None or (low is None and high is None):
        return Markup()
    seen = [x for x in (value, *interval, low, high, reference) if x is not None]
    span = (max(seen) - min(seen)) or abs(value) or 1.0
    first, last = min(seen) - 0.12 * span, max(seen) + 0.12 * span

    def at(x: float) -> float:
        return round((x - first) / (last - first) * WIDTH, 1)

    left, right = (0.0 if low is None else at(low)), (float(WIDTH) if high is None else at(high))
    colour = ALARM if is_bad else NOW
    parts = [
        Markup('<rect x="{}" y="6" width="{}" height="16" fill="{}" fill-opacity="0.25"/>').format(
            left, max(right - left, 1.5), BEFORE
        )
    ]
    parts += [_tick(at(x), 4, 24, "1.5", BEFORE) for x in (low, high) if x is not None]
    if interval[0] is not None and interval[1] is not None:
        parts.append(
            Markup('<rect x="{}" y="12.5" width="{}" height="3" fill="{}"/>').format(
                at(interval[0]), max(at(interval[1]) - at(interval[0]), 1.0), colour
            )
        )
    parts += [] if reference is None else [_tick(at(reference), 8, 20, "1", BEFORE, dashed=True)]
    parts.append(Markup('<circle cx="{}" cy="14" r="4.5" fill="{}"/>').format(at(value), colour))
    return Markup(
        '<svg role="img" aria-label="{}" width="{}" height="28" viewBox="0 0 {} 28" xmlns="http://www.w3.org/2000/svg"><title>{}</title>{}</svg>'
    ).format(title, WIDTH, WIDTH, title, Markup().join(parts))


def _tick(x: float, top: float, bottom: float, width: str, colour: str, *, dashed: bool = False) -> Markup:
    dash = Markup(' stroke-dasharray="3 2"') if dashed else Markup()
    return Markup('<line x1="{0}" x2="{0}" y1="{1}" y2="{2}" stroke="{4}" stroke-width="{3}"{5}/>').format(
        x, top, bottom, width, colour, dash
    )


def _bar(x: float, width: float, height: float, colour: str) -> Markup:
    tall = max(height * (HEIGHT - 4), 0.0)
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>').format(
        f"{x:.1f}", f"{HEIGHT - tall:.1f}", f"{width:.1f}", f"{tall:.1f}", escape(colour)
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
