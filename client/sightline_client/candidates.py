"""A scored, labelled evaluation set of a candidate version: sent whole, or not at all.

Unlike logging this blocks and raises: it is called where models are trained, not where they serve.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import importlib.util
import io
import json
import os
import secrets
import time
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sightline_client.encoding import to_json
from sightline_client.errors import Refused, SightlineClientError, Unavailable
from sightline_client.transports import AGAIN_STATUSES, HttpTransport

MAX_BYTES = 512 * 1024 * 1024
LONGEST, LONGEST_BYTES = 128, 180
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.5, 10.0
NAME, FORMATS, TRAINING = "evaluation", ("parquet", "ndjson"), "training"


def check_version(version: Any) -> None:
    """Refuse what cannot name a version; the rules are those of the collector.

    Raises
    ------
    SightlineClientError
    """
    if not isinstance(version, str):
        raise SightlineClientError(f"a version is text, not {version!r}")
    size = len(version.encode("utf-8", "replace"))
    flaws = (
        (not version.strip(), "it is empty"),
        (not version.isprintable(), "it holds a character that cannot be seen"),
        (
            len(version) > LONGEST or size > LONGEST_BYTES,
            f"it is longer than {LONGEST} characters ({LONGEST_BYTES} bytes)",
        ),
        (any(sign in version for sign in "/\\,"), "it holds a slash, a backslash or a comma"),
        ("..." in version or version.startswith("."), "it begins with a dot or holds three of them"),
        (version != version.strip(), "it begins or ends with a space"),
        (version.lower().endswith(UNFINISHED), "it ends like a file that is still being copied"),
        (
            unicodedata.normalize("NFC", version) != version,
            "its accents are written apart from their letters (not in Unicode's form NFC)",
        ),
    )
    flaw = next((text for is_flawed, text in flaws if is_flawed), "")
    if flaw:
        raise SightlineClientError(f"{version[:40]!r} cannot name a version: {flaw}")


def to_file(rows: Any) -> tuple[bytes, str]:
    """Rows as the bytes of a file, and its format: Parquet where their library writes it, else NDJSON.

    Parameters
    ----------
    rows : Polars, pandas or Arrow table, path of a Parquet or NDJSON file, or iterable of mappings

    Raises
    ------
    SightlineClientError
        There is no row, or it is none of these.
    """
    if isinstance(rows, (str, os.PathLike)):
        return _of_path(Path(rows))
    library = type(rows).__module__.partition(".")[0]
    if library == "polars" and hasattr(rows, "collect"):
        rows = rows.collect()
    if library == "pandas":
        return _of_pandas(rows)
    if library == "polars" and hasattr(rows, "write_parquet"):
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        return _some(rows.height, buffer.getvalue()), "parquet"
    if hasattr(rows, "__arrow_c_stream__") or library == "pyarrow":
        return _of_arrow(rows), "parquet"
    try:
        found = list(rows)
    except TypeError as error:
        raise SightlineClientError(f"an evaluation set is a table or a list of mappings, not {type(rows)}") from error
    return _ndjson(found), "ndjson"


def _some(n_rows: int, content: bytes) -> bytes:
    if not n_rows:
        raise SightlineClientError("the evaluation set has no row")
    return content


def _of_path(path: Path) -> tuple[bytes, str]:
    forms = {".parquet": "parquet", ".pq": "parquet", ".ndjson": "ndjson", ".jsonl": "ndjson"}
    form = forms.get(path.suffix.lower())
    if form is None:
        raise SightlineClientError(f"{path}: an evaluation set is a Parquet or NDJSON file (.parquet, .ndjson)")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _too_large(size)
        return _some(size, path.read_bytes()), form
    except OSError as error:
        raise SightlineClientError(f"{path} cannot be read: {error.strerror}") from error


def _arrow() -> Any:
    """The pyarrow of the caller, whose tables these are: the client itself needs no package."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        what = "this table needs pyarrow to be written: install it, or give a Polars table or a list of mappings"
        raise SightlineClientError(what) from error


def _of_arrow(rows: Any) -> bytes:
    pa, pq = _arrow(), importlib.import_module("pyarrow.parquet")
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else pa.table(rows)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return _some(table.num_rows, buffer.getvalue())


