"""Errors that tell the user what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SightlineError(Exception):
    """A mistake the user can mend. The command line prints it without a traceback and exits with 2.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence.
    where : str, optional
        The place: ``file:line``, a key path, a column, a batch.
    fix : str, optional
        What to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  fix: {self.fix}" if self.fix else text


def nearest(name: str, allowed: Iterable[str], *, most: int | None = None) -> str:
    """Return ``Did you mean 'x'?`` for the closest allowed name, else the sorted allowed names.

    Parameters
    ----------
    name : str
        What was given.
    allowed : iterable of str
    most : int, optional
        List no more names than these and say how many there are beside them.

    Returns
    -------
    str
    """
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    n_more = 0 if most is None else max(len(names) - most, 0)
    listed = ", ".join(names[: len(names) - n_more])
    return f"Allowed: {listed} and {n_more} more." if n_more else f"Allowed: {listed}."
