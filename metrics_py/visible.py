"""Texts of others, such as names and values of data, in which nothing is hidden or moves what stands beside."""

from __future__ import annotations

import re

HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, line feeds among them
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # invisible, Arabic mark of direction
    "\u200b\u200e\u200f"  # zero width space, marks of direction; joiners stay: words of many languages need them
    "\u2028-\u202e\u2060-\u206f"  # separators of lines, overrides and isolates of direction
    "\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff"  # halves of characters
    "\U000e0000-\U000e0fff"  # tags
    "]"
)


def visible(text: str) -> str:
    r"""A text in one line whose hidden characters are written as escapes.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    str
        Control characters, marks and overrides of direction, invisible and half characters as ``\n``, ``\u202e``.

    Examples
    --------
    >>> print(visible("v1\u202egpj.exe\nverdict: superior"))
    v1\u202egpj.exe\nverdict: superior
    """
    return HIDDEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape", "surrogatepass").decode("ascii")