def _of_pandas(rows: Any) -> tuple[bytes, str]:
    """Parquet where pyarrow is there and knows the types, else NDJSON. NaN is missing, the index left out."""
    if not hasattr(rows, "columns"):
        raise SightlineClientError("an evaluation set has columns: give a DataFrame, not a Series")
    rows = rows.rename(columns=str)
    if importlib.util.find_spec("pyarrow") is not None:
        pa = _arrow()
        try:
            return _of_arrow(pa.Table.from_pandas(rows, preserve_index=False)), "parquet"
        except pa.ArrowException:  # columns of several types: JSON holds them
            pass
    return _ndjson(rows.astype(object).where(rows.notna(), None).to_dict("records")), "ndjson"


def _ndjson(rows: list[Any]) -> bytes:
    for k, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise SightlineClientError(f"row {k} of the evaluation set is no mapping but {type(row)}")
    return _some(len(rows), b"".join(to_json(dict(row)) + b"\n" for row in rows))


def _too_large(size: int) -> SightlineClientError:
    what = f"the evaluation set has {size:,} bytes, at most {MAX_BYTES:,} are taken"
    return Refused(f"{what}: send fewer rows or columns, or put the file into landing/candidates/<version>/")


def send(transport: HttpTransport, version: str, content: bytes, form: str, patience: float) -> dict[str, Any]:
    """Bring a file to the collector: only the parts that it lacks, then it lands whole.

    Parameters
    ----------
    transport : HttpTransport
        The collector.
    version, form : str
    content : bytes
    patience : float
        Seconds for which an unreachable or overloaded collector is asked again, between two answers.

    Raises
    ------
    Unavailable
        It stayed away for so long; what it has is kept, and the next call goes on from there.
    Refused
        It does not take the set.
    """
    if len(content) > MAX_BYTES:
        raise _too_large(len(content))
    about = {
        "version": version, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "format": form,
    }  # fmt: skip
    there = _ask(transport, "GET", about, b"", patience)
    if there.get("landed"):
        return {**about, "landed": True, "sent_bytes": 0}
    size, known, n_sent = int(there["part_bytes"]), set(there["parts"]), 0
    for part in range(-(-len(content) // size)):
        if part not in known:
            body = content[part * size : (part + 1) * size]
            _ask(transport, "POST", {**about, "part": part}, body, patience)
            n_sent += len(body)
    _ask(transport, "POST", about, b"", patience)
    return {**about, "landed": True, "sent_bytes": n_sent}


def _ask(transport: HttpTransport, method: str, about: dict[str, Any], body: bytes, patience: float) -> dict[str, Any]:
    headers = {"Content-Type": "application/octet-stream"}
    if body and about["format"] == "ndjson":
        body, headers["Content-Encoding"] = gzip.compress(body, 6), "gzip"
    deadline, wait = time.monotonic() + patience, FIRST_WAIT_SECONDS
    while True:
        try:
            status, retry_after, answer = transport.ask(method, "candidates?" + urlencode(about), body, headers)
            if status == 200:
                return _answer(answer)
            text = f"{transport.url} answered {status}: {answer[:300].decode('utf-8', 'replace').strip()}"
            if status not in AGAIN_STATUSES:
                raise Refused(text)
            raise Unavailable(text, retry_after)
        except Unavailable as error:
            pause = wait if error.retry_after is None else min(max(error.retry_after, wait), MAX_WAIT_SECONDS)
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
            wait = min(2 * wait, MAX_WAIT_SECONDS)


def _answer(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError as error:
        raise Refused(f"the answer is not a collector's: {answer[:200]!r}") from error
    if not isinstance(found, dict):
        raise Refused(f"the answer is not a collector's: {answer[:200]!r}")
    return found


def put(home: Path, monitor: str, version: str, content: bytes, form: str) -> dict[str, Any]:
    """Put a file into a home folder on this machine: readers see all of it or nothing."""
    folder = home / "data" / monitor / "landing" / "candidates" / version
    file = folder / f"{NAME}.{form}"
    beside = folder / f".{NAME}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    own = {f"{NAME}.{each}" for each in FORMATS}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [each.name for each in folder.iterdir()]
        others = sorted(n for n in names if n not in own and n[0] not in "._" and n.partition(".")[0] != TRAINING)
        if others:
            raise Refused(f"{folder} holds a file that was put there by hand: {others[0]!r}")
        with beside.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        for name in own - {file.name}:
            if (folder / name).exists():
                (folder / name).unlink()
        beside.replace(file)
    except OSError as error:
        raise Unavailable(f"cannot write {file}: {error.strerror}") from error
    finally:
        if beside.exists():
            beside.unlink()
    digest = hashlib.sha256(content).hexdigest()
    return {"version": version, "sha256": digest, "bytes": len(content), "format": form, "landed": True}
