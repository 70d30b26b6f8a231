"""Where events go: to a collector over HTTP, or straight into the log folder of a Sightline home."""

from __future__ import annotations

import copy
import gzip
import http.client
import json
import logging
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit

from sightline_client.errors import SightlineClientError, Unavailable
from sightline_client.segments import SegmentWriter, has_locks

logger = logging.getLogger("sightline_client")

KINDS = ("inferences", "labels")
GZIP_FROM_BYTES = 1024
ANSWERED_EARLY_FROM_BYTES = 64 * 1024
"""A server may refuse a body that does not fit into the buffers of a connection before it has read all of it."""

AGAIN_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
SPLIT_STATUSES = frozenset({400, 413, 422})
"""One row may be the reason: a batch is halved until the row stands alone."""

SETUP_STATUSES = frozenset({301, 302, 307, 308, 401, 403, 404, 405, 415})
"""The user can mend these (token, address, monitor file) while events wait; they are not thrown away."""


class Outcome:
    """What became of one batch: rows the log has taken, had already, and has rejected (it keeps those in quarantine).

    ``reasons`` tells why rows were rejected, by position; of many the first ones only. ``refused`` are rows that the
    collector will never take nor keep, too large for it for example, by position and with the reason.
    """

    __slots__ = ("accepted", "duplicate", "reasons", "refused", "rejected")

    def __init__(
        self,
        accepted: int,
        duplicate: int = 0,
        rejected: int = 0,
        reasons: dict[int, str] | None = None,
        refused: dict[int, str] | None = None,
    ) -> None:
        self.accepted, self.duplicate, self.rejected = accepted, duplicate, rejected
        self.reasons, self.refused = reasons or {}, refused or {}

    def followed_by(self, other: Outcome, first: int) -> Outcome:
        """Of both batches together; the other one's rows begin at `first`."""
        return Outcome(
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
            {**self.reasons, **{first + row: reason for row, reason in other.reasons.items()}},
            {**self.refused, **{first + row: reason for row, reason in other.refused.items()}},
        )


