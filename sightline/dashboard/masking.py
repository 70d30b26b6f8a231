"""What pages do not show: values of columns that are marked personal or named, and identifiers within texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sightline.spec.model import MonitorSpec

MASKED = "•••"
VALUES = ("minimum", "maximum")
"""Metrics that are a value of somebody, whatever the number of rows."""
HIDDEN = "values of this column are not shown"
_IDENTIFIERS = re.compile(
    r"[\w.+%-]{1,64}@[\w.-]{1,255}"  # addresses of mail
    r"|(?:https?://|www\.)\S+"
    r"|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b"  # account numbers
    r"|\+?\d(?:[ ().:/-]?\d){5,}"  # numbers of telephones, cards, people: six digits or more
)


@dataclass(frozen=True)
class Masking:
    """Whose values are shown.

    Parameters
    ----------
    names : frozenset of str
        Columns of any monitor whose values are never shown.
    shows_personal : bool
        Columns that the monitor's file marks as personal are shown all the same.
    """

    names: frozenset[str] = frozenset()
    shows_personal: bool = False

    def hides(self, spec: MonitorSpec, column: str | None) -> bool:
        """Whether the values of a column, or of what is computed of it, are hidden.

        Parameters
        ----------
        spec : MonitorSpec
        column : str or None
            Name as in the judgements.
        """
        if not column:
            return False
        is_personal = not self.shows_personal and spec.columns.is_personal(column)
        return is_personal or column in self.names or any(column.startswith(f"{name}.") for name in self.names)

    def hidden(self, spec: MonitorSpec) -> tuple[str, ...]:
        """Columns of a monitor that are hidden."""
        if not self.names and (self.shows_personal or not spec.columns.personal):
            return ()
        return tuple(column for column in spec.columns.features if self.hides(spec, column))


def without_values(rows: pl.DataFrame, hidden: Sequence[str]) -> pl.DataFrame:
    """Judgements without what is a value of somebody, of hidden columns.

    The smallest and the largest number; and what is said to have moved, which may name values where the column was not
    marked when it was judged.
    """
    if not hidden or rows.is_empty():
        return rows
    is_hidden = pl.col("column").is_in(list(hidden))
    gone = is_hidden & pl.col("metric").is_in(VALUES)
    tells = is_hidden & pl.col("status").is_in(["warn", "alert"]) & pl.col("reason").is_not_null()
    numbers = ("value", "ci_low", "ci_high", "reference_value", "bound_low", "bound_high", "naive_value")
    return rows.with_columns(
        *(pl.when(~gone).then(pl.col(name)).alias(name) for name in numbers),
        reason=pl.when(gone | tells).then(pl.lit(HIDDEN)).otherwise("reason"),
    )


def redacted(text: str) -> str:
    """A text without what identifies somebody: addresses, account numbers, long numbers.

    Examples
    --------
    >>> redacted("write to eve@example.com or +49 170 1234567, order 12")
    'write to ••• or •••, order 12'
    """
    return _IDENTIFIERS.sub(MASKED, text)
