"""Objects of an S3-compatible store: each is a file, loaded once; one that changes is another state of that file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from metrics_py.comparison.folders import is_hidden
from metrics_py.comparison.text_files import format_of
from sightline.durable import naming
from sightline.errors import SightlineError
from sightline.lake.fetch.object_store import client_of, keys_of, told
from sightline.lake.fetch.reading import Piece, package
from sightline.spec.kinds import read_sample
from sightline.spec.source_sections import S3

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~", "/")
CHUNK = 1 << 20
WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Found:
    """An object as the store lists it."""

    key: str
    tag: str
    size: int
    written_at: datetime


class ObjectReader:
    """Reads the objects of a glob or prefix; see `sightline.lake.fetch.reading.Reader`."""

    def __init__(self, given: S3, where: str) -> None:
        keys = keys_of(given, where)
        self.given, self.where = given, where
        self.secrets: Collection[str] = keys.secrets
        self.place = given.uri if not given.endpoint else f"{given.uri} at {given.endpoint}"
        self.client = client_of(given, keys, where)
        self.errors = package("botocore.exceptions", "s3", where)
        self.bucket, _, self.pattern = given.uri.removeprefix("s3://").partition("/")
        self.known: Mapping[str, str] = {}
        self.present: Collection[str] | None = None
        self.loaded: Sequence[Mapping[str, Any]] = ()

    def columns(self) -> dict[str, str]:
        """Columns of the newest object."""
        objects = [found for found in self._listed() if format_of(found.key)]
        if not objects:
            return {}
        newest = max(objects, key=lambda found: found.written_at)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / _tail(newest.key)
            self._download(newest, file)
            frame = read_sample(file)
        return {name: str(dtype) for name, dtype in frame.schema.items()}

    def read(self, state: Mapping[str, Any]) -> Generator[Piece]:
        """Objects that were not read in their state of now, oldest first."""
        listed = list(self._listed())
        for found in sorted(listed, key=lambda found: (found.written_at, found.key)):
            origin = f"s3://{self.bucket}/{found.key}"
            if "listed" in state and self.known.get(origin) == f"{found.size}:{found.tag}":
                continue
            form = format_of(found.key)
            yield Piece(
                {"listed": True},
                origin,
                form or "unsupported",
                _tail(found.key),
                partial(self._download, found) if form else Path.touch,
                signature=found.tag,
                received_at=found.written_at,
                size=found.size,
            )
        self.present = [f"s3://{self.bucket}/{found.key}" for found in listed]

    def _listed(self) -> Iterator[Found]:
        wanted = _pattern(self.pattern)
        prefix = MAGIC.split(self.pattern, maxsplit=1)[0]
        fixed = prefix.rpartition("/")[0]
        try:
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                for entry in page.get("Contents", ()):
                    key = entry["Key"]
                    parts = key[len(fixed) :].split("/")
                    if wanted.fullmatch(key) and not key.endswith(UNFINISHED) and not any(map(is_hidden, parts)):
                        moment = entry["LastModified"].astimezone(UTC)
                        yield Found(key, entry["ETag"].strip('"'), entry["Size"], moment)
        except (self.errors.ClientError, self.errors.BotoCoreError) as error:
            raise told(error, f"{self.where} ({self.place})") from error

    def _download(self, found: Found, file: Path) -> bool:
        """Write an object to a file; False if it is no longer as it was listed: the next look sees what it is now."""
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=found.key, IfMatch=f'"{found.tag}"')
            with file.open("wb") as target:
                for chunk in answer["Body"].iter_chunks(CHUNK):
                    with naming(file):
                        target.write(chunk)
        except self.errors.ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412", "NoSuchKey", "404"):
                return False
            raise told(error, f"{self.where} (s3://{self.bucket}/{found.key})") from error
        except self.errors.BotoCoreError as error:
            raise told(error, f"{self.where} (s3://{self.bucket}/{found.key})") from error
        if file.stat().st_size != found.size:
            what = f"the store sent {file.stat().st_size:,} of {found.size:,} bytes"
            raise SightlineError(what, where=f"{self.where} (s3://{self.bucket}/{found.key})", fix="it is tried again")
        return True


def _tail(key: str) -> str:
    return key.rpartition("/")[2]


def _pattern(text: str) -> re.Pattern[str]:
    """A glob, or a prefix: what ends with no slash is an object's own name as well.

    Examples
    --------
    >>> [bool(_pattern("a/**/*.csv").fullmatch(key)) for key in ("a/x.csv", "a/b/c/x.csv", "a/x.parquet")]
    [True, True, False]
    >>> [bool(_pattern("a").fullmatch(key)) for key in ("a", "a/x.csv", "ab.csv")]
    [True, True, False]
    """
    if not MAGIC.search(text):
        base = re.escape(text.rstrip("/"))
        return re.compile(f"{base}(/.*)?" if base else ".*", re.DOTALL)
    words: list[str] = []
    for part in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", text, re.DOTALL):
        if part.startswith("[") and len(part) > 1:
            inner = part[1:-1].replace("\\", "\\\\")
            words.append(f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]")
        else:
            words.append(WILDCARDS.get(part) or re.escape(part))
    return re.compile("".join(words), re.DOTALL)
