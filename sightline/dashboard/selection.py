"""What a page is asked to show: time range, model version and segment, all of it in the address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from sightline.dashboard.merging import GRANULARITIES, WINDOW
from sightline.errors import SightlineError, nearest

ALL = "all"
SHOWN = {"hourly": timedelta(days=7), "daily": timedelta(days=90), "weekly": timedelta(weeks=53)}
"""What is shown unless the address says otherwise, by schedule."""
LONGEST = timedelta(days=3 * 366)
FIRST_YEAR, LAST_YEAR = 1970, 2200
RANGES = {
    "hourly": {"2 days": timedelta(days=2), "7 days": timedelta(days=7), "28 days": timedelta(days=28)},
    "daily": {"28 days": timedelta(days=28), "90 days": timedelta(days=90), "1 year": timedelta(days=366)},
    "weekly": {"26 weeks": timedelta(weeks=26), "1 year": timedelta(weeks=53), "2 years": timedelta(weeks=106)},
}
"""Lengths that the pages offer, by schedule."""


@dataclass(frozen=True)
class Selection:
    """What is shown.

    Parameters
    ----------
    start, end : datetime or None
        Windows in ``[start, end)``, naive UTC; None: `SHOWN` before the newest window.
    version, segment : str
        Model version and segment; ``all``: all rows.
    granularity : str
        Of `sightline.dashboard.merging.GRANULARITIES`: windows as they are, or days, weeks or months of them.
    """

    start: datetime | None = None
    end: datetime | None = None
    version: str = ALL
    segment: str = ALL
    granularity: str = WINDOW

    def within(self, schedule: str, newest: datetime | None, window: timedelta) -> Selection:
        """With both ends named: where they are open, the usual length before the newest window's end."""
        end = self.end
        if end is None:
            end = newest + window if newest is not None else datetime.now(UTC).replace(tzinfo=None)
        start = self.start if self.start is not None else end - SHOWN[schedule]
        return replace(self, start=start, end=end)

    def query(self, **changes: object) -> str:
        """The address's query with something changed (None: left out); empty where all is as usual."""
        asked: dict[str, object] = {
            "from": _text(self.start),
            "to": _text(self.end),
            "version": None if self.version == ALL else self.version,
            "segment": None if self.segment == ALL else self.segment,
            "granularity": None if self.granularity == WINDOW else self.granularity,
        }
        asked |= {name: _text(value) if isinstance(value, datetime) else value for name, value in changes.items()}
        kept = {name: value for name, value in asked.items() if value is not None and value != ""}
        return f"?{urlencode(kept)}" if kept else ""


def selection_of(query: Mapping[str, str]) -> Selection:
    """Read an address's query.

    Parameters
    ----------
    query : mapping
        ``from``, ``to`` (dates or times, UTC; ``to`` is exclusive), ``version``, ``segment``,
        ``granularity``; others are left alone.

    Returns
    -------
    Selection

    Raises
    ------
    SightlineError
        A moment cannot be read, the end does not lie after the start, or there is no such granularity.
    """
    start, end = (_moment(query.get(name, ""), name) for name in ("from", "to"))
    if start is not None and end is not None and end <= start:
        raise SightlineError("`to` does not lie after `from`", fix="`to` is the first moment that is not shown")
    if start is not None and end is not None and end - start > LONGEST:
        raise SightlineError("the range is longer than three years", fix="choose a shorter one")
    granularity = query.get("granularity") or WINDOW
    if granularity not in GRANULARITIES:
        raise SightlineError(f"there is no granularity {granularity[:40]!r}", fix=nearest(granularity, GRANULARITIES))
    return Selection(start, end, query.get("version") or ALL, query.get("segment") or ALL, granularity)


def _moment(text: str, name: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        where = f"{name}={text[:40]}"
        raise SightlineError("no date or time", where=where, fix="write 2026-01-31 or 2026-01-31T06:00") from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        fix = f"choose one between {FIRST_YEAR} and {LAST_YEAR}"
        raise SightlineError("this year cannot be shown", where=f"{name}={text[:40]}", fix=fix)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo is not None else found


def _text(moment: datetime | date | None) -> str | None:
    if moment is None:
        return None
    text = moment.isoformat(timespec="minutes") if isinstance(moment, datetime) else moment.isoformat()
    return text.removesuffix("T00:00")
