"""The dashboard behind a real HTTP server on loopback, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import uvicorn

from sightline.dashboard.server.app import Settings, create_app
from sightline.dashboard.server.security import Access
from sightline.home import Home

START_SECONDS = 30.0


@contextmanager
def served(home: Home, access: Access | None = None, **settings: object) -> Generator[httpx.Client]:
    """A client of the dashboard of a home; redirects are not followed."""
    app = create_app(Settings(home, access or Access(), **settings))  # pyright: ignore[reportArgumentType]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        assert time.monotonic() < deadline, "the dashboard did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
