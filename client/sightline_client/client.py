"""`Client`: what serving code calls.

A call copies its arguments into a queue; everything else happens on another thread.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from sightline_client.errors import SightlineClientError
from sightline_client.rows import DEFERRED, INFERENCES, LABELS, encode
from sightline_client.segments import has_locks
from sightline_client.spool import Spool, default_folder
from sightline_client.together import SharedSender
from sightline_client.transports import HttpTransport, PathTransport
from sightline_client.worker import Worker, forget_all_after_fork
from sightline_client.wrap import Result, wrap_function

if TYPE_CHECKING:
    from sightline_client.monitor import Monitor

logger = logging.getLogger("sightline_client")

_CORRECTED = (
    "features", "score", "prediction", "class_scores", "entity", "query", "status", "latency_ms", "weight", "trace",
)  # fmt: skip
"""Arguments of `Client.prediction` that are values, in the order of a queue entry."""

_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client:
    """Logs predictions and labels of one monitor.

    Parameters
    ----------
    monitor : str
        Monitor id, as in ``monitors/<id>.yaml``.
    url : str, optional
        A collector: ``http://host:8700``. Default: the variable ``SIGHTLINE_URL``, if no `path` is given.
    path : str, optional
        A Sightline home on a local file system, to log without a collector.
    token : str, optional
        Bearer token of the collector; default: ``SIGHTLINE_TOKEN``.
    version : str, optional
        Model version of predictions that name none.
    sync : bool
        Return when the event is durable; raise `SightlineClientError` if that fails. Threads that wait
        at the same time share requests.
    queue_size : int
        Events that may wait in memory; further ones are dropped and counted.
    batch_size : int
        Events per request or write at most.
    interval : float
        Seconds an event waits for company.
    spool : str or bool, optional
        Folder in which events wait while the collector is away; False: only in memory. Default: ``SIGHTLINE_SPOOL``,
        else ``~/.local/state/sightline/spool``.
    spool_bytes : int
        Size of the spool at most.
    timeout : float
        Seconds for connecting and for each answer.
    exit_timeout : float
        Seconds the end of the process may be held up by what is still queued.
    segment_bytes, segment_seconds : float
        `path` only: when a segment is sealed.

    Raises
    ------
    SightlineClientError
        If the arguments cannot work. Later calls never raise, except with ``sync=True``.
    """

    def __init__(
        self,
        monitor: str,
        *,
        url: str | None = None,
        path: str | os.PathLike[str] | None = None,
        token: str | None = None,
        version: str | None = None,
        sync: bool = False,
        queue_size: int = 10_000,
        batch_size: int = 500,
        interval: float = 0.5,
        spool: str | os.PathLike[str] | bool | None = None,
        spool_bytes: int = 256 * 1024 * 1024,
        timeout: float = 10.0,
        exit_timeout: float = 5.0,
        segment_bytes: int = 16 * 1024 * 1024,
        segment_seconds: float = 5.0,
    ) -> None:
        if not monitor.replace("_", "").isalnum():
            raise SightlineClientError(f"{monitor!r} is no monitor id")
        if url is None and path is None:
            url = os.environ.get("SIGHTLINE_URL")
        if (url is None) == (path is None):
            raise SightlineClientError("give either url= (a collector) or path= (a Sightline home)")
        if queue_size < 1 or batch_size < 1 or interval <= 0:
            raise SightlineClientError("queue_size, batch_size and interval must be positive")
        self.monitor_id, self.version = monitor, version
        self.sync, self._exit_timeout = sync, exit_timeout
        self._queue_size, self._batch_size = queue_size, batch_size
        token = token or os.environ.get("SIGHTLINE_TOKEN")
        transport: HttpTransport | PathTransport
        if path is not None:
            transport = PathTransport(os.fspath(path), monitor, segment_bytes, segment_seconds)
        else:
            transport = HttpTransport(str(url), monitor, token, timeout)
        folder = None if sync or path is not None else _spool_folder(spool, monitor)
        self._worker = Worker(
            transport,
            None if folder is None else Spool(folder, monitor, spool_bytes),
            encode,
            batch_size,
            interval,
            exit_timeout,
        )
        self._reset()
        _clients.add(self)
        weakref.finalize(self, self._worker.ask_to_end).atexit = False

    def _reset(self) -> None:
        self._queue, self._wake = self._worker.queue, self._worker.wake
        self._lock = threading.Lock()
        self._closed = False
        self._started = False
        self._dropped = 0
        self._errors = 0
        self._synced = 0
        self._sender = SharedSender(self._worker.transport, self._batch_size)

    def _forget_after_fork(self) -> None:
        closed = self._closed
        self._worker.forget_after_fork()
        self._reset()
        self._closed = closed

    # ---- logging -----------------------------------------------------------------------------------------------------

    def prediction(
        self,
        id: Any,
        *,
        features: Mapping[str, Any] | None = None,
        score: Any = None,
        prediction: Any = None,
        class_scores: Mapping[str, Any] | None = None,
        version: str | None = None,
        at: Any = None,
        entity: Any = None,
        query: Any = None,
        status: Any = None,
        latency_ms: float | None = None,
        weight: float | None = None,
        trace: Mapping[str, Any] | None = None,
    ) -> None:
        """Log one prediction.

        Parameters
        ----------
        id : str or int
            Identifies the prediction; its label refers to it.
        features : mapping, optional
            Inputs by name, as in the monitor's YAML. Copied, so it may be changed afterwards
            (values inside are not copied).
        score : float, optional
            P(positive), or ranking score.
        prediction : optional
            Predicted class or value.
        class_scores : mapping, optional
            Multiclass: probability per class.
        version : str, optional
            Model version; default: the client's.
        at : datetime, float or str, optional
            When the prediction was made: a datetime (without zone: UTC), seconds since 1970,
            or RFC 3339 text. Default: now.
        entity, query : optional
            Whom it is about; which query it belongs to (ranking).
        status, latency_ms, weight, trace : optional
            Outcome and duration of the call, 1 / sampling fraction, trace ids.
        """
        try:
            entry = (
                INFERENCES,
                id,
                time.time() if at is None else at,
                version or self.version,
                None if features is None else dict(features),
                score,
                prediction,
                None if class_scores is None else dict(class_scores),
                entity,
                query,
                status,
                latency_ms,
                weight,
                trace,
            )
            self._put(entry)
        except SightlineClientError:
            raise  # only with sync=True: the caller asked for it
        except Exception as error:  # never into the request path
            self.note_error(error)

    def correct(self, id: Any, *, at: Any, observed_at: Any = None, version: str | None = None, **values: Any) -> None:
        """Log a prediction again as it should have been: it replaces what was logged under its id and version.

        Parameters
        ----------
        id : str or int
            The prediction's id.
        at : datetime, float or str
            When the prediction was made (see `prediction`); it may differ from what was logged before.
        observed_at : datetime, float or str, optional
            When the correction became known; default: now. Of several the one that became known last counts.
        version : str, optional
            Model version; default: the client's.
        **values
            The whole prediction: keyword arguments of `prediction`, such as ``features`` and ``score``.
        """
        try:
            observed_at = time.time() if observed_at is None else observed_at
            values = {name: dict(v) if isinstance(v, Mapping) else v for name, v in values.items()}
            unknown = sorted(values.keys() - _CORRECTED)
            if unknown:
                raise TypeError(f"correct() has no argument {unknown[0]!r}")
            told = [values.get(name) for name in _CORRECTED]
            self._put((INFERENCES, id, at, version or self.version, *told, True, None, observed_at))
        except SightlineClientError:
            raise
        except Exception as error:  # never into the request path
            self.note_error(error)

    def withdraw(self, id: Any, *, version: str | None = None, observed_at: Any = None) -> None:
        """Take a prediction back: it counts as never made, until a correction is logged that is known later.

        Parameters
        ----------
        id : str or int
            The prediction's id.
        version : str, optional
            Only that of this model version; default: those of all versions.
        observed_at : datetime, float or str, optional
            When that became known; default: now.
        """
        try:
            observed_at = time.time() if observed_at is None else observed_at
            nothing = [None] * len(_CORRECTED)
            self._put((INFERENCES, id, None, version, *nothing, None, True, observed_at))
        except SightlineClientError:
            raise
        except Exception as error:  # never into the request path
            self.note_error(error)

    def label(self, id: Any, value: Any, *, at: Any = None, predicted_at: Any = None) -> None:
        """Log the truth about a prediction; a later label of the same id replaces it.

        Parameters
        ----------
        id : str or int
            The prediction's id.
        value : any
            True class or value.
        at : datetime, float or str, optional
            When the truth became known (see `prediction`); default: now.
        predicted_at : datetime, float or str, optional
            When the prediction was made, if known.
        """
        try:
            entry = (LABELS, id, time.time() if at is None else at, value, predicted_at, False)
            self._put(entry)
        except SightlineClientError:
            raise
        except Exception as error:  # never into the request path
            self.note_error(error)

    def retract_label(self, id: Any, *, at: Any = None, predicted_at: Any = None) -> None:
        """Take the label of a prediction back: it counts as unlabelled until a label is logged that is known later.

        Parameters
        ----------
        id : str or int
            The prediction's id.
        at : datetime, float or str, optional
            When that became known (see `prediction`); default: now.
        predicted_at : datetime, float or str, optional
            When the prediction was made, if known.
        """
        try:
            self._put((LABELS, id, time.time() if at is None else at, None, predicted_at, True))
        except SightlineClientError:
            raise
        except Exception as error:  # never into the request path
            self.note_error(error)

    def evaluation(self, version: str, rows: Any, *, patience: float = 60.0) -> dict[str, Any]:
        """Send the scored, labelled evaluation set of a candidate version; Sightline judges it against production.

        Blocks until it has landed whole. Sent again with the same content it changes nothing; with other content it is
        evaluated anew. A collector wants a token made with ``--for evaluate``.

        Parameters
        ----------
        version : str
            What the candidate is called.
        rows : Polars, pandas or Arrow table, path of a Parquet or NDJSON file, or iterable of mappings
            The monitor's own columns, with the model's output and the truth. pandas' index is left out.
        patience : float
            Seconds for which an unreachable collector is asked again.

        Returns
        -------
        dict
            ``version, sha256, bytes, format, landed``; with ``url=`` also ``sent_bytes``, fewer where an earlier call
            was cut off.

        Raises
        ------
        SightlineClientError
            It did not land: nothing is evaluated. After `Unavailable` the same call goes on where it stopped.
        """
        from sightline_client.candidates import check_version, put, send, to_file

        check_version(version)
        content, form = to_file(rows)
        if isinstance(self._worker.transport, PathTransport):
            return put(self._worker.transport.home, self.monitor_id, version, content, form)
        return send(self._worker.transport, version, content, form, patience)

    def wrap(
        self,
        function: Callable[..., Any] | None = None,
        *,
        id: Callable[..., Any] | None = None,
        features: Callable[..., Any] | None = None,
        result: Result = "score",
        version: str | None = None,
    ) -> Callable[..., Any]:
        """Decorate a predict function (plain or async): every call is logged with its latency and status.

        Parameters
        ----------
        function : callable, optional
            The function, if used as ``@log.wrap``.
        id : callable, optional
            From the call's arguments to the prediction id; default: a random one, see `current_prediction_id`.
        features : callable, optional
            From the call's arguments to a mapping; default: the first mapping among the
            arguments, else the keyword arguments.
        result : {"score", "prediction"} or callable
            What a returned number is (a mapping's ``score``, ``prediction``, ``class_scores``... are taken
            by name, anything else is the predicted class); or a function from the returned value to
            keyword arguments of `prediction`.
        version : str, optional
            Model version.

        Examples
        --------
        >>> @log.wrap(id=lambda flight: flight["id"])                      # doctest: +SKIP
        ... def predict(flight): return model.predict_proba(flight)
        """
        if function is None:
            return lambda inner: wrap_function(self, inner, id, features, result, version)
        return wrap_function(self, function, id, features, result, version)

    def monitor(self, id: Any = None) -> Monitor:
        """Collect one prediction value by value, in the words of BentoML's monitoring.

        Examples
        --------
        >>> with log.monitor("a-1") as m:                                              # doctest: +SKIP
        ...     m.log(5.1, name="sepal_length", role="feature", data_type="numerical")
        ...     m.log(0.93, name="score", role="prediction", data_type="numerical")
        """
        from sightline_client.monitor import Monitor

        return Monitor(self, id)

    # ---- life --------------------------------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything logged so far is delivered or on this machine's disk.

        Returns
        -------
        bool
            False if that took longer than `timeout` seconds.
        """
        return self._worker.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Deliver or spool what is queued and stop; later calls are counted as dropped.

        Waits for `exit_timeout` by default.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._worker.end(self._exit_timeout if timeout is None else timeout)
        if not self._worker.is_running:
            self._worker.transport.close()

    def stats(self) -> dict[str, int]:
        """Counters of this client in this process.

        Returns
        -------
        dict
            ``logged`` calls = ``sent`` + ``spooled`` + ``refused`` (by the collector, for good) + ``dropped`` (queue
            full, closed) + ``queued`` (waiting in memory). Of the spooled, ``replayed`` were sent later. Of those the
            collector took, ``duplicate`` and ``rejected`` are its own counts; rejected ones are in its quarantine.
            ``failures``: attempts that failed. ``errors``: calls whose arguments could not even be queued.
        """
        counters, waiting = self._worker.counters, self._worker.waiting
        sent = counters.sent + self._synced
        dropped = counters.dropped + self._dropped
        if self._closed:
            dropped, waiting = dropped + waiting, 0
        return {
            "logged": sent + counters.spooled + counters.refused + dropped + waiting,
            "queued": waiting,
            "sent": sent,
            "spooled": counters.spooled,
            "replayed": counters.replayed,
            "refused": counters.refused + counters.refused_later,
            "dropped": dropped,
            "duplicate": counters.duplicate,
            "rejected": counters.rejected,
            "failures": counters.failures,
            "errors": self._errors,
        }

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # ---- inner -------------------------------------------------------------------------------------------------------

    def _put(self, entry: Any) -> None:
        if self.sync:
            self._log_now(entry)
        elif len(self._queue) < self._queue_size and self._started and not self._closed:
            self._queue.append(entry)
            if len(self._queue) >= self._batch_size and not self._wake.is_set():
                self._wake.set()
        else:
            self._log_slowly(entry)

    def defer(self, make: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Log predictions whose arguments are found out on the client's thread (with ``sync=True`` at once).

        Parameters
        ----------
        make : callable
            Returns keyword arguments of `prediction` (with ``id``), one mapping per prediction; none is allowed.
        """
        try:
            if self.sync:
                for arguments in make():
                    self.prediction(**arguments)
            else:
                self._put((DEFERRED, make, self.version))
        except SightlineClientError:
            raise
        except Exception as error:  # never into the request path
            self.note_error(error)

    def note_error(self, error: Exception) -> None:
        """Count a call that could not be queued; the first one is also logged."""
        with self._lock:
            self._errors += 1
            is_first = self._errors == 1
        if is_first:
            logger.warning("an event could not be queued: %s: %s", type(error).__name__, error)

    def _log_slowly(self, entry: Any) -> None:
        """The first event of a process starts the thread; a full queue or a closed client drops."""
        if not self._started and not self._closed:
            with self._lock:
                if not self._started:
                    self._worker.start()
                    self._started = True
        if self._closed or len(self._queue) >= self._queue_size:
            with self._lock:
                self._dropped += 1
        else:
            self._queue.append(entry)

    def _log_now(self, entry: Any) -> None:
        if self._closed:
            raise SightlineClientError("the client is closed")
        if not self._started:
            with self._lock:
                if not self._started:
                    if isinstance(self._worker.transport, PathTransport):
                        self._worker.start()  # seals segments that are old enough
                    self._started = True
        rows = encode(entry)
        if not rows:
            raise SightlineClientError("the event cannot be encoded")
        ((kind, row),) = rows
        self._sender.send(kind, row)
        with self._lock:
            self._synced += 1


def _spool_folder(spool: str | os.PathLike[str] | bool | None, monitor: str) -> Path | None:
    if spool is False:
        return None
    if not has_locks():
        if spool is None or spool is True:
            return None
        raise SightlineClientError("spool= needs file locks, which this platform lacks")
    if spool is None or spool is True:
        root = default_folder()
        return None if root is None else root / monitor
    return Path(spool).expanduser().absolute() / monitor


def _forget_after_fork() -> None:
    forget_all_after_fork()
    for client in list(_clients):
        client._forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
