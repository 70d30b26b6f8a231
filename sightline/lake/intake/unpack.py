"""The bytes of text files, plain or compressed, in bounded memory: a block of whole lines at a time.

What no honest table does is refused before it costs memory: a line without an end, few bytes that unpack to gigabytes.
"""

from __future__ import annotations

import codecs
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from metrics_py.comparison.text_files import packing_of, text_pieces, unpacked_name
from sightline.home import Home
from sightline.lake.intake.chunks import UnreadableError
from sightline.lake.intake.sources import Batch

BLOCK = 8 << 20
"""Bytes of whole lines that are looked at together."""
MAX_LINE = 16 << 20
"""Longest line, in bytes."""


def pieces(batch: Batch, home: Home) -> Iterator[bytes]:
    """The file's text, unpacked, in pieces of at most a mebibyte.

    Raises
    ------
    UnreadableError
        The packing is damaged, or unpacks to more than any honest table.
    """
    try:
        yield from text_pieces(batch.file(home))
    except OSError as error:
        raise UnreadableError("unreadable_file", f"{type(error).__name__}: {error}") from error


def blocks(batch: Batch, home: Home) -> Iterator[bytes]:
    """The same as blocks of whole lines, about `BLOCK` bytes each; blocks of nothing but blanks are left out.

    Raises
    ------
    UnreadableError
        Also when a line is longer than `MAX_LINE`.
    """
    held: list[bytes] = []
    size = open_size = 0
    for piece in pieces(batch, home):
        if not held and piece.isspace():
            continue
        held.append(piece)
        size += len(piece)
        last = piece.rfind(b"\n")
        open_size = open_size + len(piece) if last == -1 else len(piece) - last - 1
        if open_size > MAX_LINE:
            raise UnreadableError("unreadable_file", f"a line is longer than {MAX_LINE:,} bytes")
        if size >= BLOCK and last != -1:
            text = b"".join(held)
            end = len(text) - open_size
            yield text[:end]
            held, size = [text[end:]] if open_size else [], open_size
    if held:
        yield b"".join(held)


@contextmanager
def plain(batch: Batch, home: Home) -> Generator[Batch]:
    """The batch of a text file as Polars may read it: unpacked beside the monitors' data, no line without an end."""
    file = batch.file(home)
    if not packing_of(file):
        _no_endless_line(batch, home)
        yield batch
        return
    home.data.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(Path(unpacked_name(file.name)[0]).suffix, ".unpacked-", home.data)
    try:
        with os.fdopen(handle, "wb") as target:
            for block in blocks(batch, home):
                target.write(block)
        yield replace(batch, path=name, copy="")
    finally:
        Path(name).unlink(missing_ok=True)


def _no_endless_line(batch: Batch, home: Home) -> None:
    open_size = 0
    for piece in pieces(batch, home):
        last = piece.rfind(b"\n")
        open_size = open_size + len(piece) if last == -1 else len(piece) - last - 1
        if open_size > MAX_LINE:
            raise UnreadableError("unreadable_file", f"a line is longer than {MAX_LINE:,} bytes")


def is_utf8(batch: Batch, home: Home) -> bool:
    """Whether all of a text file is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in pieces(batch, home):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
