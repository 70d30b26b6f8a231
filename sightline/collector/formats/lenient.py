"""JSON as some senders really write it, looked at only after the strict decoder has refused a text.

Python's ``json.dumps`` writes the literals NaN, Infinity and -Infinity, which JSON does not have, and escapes of lone
surrogates. The literals are read as the numbers they mean. Everything else that is wrong costs the row of an array that
holds it, not the array. All passes are linear in the length of the text.
"""

from __future__ import annotations

import json
import re
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

MAX_ROWS = 100_000
"""More rows than this are refused before anything is made of them, where each row is looked at on its own."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `decode` and `elements` raise."""


def decode(text: bytes) -> Any:
    """The value of a JSON text, with NaN, Infinity and -Infinity as numbers.

    Raises
    ------
    msgspec.DecodeError, UnicodeDecodeError, RecursionError
        It is no JSON apart from these literals, is not in UTF-8, or is nested too deeply.
    """
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
    SightlineError
        There are more than `MAX_ROWS`.
    """
    if number > MAX_ROWS:
        raise SightlineError(f"{number} rows; at most {MAX_ROWS}", where=where, fix="send fewer rows per request")


def elements(text: bytes) -> list[bytes]:
    """The elements of a JSON array, each as it was sent; they need not be sound themselves.

    Raises
    ------
    SightlineError
        There are more than `MAX_ROWS`.
    msgspec.DecodeError, UnicodeDecodeError, RecursionError
        The text is no array, or what is wrong does not let its elements be told apart.
    """
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
