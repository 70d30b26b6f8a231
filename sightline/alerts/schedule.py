"""How long to wait before a message is tried again."""

from __future__ import annotations

import random

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 3600.0
LONGEST_ASKED = 6 * 3600.0
"""A receiver may ask for no longer a pause than this."""


def delay(attempts: int, rng: random.Random | None = None) -> float:
    """Seconds to wait after so many failures: doubled each time up to an hour, with jitter.

    Parameters
    ----------
    attempts : int
        Failures so far, at least 1.
    rng : random.Random, optional
        Source of the jitter.

    Returns
    -------
    float
        Between half and all of ``5 s * 2**(attempts - 1)``, at most `LONGEST_SECONDS`: several senders that failed
        together do not come back together.
    """
    whole = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(max(attempts - 1, 0), 20))
    return whole * (rng or _RANDOM).uniform(0.5, 1.0)


_RANDOM = random.Random()  # noqa: S311 (jitter, no secret)
