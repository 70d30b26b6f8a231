"""An Iceberg table, snapshot by snapshot: the files that each adds, but not those that compaction writes anew.

The first look reads the table as it is; later ones walk from the snapshot that was read to the current one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from sightline.arrow import from_arrow
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.fetch.reading import Needs, Piece, package, secret
from sightline.lake.fetch.table_steps import Position, Step, lost, pieces
from sightline.spec.source_sections import Iceberg

DEFAULTS = {"s3.connect-timeout": "10", "s3.request-timeout": "30"}
EMPTY = 0
"""Stands for the snapshot of a table that has none yet."""

_catalogues: dict[tuple[object, ...], Any] = {}


class IcebergReader:
    """Reads an Iceberg table on from a snapshot; see `sightline.lake.fetch.reading.Reader`."""

    def __init__(self, given: Iceberg, where: str, home: Home, needs: Needs) -> None:
        self.given, self.where, self.needs, self.home = given, where, needs, home
        self.module = package("pyiceberg.catalog", "iceberg", where)
        hidden = {name: secret(variable, where=where) for name, variable in given.properties_env.items()}
        self.secrets: Collection[str] = tuple(hidden.values())
        self.place = f"iceberg://{given.catalog}/{given.table}"
        self.properties = {name: self._at_home(name, value) for name, value in given.properties.items()} | hidden
        self.known: Mapping[str, str] = {}
        self.present: Collection[str] | None = None
        self.loaded: Sequence[Mapping[str, Any]] = ()

    def columns(self) -> dict[str, str]:
        """Columns of the table and their types."""
        return {one.name: str(one.field_type) for one in self._table().schema().fields}

    def read(self, state: Mapping[str, Any]) -> Generator[Piece]:
        """Rows of the snapshots behind the cursor."""
        table = self._table()
        self.needs([one.name for one in table.schema().fields])
        newest = int(table.metadata.current_snapshot_id or EMPTY)
        identity, before = str(table.metadata.table_uuid), dict(state)
        if state and state["id"] != identity:
            raise self._lost("the table was dropped and created anew: another one was read")
        frames, under_way = partial(self._frames, table), state.get("pass")
        if not state or (under_way and under_way["is_whole"]):
            start = Position(**under_way) if under_way else Position(newest, is_whole=True)
            whole = Step(start, self._whole(table, start.step))
            yield from pieces([whole], frames, self._origin, {"id": identity, "snapshot": EMPTY})
            state, under_way = {"id": identity, "snapshot": start.step}, None
        read = int(state["snapshot"])
        base = {"id": identity, "snapshot": read}
        start = Position(**under_way) if under_way else None
        steps = [
            Step(start if start and start.step == snapshot.snapshot_id else Position(snapshot.snapshot_id), *found)
            for snapshot in self._since(table, newest, read)
            for found in [self._added(table, snapshot)]
        ]
        numbers = [step.start.step for step in steps]
        if start is not None and start.step in numbers:
            steps = steps[numbers.index(start.step) :]
        yield from pieces(steps, frames, self._origin, base)
        if {"id": identity, "snapshot": newest} != before:
            yield Piece({"id": identity, "snapshot": newest})

    def _origin(self, snapshot: int) -> str:
        return f"{self.place}@{snapshot}"

    def _at_home(self, name: str, value: str) -> str:
        """Relative paths start at the home folder."""
        if name == "uri" and value.startswith("sqlite:///") and not value.startswith("sqlite:////"):
            return f"sqlite:///{self.home.root / value.removeprefix('sqlite:///')}"
        if name == "warehouse" and "://" not in value:
            return f"file://{self.home.root / value}"
        return value

    def _table(self) -> Any:
        errors = package("pyiceberg.exceptions", "iceberg", self.where)
        known = (self.given.catalog, *sorted(self.properties.items()))
        try:
            if known not in _catalogues:
                if len(_catalogues) >= 32:
                    _catalogues.clear()
                extra = {**DEFAULTS, "init_catalog_tables": "false"} if self.properties else {}
                _catalogues[known] = self.module.load_catalog(self.given.catalog, **{**extra, **self.properties})
            return _catalogues[known].load_table(self.given.table)
        except (errors.NoSuchTableError, errors.NoSuchNamespaceError) as error:
            fix = "correct `table` (`namespace.table`), or `catalog` and `properties` if it lies in another catalogue"
            what = f"the catalogue has no table {self.given.table}"
            raise SightlineError(what, where=f"{self.where} ({self.place})", fix=fix) from error
        except SightlineError:
            raise
        except Exception as error:  # each kind of catalogue has errors of its own
            _catalogues.pop(known, None)
            text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            fix = (
                "see whether the catalogue's `properties` are right, its server is up, its package is installed "
                "(`pip install 'sightline[iceberg]'`) and its user may read there"
            )
            raise SightlineError(text, where=f"{self.where} ({self.place})", fix=fix) from error

    def _whole(self, table: Any, snapshot: int) -> list[Any]:
        """Tasks of the table as it was at a snapshot: data files with the deletes that lie on them."""
        if snapshot == EMPTY:
            return []
        if table.metadata.snapshot_by_id(snapshot) is None:
            raise self._lost(f"the snapshot {snapshot}, of which a part was read, has expired")
        number: dict[str, int] = {}
        for manifest in table.metadata.snapshot_by_id(snapshot).manifests(table.io):
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                number[entry.data_file.file_path] = int(entry.sequence_number or 0)
        tasks: list[Any] = list(table.scan(snapshot_id=snapshot).plan_files())
        return sorted(tasks, key=lambda task: (number.get(task.file.file_path, 0), task.file.file_path))

    def _since(self, table: Any, newest: int, read: int) -> list[Any]:
        """Snapshots behind the one that was read, oldest first."""
        found: list[Any] = []
        at = newest
        while at != read:
            snapshot = table.metadata.snapshot_by_id(at) if at else None
            if snapshot is None:
                if read and table.metadata.snapshot_by_id(read) is None:
                    raise self._lost(f"the snapshot {read}, up to which was read, has expired")
                if at or read:
                    raise self._lost(
                        f"the table was rolled back, or another branch made current, behind snapshot {read}"
                    )
                break
            found.append(snapshot)
            at = int(snapshot.parent_snapshot_id or EMPTY)
        return found[::-1]

    def _added(self, table: Any, snapshot: Any) -> tuple[list[Any], Counter[str]]:
        """Tasks of the files with new rows of one snapshot, and what is counted of the rest."""
        task_of = package("pyiceberg.table", "iceberg", self.where).FileScanTask
        content = package("pyiceberg.manifest", "iceberg", self.where)
        summary: dict[str, str] = dict(snapshot.summary.additional_properties) if snapshot.summary else {}
        operation = snapshot.summary.operation.value if snapshot.summary else "append"
        counts = Counter[str]()
        files: list[Any] = []
        try:
            for manifest in snapshot.manifests(table.io):
                if manifest.added_snapshot_id != snapshot.snapshot_id:
                    continue
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                    is_new = entry.status == content.ManifestEntryStatus.ADDED
                    if is_new and entry.data_file.content == content.DataFileContent.DATA:
                        files.append(entry.data_file)
        except FileNotFoundError as error:
            raise self._lost(f"the metadata of snapshot {snapshot.snapshot_id} are gone") from error
        if operation == "replace":
            return [], Counter({"files_compacted": len(files)})
        gone = int(summary.get("deleted-records", 0)) + int(summary.get("added-position-deletes", 0))
        come = int(summary.get("added-records", 0)) if operation == "overwrite" else 0
        counts["rows_deleted_at_the_source"] = max(gone - come, 0)
        files.sort(key=lambda file: file.file_path)
        return [task_of(file) for file in files], +counts

    def _frames(self, table: Any, step: Step, number: int) -> Iterator[tuple[pl.DataFrame, int]]:
        """Rows of one file under the table's columns of now; one file is held at a time."""
        scan = package("pyiceberg.io.pyarrow", "iceberg", self.where).ArrowScan
        always = package("pyiceberg.expressions", "iceberg", self.where).AlwaysTrue()
        n_read = 0
        try:
            for batch in scan(table.metadata, table.io, table.schema(), always).to_record_batches([step.files[number]]):
                n_read += len(batch)
                yield from_arrow(batch), n_read
        except FileNotFoundError as error:
            path = step.files[number].file.file_path
            raise self._lost(f"its file {path} is gone: it was removed before it was read") from error

    def _lost(self, what: str) -> SightlineError:
        return lost(what, self.where, self.place)
