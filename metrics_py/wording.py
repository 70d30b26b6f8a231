"""Numbers and moments as people write them.

No exponents where they can be avoided, never two different ones that look the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

MOST_DIGITS = 17
LARGEST_SPELLED = 1e15
LARGEST_SHIFT = 1e6


def percent(share: float) -> str:
    """Share as a percentage with two significant digits, more where that would say 100 % of what is not all.

    Parameters
    ----------
    share : float
        0.01 is 1 %.

    Returns
    -------
    str
        With a space before the sign.

    Examples
    --------
    >>> percent(0.313), percent(0.0214), percent(0.00049), percent(0.0)
    ('31 %', '2.1 %', '0.049 %', '0 %')
    """
    value = 100 * share
    if value == 0 or value >= 9.95:
        return f"{value:.2f} %" if 99 < value < 100 else f"{value:,.0f} %"
    return f"{value:.1f} %" if value >= 0.995 else f"{value:.2g} %"


def deviations(value: float, *, sign: bool = False) -> str:
    """Number of standard deviations with two significant digits, without an exponent.

    Parameters
    ----------
    value : float
        In standard deviations.
    sign : bool, default False
        Write a plus before positive numbers.

    Returns
    -------
    str
        Beyond a million only that it is more.

    Examples
    --------
    >>> deviations(0.3), deviations(-338.2, sign=True), deviations(16283), deviations(4e9)
    ('0.3 sd', '-340 sd', '16,000 sd', 'over 1,000,000 sd')
    """
    size = abs(value)
    mark = "-" if value < 0 else "+" if sign else ""
    if size > LARGEST_SHIFT:
        return f"{'over ' if value > 0 else 'under '}{mark}{LARGEST_SHIFT:,.0f} sd"
    if size < 10:
        return f"{mark}{size:.2g} sd"
    return f"{mark}{round(size, 1 - math.floor(math.log10(size))):,.0f} sd"


def numbers(values: Sequence[float], digits: int = 6) -> list[str]:
    """Values with as many significant digits as it takes to tell them apart.

    Parameters
    ----------
    values : sequence of float
        Numbers that are shown beside each other.
    digits : int, default 6
        Fewest significant digits.

    Returns
    -------
    list of str
        One text per value; equal only where the values are.

    Examples
    --------
    >>> numbers([58.71666, 1e6]), numbers([1e9 + 1, 1e9 + 4])
    (['58.7167', '1000000'], ['1000000001', '1000000004'])
    """
    distinct = len({float(x) for x in values})
    for n in range(digits, MOST_DIGITS + 1):
        found = [_spelled(float(x), n) for x in values]
        if len(set(found)) >= distinct:
            return found
    return [repr(float(x)) for x in values]


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; an en dash where there is none.

    Parameters
    ----------
    value : float or None
        The number.
    digits : int, default 4
        Significant digits; a number with more before the point is written in full, with commas.

    Returns
    -------
    str
        Without an exponent from ``10**digits`` up to 1e12.

    Examples
    --------
    >>> number(0.123456), number(None), number(12345.678)
    ('0.1235', '–', '12,346')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if 10**digits <= abs(value) < 1e12 else f"{value:.{digits}g}"


def count(n: int, things: str) -> str:
    """A number of things, one of them in the singular.

    Parameters
    ----------
    n : int
        How many.
    things : str
        English plural whose last word is the noun.

    Returns
    -------
    str
        The number with commas, and the noun.

    Examples
    --------
    >>> count(1, "labelled rows"), count(1200, "labelled rows"), count(1, "queries"), count(0, "rows")
    ('1 labelled row', '1,200 labelled rows', '1 query', '0 rows')
    """
    if n == 1:
        things = f"{things[:-3]}y" if things.endswith("ies") else things.removesuffix("s")
    return f"{n:,} {things}"


def day(moment: datetime | None) -> str:
    """A moment for people: the day, with the hour where there is one.

    Parameters
    ----------
    moment : datetime or None
        Naive or aware; it is written as it is.

    Returns
    -------
    str
        An en dash where there is none.

    Examples
    --------
    >>> day(datetime(2026, 3, 1)), day(datetime(2026, 3, 1, 14, 5)), day(None)
    ('2026-03-01', '2026-03-01 14:05', '–')
    """
    if moment is None:
        return "–"
    return f"{moment:%Y-%m-%d}" if moment.hour == 0 else f"{moment:%Y-%m-%d %H:%M}"


def _spelled(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e+" in text and abs(value) < LARGEST_SPELLED:
        return f"{float(text):.0f}"
    return text
