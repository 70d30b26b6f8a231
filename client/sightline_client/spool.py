"""Events on the local disk for as long as the collector is away, replayed in order when it is back.

One folder per monitor, shared by all processes of a user: each writes segments of its own (locked while it lives) and
replays whatever sealed or orphaned segment it can lock.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable

from sightline_client.segments import (
    HEAD_BYTES,
    MAGIC,
    RECORDS,
    SegmentWriter,
    is_segment_name,
    lock,
    make_writer_id,
    read_frames,
    utc_text,
)

logger = logging.getLogger("sightline_client")

SEGMENT_BYTES = 4 * 1024 * 1024


class Spool:
    """The spool of one monitor.

    Parameters
    ----------
    folder : Path
        Folder of this monitor's spool.
    monitor : str
        Monitor id.
    max_bytes : int
        Size of all segments in the folder above which `append` refuses.
    """

    def __init__(self, folder: Path, monitor: str, max_bytes: int) -> None:
        self.folder, self.monitor, self.max_bytes = folder, monitor, max_bytes
        self._writers: dict[str, SegmentWriter] = {}
        self._progress: dict[str, int] = {}
        self._own: set[str] = set()
        self._size = self._measure()
        self._name = make_writer_id()

    def forget(self) -> None:
        """In a forked child: what was spooled so far is the parent's to replay."""
        for writer in self._writers.values():
            writer.forget()
        self._writers, self._progress, self._own = {}, {}, set()
        self._name = make_writer_id()

    @property
    def has_own_backlog(self) -> bool:
        """Whether this process has spooled what was not replayed yet.

        Then later events must wait, or labels would overtake each other.
        """
        return bool(self._own)

    @property
    def has_segments(self) -> bool:
        """Whether there is any segment in the folder, of whatever process."""
        return bool(self._segments())

    def append(self, kind: str, rows: list[bytes]) -> bool:
        """Write events and wait for the disk. False if the spool is full.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        if self._size + sum(map(len, rows)) > self.max_bytes:
            return False
        writer = self._writers.get(kind)
        if writer is None:
            writer = self._writers[kind] = SegmentWriter(self.folder, self.monitor, kind, SEGMENT_BYTES, 60.0)
        self._size += writer.append(rows, "client")
        if writer.open_path is not None:
            self._own.add(writer.open_path.name)
        self._seal(writer, writer.seal_if_due)
        return True

    def set_aside(self, kind: str, refused: list[tuple[bytes, str]]) -> Path | None:
        """Write down events that the collector will never take, one JSON object a line.

        Parameters
        ----------
        kind : str
            ``inferences`` or ``labels``.
        refused : list of (bytes, str)
            Events and reasons.

        Returns
        -------
        Path or None
            The file; None if such files have the size of a full spool already.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        folder = self.folder / "refused"
        folder.mkdir(parents=True, exist_ok=True)
        now = utc_text(datetime.now(timezone.utc))
        start = json.dumps({"at": now, "kind": kind})[:-1].encode()
        lines = [
            b"".join((start, b', "reason": ', json.dumps(reason).encode(), b', "event": ', row, b"}\n"))
            for row, reason in refused
        ]
        size = sum(path.stat().st_size for path in folder.glob("*.ndjson"))
        if size + sum(map(len, lines)) > self.max_bytes:
            return None
        path = folder / f"{self._name}.ndjson"
        with path.open("ab") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        return path

    def seal(self) -> None:
        """Seal the own segments; one that cannot be sealed is found later, when its lock is free."""
        for writer in self._writers.values():
            self._seal(writer, writer.seal)

    @staticmethod
    def _seal(writer: SegmentWriter, seal: Callable[[], Path | None]) -> None:
        try:
            seal()
        except OSError as error:
            logger.warning("cannot seal a spool segment: %s", error)
            writer.forget()

    def replay(self, send: Callable[[str, list[bytes]], None], stop: Callable[[], bool]) -> bool:
        """Send the oldest segments, frame by frame, until nothing is left or `stop` says so.

        Parameters
        ----------
        send : callable
            Takes kind and rows; what it raises ends the replay, and the segment is kept.
        stop : callable
            Asked after each frame.

        Returns
        -------
        bool
            True if it came to the end; False if `stop` ended it. Segments another process holds are left to that one.
        """
        self.seal()
        for path in self._segments():
            descriptor = lock(path)
            if descriptor is None:
                continue
            try:
                if not self._replay_one(path, send, stop):
                    return False
            finally:
                os.close(descriptor)
        self._own &= {path.name for path in self._segments()}
        self._size = self._measure()
        return True

    def _replay_one(self, path: Path, send: Callable[[str, list[bytes]], None], stop: Callable[[], bool]) -> bool:
        kind = path.name.partition("-")[0]
        done = self._progress.get(path.name, len(MAGIC))
        data = path.read_bytes()
        whole = len(MAGIC)
        for offset, frame_type, payload in read_frames(data):
            whole += HEAD_BYTES + len(payload)
            if frame_type != RECORDS or offset < done:
                continue
            rows = _rows(payload)
            if rows:
                send(kind, rows)
            self._progress[path.name] = offset + 1
            if stop():
                return False
        self._progress.pop(path.name, None)
        if whole == len(data):
            path.unlink()
            return True
        aside = self.folder / "damaged" / path.name
        aside.parent.mkdir(exist_ok=True)
        path.rename(aside)
        logger.warning(
            "%d bytes of a spool segment are damaged or torn: the file is kept as %s", len(data) - whole, aside
        )
        return True

    def _segments(self) -> list[Path]:
        found = [
            p for name in ("sealed", "open") for p in (self.folder / name).glob("*.seg") if is_segment_name(p.name)
        ]
        return sorted(found, key=lambda path: path.name.partition("-")[2])

    def _measure(self) -> int:
        total = 0
        for path in self._segments():
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue  # replayed by another process at this moment
        return total


def _rows(payload: bytes) -> list[bytes]:
    try:
        events = json.loads(payload)[2]
    except (ValueError, LookupError):
        logger.warning("a spooled frame of %d bytes cannot be decoded and is skipped", len(payload))
        return []
    return [json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") for event in events]


def default_folder() -> Path | None:
    """``SIGHTLINE_SPOOL``, else the user's state folder; None without a home.

    That is ``$XDG_STATE_HOME/sightline/spool`` or ``~/.local/state/sightline/spool``.
    """
    given = os.environ.get("SIGHTLINE_SPOOL")
    if given:
        return Path(given).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "sightline" / "spool"
    except RuntimeError:
        return None
