"""A Delta table, version by version: the files that each version adds, but not those that it only writes anew.

The first look reads the table as it is; later ones read the commits since. Files that compaction writes hold rows that
are known (``dataChange: false``) and are left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import polars as pl

from sightline.arrow import from_arrow
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.fetch.object_store import keys_of
from sightline.lake.fetch.reading import Needs, Piece, package
from sightline.lake.fetch.table_steps import Position, Step, lost, pieces
from sightline.spec.source_sections import Delta, ObjectStore

READ_ROWS = 65_536


@dataclass(frozen=True)
class DataFile:
    """A file of the table, with the values its folder stands for; `kept` marks the rows that are not deleted."""

    path: str
    partition: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    kept: Sequence[bool] | None = None


class DeltaReader:
    """Reads a Delta table on from a version; see `sightline.lake.fetch.reading.Reader`."""

    def __init__(self, given: Delta, where: str, home: Home, needs: Needs) -> None:
        self.given, self.where, self.needs = given, where, needs
        self.deltalake = package("deltalake", "delta", where)
        self.pyarrow = package("pyarrow", "delta", where)
        self.secrets: Collection[str] = ()
        self.known: Mapping[str, str] = {}
        self.present: Collection[str] | None = None
        self.loaded: Sequence[Mapping[str, Any]] = ()
        self.options: dict[str, str] = {}
        self.uri = given.uri
        self.place = f"delta:{given.uri}"
        if given.uri.startswith("s3://"):
            self.place = f"delta:{given.uri.removeprefix('s3://')}"
            store = given.store or ObjectStore()
            keys = keys_of(store, where)
            self.secrets = keys.secrets
            self.options = _options(store, keys.access, keys.secret, keys.token)
        elif "://" not in given.uri:
            self.uri = str(home.root / given.uri)
        self.place = self.place.replace("delta:", "delta://", 1)

    def columns(self) -> dict[str, str]:
        """Columns of the table and their types."""
        return {name: str(dtype) for name, dtype in self._shape(self._table()).types.items()}

    def read(self, state: Mapping[str, Any]) -> Generator[Piece]:
        """Rows of the versions behind the cursor."""
        table, before = self._table(), dict(state)
        shape = self._shape(table)
        self.needs(list(shape.types))
        newest, identity = int(table.version()), str(table.metadata().id)
        if state and (state["id"] != identity or state["version"] > newest):
            what = f"version {state['version']} of another table was read, this one has version {newest}"
            raise self._lost(f"the table was replaced: {what}")
        frames = partial(self._frames, shape)
        under_way = state.get("pass")
        if not state or (under_way and under_way["is_whole"]):
            start = Position(**under_way) if under_way else Position(newest, is_whole=True)
            whole = Step(start, self._whole(start.step))
            yield from pieces([whole], frames, self._origin, {"id": identity, "version": -1})
            state = {"id": identity, "version": start.step}
            under_way = None
        start = Position(**under_way) if under_way else Position(state["version"] + 1)
        steps = [
            Step(start if version == start.step else Position(version), *self._added(version))
            for version in range(start.step, newest + 1)
        ]
        yield from pieces(steps, frames, self._origin, {"id": identity, "version": state["version"]})
        if {"id": identity, "version": newest} != before:
            yield Piece({"id": identity, "version": newest})

    def _origin(self, version: int) -> str:
        return f"{self.place}@v{version}"

    def _frames(self, shape: _Shape, step: Step, number: int) -> Iterator[tuple[pl.DataFrame, int]]:
        file: DataFile = step.files[number]
        n_read = 0
        for frame in self._rows(file):
            n_before, n_read = n_read, n_read + len(frame)
            kept = frame
            if file.kept is not None:
                marks = list(file.kept[n_before:n_read])
                kept = frame.filter(pl.Series(marks + [True] * (len(frame) - len(marks)), dtype=pl.Boolean))
            yield shape.fitted(kept, file.partition), n_read

    def _rows(self, file: DataFile) -> Iterator[pl.DataFrame]:
        parquet = package("pyarrow.parquet", "delta", self.where)
        try:
            with self._files().open_input_file(file.path) as opened:
                for batch in parquet.ParquetFile(opened).iter_batches(READ_ROWS):
                    yield from_arrow(batch)
        except FileNotFoundError as error:
            raise self._lost(f"its file {file.path} is gone: it was vacuumed before it was read") from error

    def _files(self) -> Any:
        handler = package("deltalake.fs", "delta", self.where).DeltaStorageHandler(self.uri, self.options or None)
        return package("pyarrow.fs", "delta", self.where).PyFileSystem(handler)

    def _whole(self, version: int) -> list[DataFile]:
        """Files of the table as it was at a version."""
        table = self._table(version)
        rows: list[dict[str, Any]] = self.pyarrow.table(table.get_add_actions(flatten=False)).to_pylist()
        deleted = self._deleted(table, {unquote(row["path"]) for row in rows})
        files: list[DataFile] = []
        for row in sorted(rows, key=lambda row: (row["modification_time"], row["path"])):  # later labels are later
            values: dict[str, Any] = row.get("partition") or {}
            path = unquote(row["path"])
            files.append(DataFile(path, {name: _text(value) for name, value in values.items()}, deleted.get(path)))
        return files

    def _deleted(self, table: Any, paths: Collection[str]) -> dict[str, list[bool]]:
        """File -> which of its rows are there still, for the files that have a deletion vector."""
        features: list[str] = table.protocol().reader_features or []
        if "deletionVectors" not in features:
            return {}
        rows = self.pyarrow.RecordBatchReader.from_stream(table.deletion_vectors()).read_all().to_pylist()
        marks: dict[str, list[bool]] = {}
        for row in rows:
            parts = unquote(str(row["filepath"])).split("/")
            tails = ("/".join(parts[first:]) for first in range(len(parts)))
            path = next((tail for tail in tails if tail in paths), None)
            if path is None:
                raise self._lost(f"deleted rows of a file that the table does not name: {parts[-1]}")
            marks[path] = row["selection_vector"]
        return marks

    def _added(self, version: int) -> tuple[list[DataFile], Counter[str]]:
        """Files with new rows of one commit, and what is counted of the rest."""
        name = f"_delta_log/{version:020d}.json"
        try:
            with self._files().open_input_stream(name) as opened:
                lines = opened.read().decode().splitlines()
        except FileNotFoundError as error:
            raise self._lost(f"the log of version {version} is gone: it was cleaned up before it was read") from error
        actions = [json.loads(line) for line in lines if line.strip()]
        removed = {action["remove"]["path"] for action in actions if "remove" in action}
        counts = Counter[str]()
        files: list[DataFile] = []
        for action in actions:
            metrics: dict[str, Any] = action.get("commitInfo", {}).get("operationMetrics") or {}
            for key in ("num_deleted_rows", "numDeletedRows", "numTargetRowsDeleted", "num_target_rows_deleted"):
                counts["rows_deleted_at_the_source"] += int(metrics.get(key) or 0)
            add = action.get("add")
            if add is None:
                continue
            if not add.get("dataChange", True):
                counts["files_compacted"] += 1
            elif add.get("deletionVector") and add["path"] in removed:
                counts["files_with_deleted_rows"] += 1
            elif add.get("deletionVector"):
                raise self._lost(f"version {version} adds a file of which rows are deleted already")
            else:
                files.append(DataFile(unquote(add["path"]), add.get("partitionValues") or {}))
        return files, +counts

    def _table(self, version: int | None = None) -> Any:
        errors = package("deltalake.exceptions", "delta", self.where)
        try:
            return self.deltalake.DeltaTable(self.uri, version=version, storage_options=self.options or None)
        except errors.TableNotFoundError as error:
            fix = "correct `uri`; it is the folder in which `_delta_log` lies"
            raise SightlineError("there is no Delta table", where=f"{self.where} ({self.place})", fix=fix) from error
        except (errors.DeltaError, OSError, ValueError) as error:
            if version is not None:
                raise self._lost(f"version {version} can no longer be read: {error}") from error
            text = " ".join(str(error).split())[:400]
            fix = "see whether the store is up, its keys are right and may list and read the table's folder"
            raise SightlineError(text, where=f"{self.where} ({self.place})", fix=fix) from error

    def _shape(self, table: Any) -> _Shape:
        schema = self.pyarrow.schema(table.schema().to_arrow())
        types = from_arrow(schema.empty_table()).schema
        fields = json.loads(table.schema().to_json())["fields"]
        physical = {f["name"]: f.get("metadata", {}).get("delta.columnMapping.physicalName", f["name"]) for f in fields}
        mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
        return _Shape(dict(types), physical if mode != "none" else {})

    def _lost(self, what: str) -> SightlineError:
        return lost(what, self.where, self.place)


@dataclass(frozen=True)
class _Shape:
    """Columns of the table, and their names in its files where these differ."""

    types: Mapping[str, Any]
    physical: Mapping[str, str]

    def fitted(self, frame: pl.DataFrame, partition: Mapping[str, str | None]) -> pl.DataFrame:
        """Rows of one file as rows of the table."""
        columns: list[pl.Series] = []
        for name, dtype in self.types.items():
            inside = self.physical.get(name, name)
            if inside in frame.columns:
                values = frame[inside]
                columns.append((values if values.dtype == dtype else values.cast(dtype)).alias(name))
            else:
                value = partition.get(inside, partition.get(name))
                columns.append(typed(value, dtype).new_from_index(0, len(frame)).alias(name))
        return pl.DataFrame(columns)


def typed(text: str | None, dtype: Any) -> pl.Series:
    """The value of a partition, which the log has as text, as one of its column's type."""
    if text is None or (text == "" and dtype != pl.String):
        return pl.Series([None], dtype=dtype)
    value = pl.Series([text], dtype=pl.String)
    if dtype == pl.Boolean:
        return value.str.to_lowercase() == "true"
    if dtype == pl.Binary:
        return value.cast(pl.Binary)
    if dtype == pl.Date:
        return value.str.to_date("%Y-%m-%d")
    if isinstance(dtype, pl.Datetime):
        moment = value.str.replace("T", " ", literal=True).str.strip_suffix("Z")
        times = moment.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us")
        return times.dt.replace_time_zone(dtype.time_zone).cast(dtype)
    return value.cast(dtype)


def _text(value: Any) -> str | None:
    """A partition's value as the log writes it."""
    if value is None:
        return None
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _options(store: ObjectStore, access: str, secret: str, token: str) -> dict[str, str]:
    options = {"AWS_REGION": store.region, "timeout": "30s", "connect_timeout": "10s", "max_retries": "2"}
    if store.endpoint:
        options |= {"AWS_ENDPOINT_URL": store.endpoint, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false"}
        options |= {"AWS_ALLOW_HTTP": "true"} if store.endpoint.startswith("http://") else {}
    if store.anonymous:
        return {**options, "AWS_SKIP_SIGNATURE": "true"}
    options |= {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
    return {**options, "AWS_SESSION_TOKEN": token} if token else options
