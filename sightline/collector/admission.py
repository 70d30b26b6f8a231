"""May a request be taken? Decided from its method, path and headers, before its body is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.collector.auth import REPLAY, WRITE
from sightline.collector.formats import ADAPTERS, Adapter
from sightline.collector.formats.otlp_protobuf import MEDIA_TYPE
from sightline.collector.formats.tensors import LENGTH_HEADER
from sightline.collector.limits import HTTPError, media_type, unsupported
from sightline.collector.monitors import Registry, ServedMonitor
from sightline.errors import nearest
from sightline.log.resend import REPLAY_HEADER

PREFIX = "/v1/monitors/"
DESKS = ("incidents", "candidates", "registry")
"""What may be asked of a monitor besides sending it events."""
NATIVE = ("inferences", "labels")
UNKNOWN = "unknown"
"""Name under which answers are counted that belong to no format."""

JSON_TYPES = (
    "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
    "application/cloudevents+json", "application/cloudevents-batch+json",
)  # fmt: skip
TELLING_HEADERS = {"cloudevents": "ce-specversion", "open_inference": LENGTH_HEADER}
"""By format, a header that tells the format itself, so that any type of content will do."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A request whose body may be read: its monitor and format, and the version of the tokens that let it in."""

    monitor: ServedMonitor
    name: str
    adapter: Adapter
    headers: Mapping[str, str]
    tokens_version: int


class Gate:
    """Finds monitor and format of a request and checks host, token and type.

    Parameters
    ----------
    registry : Registry
        The monitors.
    require_tokens : bool
        Answer 401 to everything without a token, also for monitors that have none (any address but loopback).
    allowed_hosts : frozenset of str, optional
        Names a ``Host`` header may carry: on loopback this keeps web pages out that a browser resolves to this machine.
    """

    def __init__(self, registry: Registry, require_tokens: bool, allowed_hosts: frozenset[str] | None) -> None:
        self._registry, self.require_tokens, self._allowed_hosts = registry, require_tokens, allowed_hosts

    def admit(self, method: str, path: str, headers: Mapping[str, str]) -> Admission:
        """Let a request for `is_ingest` paths in; `headers` has lower-case names.

        Raises
        ------
        HTTPError
            401, 403, 404, 405, 415, 421, or 503 (the monitor's file has mistakes).
        """
        monitor_id, name = self._target(path, headers)
        self.check_host(headers)
        monitor = self._monitor(monitor_id, headers)
        adapter = ADAPTERS.get(name)
        if adapter is None:
            raise HTTPError(404, f"there is no format {name!r}", nearest(name, ADAPTERS))
        if method != "POST":
            raise HTTPError(405, f"{method} is not allowed here", "send a POST", {"allow": "POST"})
        _check_content_type(headers, name)
        if REPLAY_HEADER in headers:
            _check_replay(monitor, headers, name)
        return Admission(monitor, name, adapter, headers, monitor.tokens.version)

    def still_holds(self, admission: Admission) -> bool:
        """Whether a request with the same method, path and headers would be let in again.

        That is not sure if monitor or tokens have changed.
        """
        monitor = admission.monitor
        return (
            self._registry.monitors.get(monitor.spec.id) is monitor
            and monitor.tokens.version == admission.tokens_version
        )

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Raise 421 if the ``Host`` header names none that is served here."""
        if self._allowed_hosts is None:
            return
        host = headers.get("host", "")
        name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        if name.lower() not in self._allowed_hosts:
            raise HTTPError(421, "this Host is not served here", "use 127.0.0.1 or localhost")

    def _target(self, path: str, headers: Mapping[str, str]) -> tuple[str, str]:
        """Monitor and format of a request. ``POST /`` is CloudEvents; KServe names the service, not a path."""
        if path == "/":
            given = headers.get("x-sightline-monitor") or headers.get("ce-inferenceservicename", "").replace("-", "_")
            monitors = list(self._registry.monitors)
            return given or (monitors[0] if len(monitors) == 1 else ""), "cloudevents"
        monitor_id, separator, name = path[len(PREFIX) :].partition("/")
        if not separator or not monitor_id:
            raise HTTPError(404, f"nothing is at {path}", f"POST {PREFIX}<monitor>/<format>")
        return monitor_id, name

    def _monitor(self, monitor_id: str, headers: Mapping[str, str]) -> ServedMonitor:
        """The monitor, if the request may write to it. Without a token nobody learns which monitors exist."""
        monitor = self._registry.monitors.get(monitor_id)
        authorization = headers.get("authorization", "")
        if self.require_tokens or (monitor is not None and monitor.tokens.is_closed):
            scope = monitor.tokens.scope(authorization) if monitor is not None else None
            if scope is None:
                if monitor is not None and monitor.tokens.is_damaged and not self.require_tokens:
                    what = f"the token file of monitor {monitor_id!r} cannot be read: see the collector's log"
                    raise HTTPError(503, what, "mend the file", {"retry-after": "30"})
                fix = "send `Authorization: Bearer <token>`; make one with `sightline token create MONITOR`"
                raise HTTPError(401, "no valid token for this monitor", fix, {"www-authenticate": "Bearer"})
            if scope not in (WRITE, REPLAY):
                raise HTTPError(403, "this token may not write", "make one with `--for log`")
        if monitor is None:
            if monitor_id in self._registry.broken:
                what = f"the file of monitor {monitor_id!r} has mistakes: see `sightline validate`"
                raise HTTPError(503, what, "mend the file", {"retry-after": "30"})
            known = self._registry.monitors
            fix = nearest(monitor_id, known) if known else "write monitors/<id>.yaml"
            raise HTTPError(404, f"there is no monitor {monitor_id!r}", fix)
        return monitor


def is_ingest(method: str, path: str) -> bool:
    """Whether a request brings events (or means to)."""
    other = any(is_about(path, name) for name in DESKS)
    return (path.startswith(PREFIX) and not other) or (path == "/" and method == "POST")


def is_about(path: str, what: str) -> bool:
    """Whether a path is that of one of a monitor's `DESKS`, or below it."""
    return path.startswith(PREFIX) and path[len(PREFIX) :].split("/", 2)[1:2] == [what]


def format_of(path: str) -> str:
    """Name of the format a path asks for."""
    name = "cloudevents" if path == "/" else path[len(PREFIX) :].partition("/")[2]
    return name if name in ADAPTERS else UNKNOWN


def _check_replay(monitor: ServedMonitor, headers: Mapping[str, str], name: str) -> None:
    """Times of receipt are taken from the rows only where a token says so: a writer must not be able to forge them."""
    if monitor.tokens.scope(headers.get("authorization", "")) != REPLAY:
        fix = "make a token with `sightline token create MONITOR --scope replay`"
        raise HTTPError(403, "events with their own times of receipt need a token of scope replay", fix)
    if name not in NATIVE:
        raise HTTPError(400, f"{name} cannot be replayed", f"send {' or '.join(NATIVE)}")


def _check_content_type(headers: Mapping[str, str], name: str) -> None:
    """Only types a web page cannot send without asking first; adapters may be sent as their senders do.

    A binary CloudEvent has the type of the request that was logged, whatever it is, and a request with binary tensors
    none or one of bytes; no web page can send their headers unasked.
    """
    if name in TELLING_HEADERS and TELLING_HEADERS[name] in headers:
        return
    media = media_type(headers)
    if media == MEDIA_TYPE and name.startswith("otlp"):
        return
    if media not in JSON_TYPES and not (name not in NATIVE and media.endswith("+json")):
        fix = "set Content-Type to application/json or application/x-ndjson"
        raise unsupported(media, fix)
