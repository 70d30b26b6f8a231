"""JSON as some senders really write it, looked at only after the strict decoder has refused a text.

Python's ``json.dumps`` writes the literals NaN, Infinity and -Infinity, which JSON does not have, and escapes of lone
surrogates. The literals are read as the numbers they mean. Everything else that is wrong costs the row of an array that
holds it, not the array. All passes are linear in the length of the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from sightline.errors import SightlineError

_TOKENS = re.compile(
    rb"""
      (?: [^"NI\-]++                                              # what holds no literal,
        | "(?: [^"\\]++ | (?: \\(?! u[dD][89a-fA-F] ). )++ )*+"   # texts without surrogates,
        | (?! NaN | -?Infinity ) [NI\-]                           # and the letters a literal could begin with
      )++
    | (?P<literal> NaN | -?Infinity )
    | (?P<text> "(?: [^"\\]++ | (?: \\. )++ )*+"? )               # a text with surrogates, or one without an end
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = re.compile(rb"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)
_GAP = re.compile(rb"[\s,]*+")
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])

MAX_ROWS = 10_000
"""More rows than this are refused before anything is made of them, where each row is looked at on its own."""

MAX_LINES = 100_000
"""Lines of a body that is cut into lines, empty ones too."""

MAX_VALUES = 2_000_000
"""Values of a document, counted by its commas and brackets before anything is made of it: a value that takes two bytes
there may take a hundred in memory, an object of seven bytes 250, so that its brace counts for four."""

MAX_ROW_VALUES = 200_000
"""Values of a row; one that has more is rejected unread."""

MAX_LENIENT_BYTES = 2 * 1024 * 1024
"""What is no JSON in the strict sense is looked at character by character only up to this length."""


class TooMuchError(SightlineError):
    """A document would cost too much: with fewer rows in it, it may be taken."""

    def __init__(self, what: str, where: str | None = None) -> None:
        super().__init__(what, where=where, fix="send fewer rows per request")


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `decode` and `elements` raise."""


def decode(text: bytes) -> Any:
    """The value of a JSON text, with NaN, Infinity and -Infinity as numbers.

    Raises
    ------
    msgspec.DecodeError, UnicodeDecodeError, RecursionError
        It is no JSON apart from these literals, is not in UTF-8, or is nested too deeply.
    TooMuchError
        It has more than `MAX_VALUES`, or is no strict JSON and longer than `MAX_LENIENT_BYTES`.
    """
    check_values(text)
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        strict = _without_literals(text)
        if strict == text:
            raise
    msgspec.json.decode(strict)  # the standard library takes more than JSON: only the literals are let through
    try:
        return json.loads(text.decode())
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None


def check_rows(number: int, where: str) -> None:
    """Refuse a body of too many rows.

    Raises
    ------
    TooMuchError
        There are more than `MAX_ROWS`.
    """
    if number > MAX_ROWS:
        raise TooMuchError(f"{number} rows; at most {MAX_ROWS}", where)


def check_values(text: bytes) -> None:
    """Refuse a document of too many values before anything is made of it.

    Raises
    ------
    TooMuchError
        There are more than `MAX_VALUES` commas and brackets.
    """
    if has_more_values(text, MAX_VALUES):
        raise TooMuchError(f"the body holds more than {MAX_VALUES} values")


def has_more_values(text: bytes, limit: int) -> bool:
    """Whether a document has more than `limit` values, as `MAX_VALUES` counts them."""
    if len(text) <= limit // 4:
        return False
    number = 0
    for mark, weight in ((b",", 1), (b"[", 1), (b"{", 4)):
        number += weight * text.count(mark)
        if number > limit:
            return True
    return False


def has_long_rows(text: bytes, is_lines: bool) -> bool:
    """Whether a row of a body, an element of an array or a line, has more than `MAX_ROW_VALUES`.

    A body whose rows cannot be told apart has none.

    Raises
    ------
    TooMuchError
        It has more than `MAX_VALUES` or `MAX_LINES`.
    """
    if not has_more_values(text, MAX_ROW_VALUES):
        return False
    check_values(text)
    rows: Iterable[bytes | msgspec.Raw] = [text]
    if is_lines:
        rows = lines(text)
    elif text.lstrip()[:1] == b"[":
        try:
            rows = _ELEMENTS.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
    return any(
        has_more_values(bytes(row), MAX_ROW_VALUES) for row in rows if memoryview(row).nbytes > MAX_ROW_VALUES // 4
    )


def lines(body: bytes) -> list[bytes]:
    """The lines of a body.

    Raises
    ------
    TooMuchError
        There are more than `MAX_LINES`.
    """
    if body.count(b"\n") > MAX_LINES:
        raise TooMuchError(f"the body has more than {MAX_LINES} lines")
    return body.split(b"\n")


def elements(text: bytes) -> list[bytes]:
    """The elements of a JSON array, each as it was sent; they need not be sound themselves.

    Raises
    ------
    TooMuchError
        There are more than `MAX_ROWS` or `MAX_VALUES`, or it is no strict JSON and longer than `MAX_LENIENT_BYTES`.
    msgspec.DecodeError, UnicodeDecodeError, RecursionError
        The text is no array, or what is wrong does not let its elements be told apart.
    """
    check_values(text)
    try:
        raw, shape = _ELEMENTS.decode(text), text
    except (msgspec.DecodeError, UnicodeDecodeError):
        shape = _without_literals(text, surrogates=True)
        if shape == text:
            raise
        raw = _ELEMENTS.decode(shape)
    check_rows(len(raw), "body")
    if shape is text:
        return [bytes(element) for element in raw]
    found: list[bytes] = []
    position = shape.index(b"[") + 1
    for element in raw:  # of the same length, and at the same place, as what was sent
        gap = _GAP.match(text, position)
        start = position if gap is None else gap.end()
        position = start + memoryview(element).nbytes
        found.append(text[start:position])
    return found


def _without_literals(text: bytes, *, surrogates: bool = False) -> bytes:
    """The text with zeros of the same length for the literals (and another character for surrogates)."""
    if len(text) > MAX_LENIENT_BYTES:
        what = f"the body is no strict JSON; what is none may be {MAX_LENIENT_BYTES} bytes long"
        raise TooMuchError(what)

    def replace(match: re.Match[bytes]) -> bytes:
        token = match[0]
        if match.lastgroup == "literal":
            return b"-0.000000" if token[:1] == b"-" else b"0." + b"0" * (len(token) - 2)
        if match.lastgroup == "text" and surrogates:
            return _ESCAPES.sub(_harmless, token)
        return token

    return _TOKENS.sub(replace, text)


def _harmless(match: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if len(match[0]) == len(rb"\ufffd") else match[0]
