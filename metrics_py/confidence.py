"""The one check of a confidence level, for every function that takes one."""

from __future__ import annotations


def check_confidence(confidence: float) -> None:
    """Refuse a confidence level that is no probability, such as 95 for 0.95.

    Parameters
    ----------
    confidence : float
        Two-sided coverage of an interval.

    Raises
    ------
    ValueError
        If it does not lie between 0 and 1.

    Examples
    --------
    >>> check_confidence(0.95)
    """
    if not 0 < confidence < 1:
        meant = f" (for {confidence:g} % write {confidence / 100:g})" if 1 < confidence < 100 else ""
        raise ValueError(f"confidence={confidence} must lie between 0 and 1, e.g. 0.95{meant}")
