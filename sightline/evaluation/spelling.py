"""Tables of an evaluation as aligned text and as Markdown, and texts that neither Markdown nor XML misreads."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metrics_py.visible import visible

OUTCOMES = {
    "superior": "superior", "non_inferior": "not inferior", "inferior": "inferior", "cannot_tell": "cannot tell",
}  # fmt: skip
"""Outcome of a verdict or of one of its criteria -> its words."""
SIGNS = re.compile(r"[\\`*_{}\[\]#|~!$]")
START = re.compile(r"^(\d*)([-+=.)])(?=[\s=-]|$)")
"""What makes a list, a rule or a heading of a line that begins so."""


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def md_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table of Markdown; the first row is its head."""
    head, *body = [[md(cell) for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]


def md(text: str) -> str:
    """A text that Markdown shows as it is, in one line: no markup, no HTML, no link, nothing hidden."""
    text = SIGNS.sub(r"\\\g<0>", visible(text).strip())
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("://", "\\://"), ("www.", "www\\.")):
        text = text.replace(sign, shown)
    return START.sub(r"\g<1>\\\g<2>", " ".join(text.split()))


def xml(text: str) -> str:
    """A text in one line without the characters that XML does not have, nor hidden ones."""
    return "".join(
        c if " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "\ufffd" for c in visible(text)
    )
