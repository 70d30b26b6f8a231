"""JSON and files over HTTP with the standard library: bounded in time and size, no redirects."""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from sightline.durable import replace_file
from sightline.registries.protocol import RegistryError

TIMEOUT_SECONDS = 10.0
"""For connecting and for every piece of an answer."""
ANSWER_SECONDS, FILE_SECONDS = 30.0, 600.0
"""For the whole of an answer, or of a file."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 64 * 1024
SAID_CHARACTERS = 300


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to somebody else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Server:
    """One server.

    Parameters
    ----------
    url : str
        ``http[s]://host[:port][/prefix]``.
    secret : str, optional
        A token, or ``user:password``.

    Raises
    ------
    RegistryError
        The URL is none.
    """

    def __init__(self, url: str, secret: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            what = "this is no address of a registry"
            raise RegistryError(what, where="registry.url", fix="write http://host:5000; secrets go by token_env")
        self.url = url.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "sightline"}
        if secret and ":" in secret:
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
        elif secret:
            self._headers["Authorization"] = f"Bearer {secret}"
        self._opener = urllib.request.build_opener(_NoRedirect)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Ask for a JSON object."""
        return self._json(path, self._request(path, query))

    def post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Send a JSON object and get one."""
        return self._send("POST", path, content)

    def delete(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Ask to delete what a JSON object names."""
        return self._send("DELETE", path, content)

    def _send(self, method: str, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        request = self._request(path, content=json.dumps(content).encode())
        request.method = method
        request.add_header("Content-Type", "application/json")
        return self._json(path, request)

    def download(self, path: str, file: Path, most: int) -> None:
        """Write what is at a path to a file, whole or not at all, of at most so many bytes.

        Raises
        ------
        RegistryError
            It is larger, takes too long, or is not there.
        """

        def write(beside: Path) -> None:
            with self._open(path, self._request(path)) as answer, beside.open("wb") as out:
                for piece in _pieces(answer, path, most, FILE_SECONDS):
                    out.write(piece)

        replace_file(file, write)

    def _request(
        self, path: str, query: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> urllib.request.Request:
        url = self._at(path, query)
        return urllib.request.Request(url, content, self._headers)  # noqa: S310 (http or https: checked at the start)

    def _at(self, path: str, query: Mapping[str, str] | None = None) -> str:
        return f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")

    def _json(self, path: str, request: urllib.request.Request) -> dict[str, Any]:
        with self._open(path, request) as answer:
            content = b"".join(_pieces(answer, path, MAX_ANSWER_BYTES, ANSWER_SECONDS))
        try:
            found = json.loads(content or b"{}")
        except (ValueError, RecursionError) as error:
            raise RegistryError(f"the answer is no JSON: {content[:80]!r}", where=self._at(path)) from error
        if not isinstance(found, dict):
            raise RegistryError(f"the answer is no JSON object: {content[:80]!r}", where=self._at(path))
        return cast("dict[str, Any]", found)

    def _open(self, path: str, request: urllib.request.Request) -> Any:
        where = self._at(path)
        try:
            return self._opener.open(request, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(SAID_CHARACTERS).decode("utf-8", "replace").strip()
            fix = {401: "see registry.token_env", 403: "see registry.token_env", 404: "see registry.url and model"}
            fixes = fix.get(error.code, "see the registry's log; it is asked again")
            raise RegistryError(f"the registry answered {error.code}: {said}", where=where, fix=fixes) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            what = f"the registry cannot be reached: {reason or type(error).__name__}"
            raise RegistryError(what, where=where, fix="see whether it runs; it is asked again") from error


def _pieces(answer: Any, path: str, most: int, seconds: float) -> Any:
    """Pieces of an answer within bounds."""
    deadline, size = time.monotonic() + seconds, 0
    while True:
        try:
            piece = answer.read1(PIECE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise RegistryError(f"the answer broke off: {error or type(error).__name__}", where=path) from error
        if not piece:
            break
        size += len(piece)
        if size > most:
            raise RegistryError(f"the answer is larger than {most:,} bytes", where=path)
        if time.monotonic() > deadline:
            raise RegistryError(f"the answer took longer than {seconds:g} s", where=path)
        yield piece
    expected = answer.headers.get("Content-Length", "")
    if expected.isdigit() and int(expected) != size:
        raise RegistryError(f"the answer broke off after {size:,} of {int(expected):,} bytes", where=path)