class HttpTransport:
    """Keeps one connection to a collector and posts JSON arrays, compressed with gzip.

    Parameters
    ----------
    url : str
        ``http[s]://host[:port][/prefix]`` of the collector.
    monitor : str
        Monitor id.
    token : str, optional
        Bearer token.
    timeout : float
        Seconds for connecting and for each read.
    """

    def __init__(self, url: str, monitor: str, token: str | None, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SightlineClientError(f"url must look like http://host:8700, not {url!r}")
        self.url, self._timeout = url, timeout
        self._host, self._port, self._secure = parts.hostname, parts.port, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/") + "/v1/monitors/" + monitor + "/"
        self._headers: dict[str, str] = {"Content-Type": "application/json", "User-Agent": "sightline-client/0.1"}
        if token:
            self._headers["Authorization"] = "Bearer " + token
        self._connection: http.client.HTTPConnection | None = None

    def send(self, kind: str, rows: list[bytes]) -> Outcome:
        """Post one batch; returning means the collector has it on disk.

        Raises
        ------
        Unavailable
            Try again later: not reachable, overloaded, disk full, or set up wrongly. Rows of the batch may have been
            taken; sent again, they are duplicates.
        """
        body = b"[" + b",".join(rows) + b"]"
        headers = self._headers
        if len(body) >= GZIP_FROM_BYTES:
            body, headers = gzip.compress(body, 1), {**headers, "Content-Encoding": "gzip"}
        status, retry_after, answer = self._post(self._prefix + kind, body, headers)
        if status == 200:
            return _outcome(answer, len(rows))
        text = f"{self.url} answered {status}: {answer[:300].decode('utf-8', 'replace').strip()}"
        if status in AGAIN_STATUSES or status in SETUP_STATUSES:
            raise Unavailable(text, retry_after)
        if status in SPLIT_STATUSES and len(rows) > 1:
            half = len(rows) // 2
            return self.send(kind, rows[:half]).followed_by(self.send(kind, rows[half:]), half)
        return Outcome(0, refused=dict.fromkeys(range(len(rows)), text))

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, float | None, bytes]:
        """One request below the monitor's path, on a connection of its own: status, ``Retry-After``, answer.

        Raises
        ------
        Unavailable
            Not reachable.
        """
        other = copy.copy(self)
        other._connection = None
        try:
            return other._exchange(self._prefix + path, body, {**self._headers, **headers}, method)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self.url}: {error or type(error).__name__}") from error
        finally:
            other.close()

    def tick(self) -> None:
        """Nothing to do between batches."""

    def forget(self) -> None:
        """In a forked child: the parent's connection must not be used (closing our copy does not end it)."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, float | None, bytes]:
        is_reused = self._connection is not None
        try:
            return self._exchange(path, body, headers)
        except (ConnectionError, http.client.HTTPException) as error:
            self.close()
            if not is_reused:
                raise Unavailable(f"{self.url}: {error or type(error).__name__}") from error
        except (OSError, ssl.SSLError) as error:
            self.close()
            raise Unavailable(f"{self.url}: {error}") from error
        try:  # the collector had closed the idle connection
            return self._exchange(path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unavailable(f"{self.url}: {error or type(error).__name__}") from error

    def _exchange(
        self, path: str, body: bytes, headers: dict[str, str], method: str = "POST"
    ) -> tuple[int, float | None, bytes]:
        if self._connection is None:
            cls = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = cls(self._host, self._port, timeout=self._timeout)
        try:
            self._connection.request(method, path, body, headers)
        except ConnectionError:  # the collector may have closed early, but not without an answer
            if len(body) < ANSWERED_EARLY_FROM_BYTES or self._connection.sock is None:  # None: it was never reached
                raise
        response = self._connection.getresponse()
        answer = response.read()
        if response.will_close:
            self.close()
        return response.status, _seconds(response.getheader("Retry-After")), answer


def _outcome(answer: bytes, sent: int) -> Outcome:
    try:
        counts = json.loads(answer)
        reasons = {
            int(error["row"]): str(error.get("message")) for error in counts.get("errors") or () if "row" in error
        }
        outcome = Outcome(int(counts["accepted"]), int(counts["duplicate"]), int(counts["rejected"]), reasons)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"the answer is not a collector's: {answer[:200]!r}") from error
    if outcome.accepted + outcome.duplicate + outcome.rejected != sent:
        raise Unavailable(f"the collector answered for another number of rows than the {sent} sent: {answer[:200]!r}")
    if outcome.rejected:
        logger.warning(
            "the collector rejected %d of %d rows, the first one because: %s",
            outcome.rejected,
            sent,
            next(iter(reasons.values()), "it does not say"),
        )
    return outcome


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:
        return None


class PathTransport:
    """Appends to segments in ``<home>/data/<monitor>/log``, as the collector does; no server needed.

    Parameters
    ----------
    home : str
        The Sightline home folder (with ``monitors/`` and ``data/``), on a local file system.
    monitor : str
        Monitor id.
    """

    def __init__(self, home: str, monitor: str, segment_bytes: int, segment_seconds: float) -> None:
        if not has_locks():
            raise SightlineClientError("path= needs file locks, which this platform lacks: use url=")
        self.home = Path(home).expanduser().absolute()
        folder = self.home / "data" / monitor / "log"
        self._writers = {kind: SegmentWriter(folder, monitor, kind, segment_bytes, segment_seconds) for kind in KINDS}
        self._lock = threading.Lock()

    def send(self, kind: str, rows: list[bytes]) -> Outcome:
        """Append one batch and wait for the disk.

        Raises
        ------
        Unavailable
            The disk did not take it; the segment is as it was before.
        """
        writer = self._writers[kind]
        with self._lock:
            try:
                writer.append(rows, "client")
            except OSError as error:
                raise Unavailable(f"cannot write the log: {error}") from error
            self._seal(writer, is_last=False)
        return Outcome(len(rows))

    def tick(self) -> None:
        """Seal segments that are old enough."""
        with self._lock:
            for writer in self._writers.values():
                self._seal(writer, is_last=False)

    def forget(self) -> None:
        """In a forked child: begin own segments."""
        self._lock = threading.Lock()
        for writer in self._writers.values():
            writer.forget()

    def close(self) -> None:
        """Seal what is open."""
        with self._lock:
            for writer in self._writers.values():
                self._seal(writer, is_last=True)

    @staticmethod
    def _seal(writer: SegmentWriter, is_last: bool) -> None:
        try:
            writer.seal() if is_last else writer.seal_if_due()
        except OSError as error:  # its events are safe in open/; sealing is tried again, at last by a recovery
            logger.warning("cannot seal a segment: %s", error)
            if is_last:
                writer.forget()
