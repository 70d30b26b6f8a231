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


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``Did you mean 'x'?`` for the closest allowed name, else the sorted allowed names."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Allowed: {', '.join(names)}."
