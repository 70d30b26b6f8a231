"""Two models that agree on all rows: how large a difference could have stayed unseen.

References
----------
Clopper & Pearson (1934), Biometrika 26:404. Hanley & Lippman-Hand (1983), JAMA 249:1743 ("rule of three").
"""

from __future__ import annotations

from math import ceil, log, log1p

LEVEL = 0.025
"""One-sided: what is left out of the interval on either side."""


def unseen_share(n: int) -> float:
    """Largest share of units in which the models differ, when none of n units shows a difference.

    Parameters
    ----------
    n : int
        Independent units (rows, entities, queries) on which both models agree; at least 1.

    Returns
    -------
    float
        Upper one-sided 97.5 % bound, between 0 and 1.

    Raises
    ------
    ValueError
        If `n` is below 1.

    Notes
    -----
    With a share p of units in which they differ, none of n independent ones shows it with the probability
    ``(1 - p)^n``; the bound is the p for which that is 2.5 %: ``1 - 0.025^(1 / n)``, about 3.7 / n. A delete-one
    jackknife of such rows has no variance, which is no certainty: of 100 rows without a difference, up to 3.6 % of the
    rows to come may have one.

    References
    ----------
    Clopper & Pearson (1934), Biometrika 26:404. Hanley & Lippman-Hand (1983), JAMA 249:1743.

    Examples
    --------
    >>> round(unseen_share(100), 4), round(unseen_share(1000), 5)
    (0.0362, 0.00368)
    """
    if n < 1:
        raise ValueError(f"unseen_share: n={n} must be at least 1")
    return -(LEVEL ** (1 / n)) + 1


def units_needed(share: float) -> int:
    """Units without a difference after which at most this share can have one.

    Parameters
    ----------
    share : float
        Above 0.

    Returns
    -------
    int
        The smallest n with ``unseen_share(n) < share``.

    Raises
    ------
    ValueError
        If `share` is not above 0.

    Examples
    --------
    >>> units_needed(0.005), unseen_share(736) < 0.005 < unseen_share(735)
    (736, True)
    """
    if not share > 0:
        raise ValueError(f"units_needed: share={share} must be above 0")
    if share >= 1:
        return 1
    n = max(1, ceil(log(LEVEL) / log1p(-share)))
    return n if unseen_share(n) < share else n + 1
