"""Files by the ending of their name, and the bytes of text files: plain or packed, in bounded memory."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
}
"""File endings and the formats they stand for, on every path: landing, reference, evaluation, comparison, test."""
PACKED = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
"""Further endings that text formats may have, and how such files begin."""
PIECE = 1 << 20
MAX_UNPACKED = 8 << 30
"""A packed file may unpack to this many bytes."""
MAX_RATIO, RATIO_FROM = 250, 64 << 20
"""From so many unpacked bytes on, they may be at most so many times the packed ones: text rarely exceeds 50."""


def format_of(name: str) -> str | None:
    """Format of a file by the ending of its name.

    Parameters
    ----------
    name : str
        Name of a file.

    Returns
    -------
    str or None
        As of `FORMATS`.

    Examples
    --------
    >>> format_of("a.CSV.gz"), format_of("a.tsv.zst"), format_of("a.parquet.gz")
    ('csv', 'csv', None)
    """
    stem, packing = unpacked_name(name)
    kind = FORMATS.get(Path(stem).suffix)
    return None if packing and kind == "parquet" else kind


def unpacked_name(name: str) -> tuple[str, str]:
    """A file's name in small letters without the ending of its packing, and that ending.

    Parameters
    ----------
    name : str
        Name of a file.

    Returns
    -------
    name : str
        Of the file when it is unpacked.
    packing : str
        One of `PACKED`, or empty.

    Examples
    --------
    >>> unpacked_name("A.csv.GZ"), unpacked_name("a.csv")
    (('a.csv', '.gz'), ('a.csv', ''))
    """
    name = name.lower()
    packing = next((ending for ending in PACKED if name.endswith(ending)), "")
    return name.removesuffix(packing), packing


def packing_of(file: str | Path) -> str:
    """How a text file is packed: by its name, or by how it begins.

    Parameters
    ----------
    file : str or Path
        A file that is there.

    Returns
    -------
    str
        One of `PACKED`, or empty.
    """
    if named := unpacked_name(Path(file).name)[1]:
        return named
    with Path(file).open("rb") as plain:
        start = plain.read(4)
    return next((ending for ending, magic in PACKED.items() if start.startswith(magic)), "")


def text_pieces(file: str | Path) -> Iterator[bytes]:
    """The bytes of a text file, unpacked, in pieces of at most a mebibyte.

    Parameters
    ----------
    file : str or Path
        A file that is there.

    Yields
    ------
    bytes
        At most `PIECE` of them.

    Raises
    ------
    OSError
        The packing is damaged, ends too early, or unpacks to more than any honest table does.
    """
    packing, packed = packing_of(file), Path(file).stat().st_size
    try:
        if packing == ".gz":
            with gzip.open(file, "rb") as stream:
                yield from _bounded(stream.read, packed)
        elif packing == ".zst":
            with _unpacked_zstd(Path(file)) as read:
                yield from _bounded(read, packed)
        else:
            with Path(file).open("rb") as stream:
                while piece := stream.read(PIECE):
                    yield piece
    except (EOFError, zlib.error) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


@contextmanager
def _unpacked_zstd(file: Path) -> Generator[Callable[[int], bytes]]:
    """A function that reads so many unpacked bytes; OSError where a frame is damaged or ends too early."""
    import pyarrow as pa

    arrow = cast("Any", pa)  # pyarrow has no types
    with file.open("rb") as raw, arrow.CompressedInputStream(raw, "zstd") as stream:
        yield stream.read


def _bounded(read: Callable[[int], bytes], packed: int) -> Iterator[bytes]:
    total = 0
    while piece := read(PIECE):
        total += len(piece)
        if total > MAX_UNPACKED or (total > RATIO_FROM and total > MAX_RATIO * max(packed, 1)):
            raise OSError(f"{packed:,} packed bytes unpack to more than {total:,}: no table does that")
        yield piece


@contextmanager
def unpacked(file: str | Path) -> Generator[Path]:
    """A text file as it is where it is plain, else a copy beside other temporary files.

    Parameters
    ----------
    file : str or Path
        A file that is there.

    Yields
    ------
    Path
        Of plain text, under a name with the same format.

    Raises
    ------
    OSError
        As of `text_pieces`.
    """
    if not packing_of(file):
        yield Path(file)
        return
    ending = Path(unpacked_name(Path(file).name)[0]).suffix
    with tempfile.NamedTemporaryFile(prefix="sightline-", suffix=ending) as target:
        for piece in text_pieces(file):
            target.write(piece)
        target.flush()
        yield Path(target.name)
