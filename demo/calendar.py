"""2013 moved next to today: one constant offset of whole weeks, so that weekdays and hours stay what they were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

FIRST_DAY = date(2013, 1, 1)
LAST_DAY = date(2013, 12, 31)
LANDING_DAYS = 7
"""So many days at the end are not replayed, but left in the landing folder for the sensors."""


@dataclass(frozen=True)
class Calendar:
    """Dates of 2013 and the dates they are replayed at."""

    offset: timedelta
    today: date | None = None
    """Day of the replay; None: as recorded."""

    @classmethod
    def before(cls, today: date) -> Calendar:
        """The largest offset of whole weeks with which the year ends the day before yesterday or earlier."""
        weeks = (today - timedelta(days=2) - LAST_DAY).days // 7
        return cls(timedelta(weeks=weeks), today)

    @classmethod
    def as_recorded(cls) -> Calendar:
        """No offset: 2013."""
        return cls(timedelta(0))

    @property
    def first_day(self) -> date:
        """First day of the replayed year."""
        return FIRST_DAY + self.offset

    @property
    def last_day(self) -> date:
        """Last day of the replayed year."""
        return LAST_DAY + self.offset

    @property
    def first_landing_day(self) -> date:
        """First of the days that are left in the landing folder."""
        return self.last_day - timedelta(days=LANDING_DAYS - 1)

    @property
    def pause(self) -> list[date]:
        """Days after the replay's last one, up to the day it is made on: nobody flies."""
        n = (self.today - self.last_day).days if self.today else 0
        return [self.last_day + timedelta(days=i + 1) for i in range(n)]

    def replayed(self, day: date) -> date:
        """The date at which a day of 2013 is replayed."""
        return day + self.offset

    def recorded(self, day: date | datetime) -> date:
        """The day of 2013 that is replayed at this date."""
        return (day.date() if isinstance(day, datetime) else day) - self.offset

    def shift(self, column: str) -> pl.Expr:
        """A date or time column of 2013 at its replayed time."""
        return pl.col(column) + pl.lit(self.offset)

    def both(self, day: date) -> str:
        """A replayed date for people: both dates, and the weekday they share."""
        recorded = self.recorded(day)
        return f"{day:%a %Y-%m-%d}" if recorded == day else f"{day:%a %Y-%m-%d} (flown {recorded})"
