"""A home with a monitor, changes to tell, and a receiver that counts what it gets."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sightline.alerts.changes import Change, operational
from sightline.home import Home

MONITOR = """\
version: 1
model: {id: churn, task: binary_classification, owner: ops-ml@example.com}
columns: {score: p, features: {age: numeric}}
reference: {kind: window, start: 2026-01-05, end: 2026-02-01}
alerts: {budget: 1 per 90d}
"""
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def make_home(folder: Path, routes: str = "", notify: str = "") -> Home:
    (folder / "monitors").mkdir(parents=True, exist_ok=True)
    text = MONITOR.replace("per 90d}", f"per 90d, notify: [{notify}]}}") if notify else MONITOR
    (folder / "monitors" / "churn.yaml").write_text(text, encoding="utf-8")
    if routes:
        (folder / "alerts").mkdir(exist_ok=True)
        (folder / "alerts" / "routes.yaml").write_text(routes, encoding="utf-8")
    return Home(folder)


def fact(n: int | str, kind: str = "run_failed", **more: Any) -> Change:
    return operational(kind, monitor="churn", subject=f"run {n}", at=AT, what=f"the run {n} failed", **more)


class Receiver:
    """A real HTTP server that honours the idempotency key, and answers as it is told to.

    `answer` is given the number of the request and its changes; a status of 0 breaks the connection off without an
    answer, before (`(0, False)`) or after (`(0, True)`) the message was taken.
    """

    def __init__(self, answer: Callable[[int, list[dict[str, Any]]], tuple[int, bool]] | None = None, port: int = 0):
        self.taken: Counter[str] = Counter()
        """Change -> how often it arrived under a key that was not known."""
        self.seen: Counter[str] = Counter()
        """Change -> how often it arrived."""
        self.keys: Counter[str] = Counter()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.bodies: list[dict[str, Any]] = []
        self._answer = answer or (lambda n, changes: (200, True))
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        content = handler.rfile.read(int(handler.headers["Content-Length"]))
        body = json.loads(content)
        ids = [change["id"] for change in body["changes"]] + body["more"]
        with self._lock:
            self.requests.append((dict(handler.headers.items()), content))
            status, is_taken = self._answer(len(self.requests), body["changes"])
            if is_taken:
                key = handler.headers["Idempotency-Key"]
                self.seen.update(ids)
                if key not in self.keys:
                    self.taken.update(ids)
                    self.bodies.append(body)
                self.keys[key] += 1
        if status == 0:
            handler.connection.close()
            return
        handler.send_response(status)
        for name, value in self.headers(status).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def headers(self, status: int) -> dict[str, str]:
        return {"Location": f"{self.url}/elsewhere"} if 300 <= status < 400 else {}


def webhook_routes(url: str, more: str = "") -> str:
    return f"channels: {{ops: {{kind: webhook, url: '{url}', allow_private: true}}}}\nroutes: [{{to: ops}}]\n{more}"
