"""What is known of the data of an evaluation: file, hash, rows, period."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import polars as pl

from sightline.evaluation.sets.rows import Candidate, labelled
from sightline.warehouse.reference_data import EPOCH


@dataclass(frozen=True)
class Facts:
    """The data of an evaluation.

    Attributes
    ----------
    sha256 : str
        Of the file's bytes; of a folder that of the lines ``<sha256>  <name>`` of its files, sorted by name.
    n_bytes, n_files : int
    n_rows, n_labelled, n_rejected, n_bad_labels, n_repeated : int
        Rows read, those with a label of their own, those that could not be read, labels that could not be read, rows
        that are equal to one above.
    first_at, last_at : datetime or None
        Earliest and latest prediction (UTC); None where the file has no times.
    evaluated_at : datetime
    """

    sha256: str
    n_bytes: int
    n_files: int
    n_rows: int
    n_labelled: int
    n_rejected: int
    n_bad_labels: int
    n_repeated: int
    first_at: datetime | None
    last_at: datetime | None
    evaluated_at: datetime

    def told(self) -> list[tuple[str, str]]:
        """Name and text of each, for people."""
        files = f" of {self.n_files} files" if self.n_files > 1 else ""
        rows = [f"{self.n_rows:,} read", f"{self.n_labelled:,} with a label of their own"]
        rows += [f"{self.n_rejected:,} refused"] if self.n_rejected else []
        rows += [f"{self.n_repeated:,} repeated"] if self.n_repeated else []
        rows += [f"{self.n_bad_labels:,} with a label that cannot be read"] if self.n_bad_labels else []
        period = "the file has no times"
        if self.first_at is not None and self.last_at is not None:
            period = f"{_moment(self.first_at)} to {_moment(self.last_at)}"
        return [
            ("rows", ", ".join(rows)),
            ("predictions from", period),
            ("SHA-256", f"{self.sha256}{files} ({self.n_bytes:,} bytes)"),
            ("evaluated at", _moment(self.evaluated_at)),
        ]

    def numbers(self) -> dict[str, Any]:
        """The same for machines; times are ISO 8601 in UTC."""
        found = asdict(self)
        del found["evaluated_at"]
        for name in ("first_at", "last_at"):
            moment = found[name]
            found[name] = None if moment is None else f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
        return found


def facts_of(candidate: Candidate, file: Path, now: datetime) -> Facts:
    """Facts of a candidate that was read from a file or folder.

    Parameters
    ----------
    candidate : Candidate
    file : Path
    now : datetime
        When it is evaluated.
    """
    files = sorted(each for each in file.rglob("*") if each.is_file()) if file.is_dir() else [file]
    digests = [_digest(each) for each in files]
    digest = digests[0]
    if file.is_dir():
        lines = (f"{d}  {f.relative_to(file).as_posix()}\n" for d, f in zip(digests, files, strict=True))
        digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    frame = candidate.frame
    times = frame["predicted_at"].drop_nulls() if "predicted_at" in frame.columns else pl.Series([], dtype=pl.Datetime)
    first, last = (_aware(cast("datetime | None", each)) for each in (times.min(), times.max()))
    if first == last == EPOCH:  # what stands for times where there are none
        first = last = None
    return Facts(
        digest,
        sum(each.stat().st_size for each in files),
        len(files),
        len(frame),
        len(labelled(frame)),
        candidate.n_rejected,
        candidate.n_bad_labels,
        candidate.n_repeated,
        first,
        last,
        now,
    )


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
