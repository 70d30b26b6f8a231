"""Facts of a test suite about all texts of a column together: unknown words, and copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from metrics_py.comparison.text_rates import text_rates
from metrics_py.results import Estimate
from metrics_py.text.window_texts import RATES

if TYPE_CHECKING:
    from metrics_py.suite.facts import Column

MIN_ROWS = 50


def rates_of(values: pl.Series, reference: pl.Series) -> dict[str, tuple[Estimate, Estimate]]:
    """All of `metrics_py.text.window_texts.RATES` at once: what they have in common is counted once.

    Parameters
    ----------
    values, reference : polars.Series
        Texts of the table and of the reference.

    Returns
    -------
    dict of str to (Estimate, Estimate)
        By metric: of the table, and what is usual for the reference.

    Raises
    ------
    TypeError
        The values are no texts.
    """
    for column in (values, reference):
        if not isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
            raise TypeError(f"the reference is text, these values are of type {column.dtype}")
    found = text_rates(reference, values, MIN_ROWS)
    if isinstance(found, str):
        nothing = Estimate(None, None, None, 0, "insufficient_data", found)
        return dict.fromkeys(RATES, (nothing, nothing))
    return {rate.metric: (rate.estimate(), rate.estimate(of_reference=True)) for rate in found}


def unknown_word_share(column: Column) -> Estimate:
    """Mean share of a text's words that the reference does not hold.

    Parameters
    ----------
    column : Column
        Of texts.

    Returns
    -------
    Estimate
        With the normal interval of a mean over independent texts.
    """
    return rates_of(column.values, column.reference)["unknown_word_share"][0]


def duplicate_text_rate(column: Column) -> Estimate:
    """Share of texts that repeat an earlier one, but for case and white space.

    Parameters
    ----------
    column : Column
        Of texts.

    Returns
    -------
    Estimate
        With an interval that is rather too wide (`metrics_py.comparison.text_rates.text_rates`).
    """
    return rates_of(column.values, column.reference)["duplicate_text_rate"][0]


def near_duplicate_text_rate(column: Column) -> Estimate:
    """Share of texts that nearly repeat another one.

    Parameters
    ----------
    column : Column
        Of texts.

    Returns
    -------
    Estimate
        With an interval that is rather too wide (`metrics_py.comparison.text_rates.text_rates`).
    """
    return rates_of(column.values, column.reference)["near_duplicate_text_rate"][0]


def reference_copy_rate(column: Column) -> Estimate:
    """Share of texts that repeat or nearly repeat one of the reference.

    Parameters
    ----------
    column : Column
        Of texts.

    Returns
    -------
    Estimate
        With the interval of a share of independent texts.
    """
    return rates_of(column.values, column.reference)["reference_copy_rate"][0]
