"""Names and values of data in messages: no mark-up, no mentions, no line breaks, no endless text."""

from __future__ import annotations

import json
import re
import unicodedata

MAX_CHARS = 300
"""A single value in a message is cut after so many characters."""
BREAK = "\u200b"
"""A space without width: it keeps words from being read as a mention or an address."""
_GONE = {"Cc", "Cf", "Cs", "Co", "Cn"}
_SPACES = {"Zl", "Zp"}
_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all|group|online)\b)|(?<=<)(?=[@!#&])", re.IGNORECASE)
_LINK = re.compile(r"(?<=:)(?=//)|(?<=\bwww)(?=\.)|(?<=\bmailto)(?=:)", re.IGNORECASE)
_SLACK = re.compile(r"[*~`]|(?<!\w)_|_(?!\w)")
"""What makes words bold, struck, code or italic; within a word an underscore does nothing, and commands have many."""
_MARKDOWN = re.compile(r"([\\`*_\[\]()#|~!])")


class Safe(str):
    """Text that is written as it is: an address of our own, or what was escaped already."""

    __slots__ = ()


def tame(value: object) -> str:
    r"""A value as one line of harmless text, in no mark-up.

    Examples
    --------
    >>> tame("a\nb\x1b[31m"), len(tame("x" * 1000))
    ('a b[31m', 300)
    >>> tame("@everyone") == "@everyone", tame("ops@example.com")
    (False, 'ops@example.com')
    """
    text = str(value)[: 4 * MAX_CHARS]
    spaced = "".join(" " if c.isspace() or unicodedata.category(c) in _SPACES else c for c in text)
    clean = "".join(c for c in spaced if unicodedata.category(c) not in _GONE)
    line = " ".join(clean.split())
    line = line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1] + "…"
    return _LINK.sub(BREAK, _MENTION.sub(lambda found: found[0] + BREAK, line))


def plain(value: object) -> str:
    """For plain text."""
    return str(value) if isinstance(value, Safe) else tame(value)


def markdown(value: object) -> str:
    r"""For Markdown, also where HTML is made of it.

    Examples
    --------
    >>> markdown("[a](b) <b>")
    '\\[a\\]\\(b\\) &lt;b&gt;'
    """
    if isinstance(value, Safe):
        return str(value)
    text = tame(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)


def slack(value: object) -> str:
    r"""For a text of Slack's blocks, inside of a JSON string.

    Examples
    --------
    >>> slack('<!channel> "x"')
    '&lt;\u200b!channel&gt; \\"x\\"'
    >>> slack("*b* a_b") == "*b* a_b", slack("a_b")
    (False, 'a_b')
    """
    text = str(value) if isinstance(value, Safe) else tame(value)
    if not isinstance(value, Safe):
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        text = _SLACK.sub(lambda found: BREAK + found[0] + BREAK, text)
    return json.dumps(text, ensure_ascii=False)[1:-1]
