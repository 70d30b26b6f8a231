"""Errors that tell the user what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
FULL_FIX = "free disk space, then run this again"
CLOSED_FIX = (
    "mount its disk writable, or give this user the right to its folder, then run this again; leave what lies there"
)


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


def error_of_place(error: OSError) -> SightlineError | None:
    """A disk that is full or read-only, or a right that lacks, as a mistake the user can mend.

    Parameters
    ----------
    error : OSError
        As the system raised it.

    Returns
    -------
    SightlineError or None
        With the place, where the system names it; None of any other error.
    """
    if error.errno not in (*FULL, *CLOSED):
        return None
    fix = FULL_FIX if error.errno in FULL else CLOSED_FIX
    where = None if error.filename is None else os.fsdecode(error.filename)
    return SightlineError(error.strerror or type(error).__name__, where=where, fix=fix)


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
