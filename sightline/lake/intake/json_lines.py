"""NDJSON files and JSON arrays to objects, some thousand at a time: a bad line costs itself, a long file no memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from sightline.home import Home
from sightline.lake.intake.chunks import MAX_PAYLOAD_BYTES, OBJECT_ROWS, BadRecord, UnreadableError, to_json
from sightline.lake.intake.sources import Batch
from sightline.lake.intake.unpack import blocks, pieces
from sightline.narrowing import Json

MAX_ARRAY = 256 << 20
"""Longest JSON array in bytes: it is one text, which has to be held whole."""
HOPELESS = 1_000
"""When so many first lines hold no object, the file is no NDJSON and is refused as a whole."""

BLANKS = re.compile(r"[ \t\r\n]*")

Rows = tuple[list[tuple[int, Any]], list[BadRecord]]
"""Objects with their numbers, and what is none."""


def object_rows(batch: Batch, home: Home, chunk_rows: int) -> Iterator[Rows]:
    """The objects of a file; at least one item, possibly empty.

    Raises
    ------
    UnreadableError
        The file is no text of JSON objects.
    """
    chunk_rows = min(chunk_rows, OBJECT_ROWS)
    found = _elements(batch, home, chunk_rows) if _is_array(batch, home) else _lines(batch, home, chunk_rows)
    first = 0
    for rows, bad in found:
        if not first and len(bad) >= HOPELESS and not rows:
            told = f"none of the first {len(bad)} lines is a JSON object: {bad[0].message}"
            raise UnreadableError("unreadable_file", told)
        first += len(rows) + len(bad)
        yield rows, bad
    if not first:
        yield [], []


def _is_array(batch: Batch, home: Home) -> bool:
    for piece in pieces(batch, home):
        if start := piece.lstrip()[:1]:
            return start == b"["
    return False


def _lines(batch: Batch, home: Home, chunk_rows: int) -> Iterator[Rows]:
    first = 0
    for block in blocks(batch, home):
        start = 0
        while start < len(block):
            end, seen = start, 0
            while seen < chunk_rows and end < len(block):
                found = block.find(b"\n", end)
                end = len(block) if found == -1 else found + 1
                seen += 1
            rows, bad = json_rows(block[start:end], first)
            first, start = first + len(rows) + len(bad), end
            if rows or bad:
                yield rows, bad


def json_rows(data: bytes, first: int) -> Rows:
    """Objects of some lines with their numbers, and the lines that are none."""
    items: list[tuple[int, Json]]
    try:
        items = list(enumerate(msgspec.json.Decoder().decode_lines(data), first))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        items = []
    bad: list[BadRecord] = []
    if not items:
        lines = [line for line in data.splitlines() if line.strip()]
        for number, line in enumerate(lines, first):
            try:
                element = json.loads(line)
                items.append((number, _text_or_fail(element) if b"\\u" in line else element))
            except (ValueError, RecursionError) as error:
                text = line[:MAX_PAYLOAD_BYTES].decode(errors="replace")
                bad.append(BadRecord(number, "corrupt_record", f"no JSON: {error}", text))
    return _sorted_out(items, bad)


def _sorted_out(items: list[tuple[int, Json]], bad: list[BadRecord]) -> Rows:
    rows = [(number, row) for number, row in items if isinstance(row, dict)]
    others = [(number, row) for number, row in items if not isinstance(row, dict)]
    return rows, bad + [BadRecord(n, "corrupt_record", "no JSON object", to_json(row)) for n, row in others]


def _elements(batch: Batch, home: Home, chunk_rows: int) -> Iterator[Rows]:
    """The elements of one JSON array, decoded one after the other: only the text is held whole."""
    held: list[bytes] = []
    size = 0
    for piece in pieces(batch, home):
        size += len(piece)
        if size > MAX_ARRAY:
            raise UnreadableError(
                "unreadable_file", f"a JSON array of more than {MAX_ARRAY:,} bytes: write one object per line"
            )
        held.append(piece)
    try:
        text = b"".join(held).decode()
        del held
        items: list[tuple[int, Json]] = []
        has_escapes = "\\u" in text
        for number, element in enumerate(_decoded(text)):
            items.append((number, _text_or_fail(element) if has_escapes else element))
            if len(items) >= chunk_rows:
                yield _sorted_out(items, [])
                items = []
        yield _sorted_out(items, [])
    except (ValueError, RecursionError) as error:
        raise UnreadableError("unreadable_file", f"no JSON array: {error}") from error


def _decoded(text: str) -> Iterator[Any]:
    """Elements of an array; ValueError where the text is none."""
    decode = json.JSONDecoder().raw_decode
    at = _skip(text, text.index("[") + 1)
    if text[at : at + 1] == "]":
        at = _skip(text, at + 1)
        if at < len(text):
            raise ValueError(f"text after the array, at {at}")
        return
    while True:
        element, at = decode(text, at)
        yield element
        at = _skip(text, at)
        sign = text[at : at + 1]
        at = _skip(text, at + 1)
        if sign == "]" and at == len(text):
            return
        if sign != ",":
            raise ValueError(f"neither a comma nor the end after the element that ends before {at}")


def _skip(text: str, at: int) -> int:
    """The next position that is no blank."""
    found = BLANKS.match(text, at)
    return found.end() if found else at


def _text_or_fail(element: Json) -> Json:
    """The element, if all its text is Unicode; ValueError for half a surrogate pair."""
    json.dumps(element, ensure_ascii=False).encode()
    return element


def json_field(batch: Batch, home: Home, column: str) -> list[Any] | None:
    """One field of every object of an NDJSON file, skipping over the others.

    None if a line needs the forgiving reader.
    """
    row = msgspec.defstruct("Row", [("value", Any, None)], rename={"value": column}, gc=False)
    decode = msgspec.json.Decoder(row).decode_lines
    values: list[Any] = []
    try:
        for block in blocks(batch, home):
            values += [value for (value,) in map(msgspec.structs.astuple, decode(block))]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return values
