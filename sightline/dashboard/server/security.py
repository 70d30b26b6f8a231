"""Who may look and who may act: hosts, tokens, a trusted proxy, and forms that come from our own pages."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Role = Literal["none", "read", "act"]
COOKIE = "sightline_token"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class Access:
    """How people get in.

    Parameters
    ----------
    hosts : frozenset of str
        Names that the dashboard is called by, besides addresses of loopback; a request by another name is refused, so
        that no page elsewhere can reach it through a name of its own.
    read_token, act_token : str or None
        Who shows one may look, or act too. Without any, everybody who reaches it may look and act: it listens on
        loopback then.
    proxy_header : str or None
        Header by which a proxy in front names the person; whoever has it may look and act.
    secret : bytes
        Signs forms; new with every start.
    """

    hosts: frozenset[str] = frozenset()
    read_token: str | None = None
    act_token: str | None = None
    proxy_header: str | None = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def is_open(self) -> bool:
        """Nobody needs to show anything."""
        return self.read_token is None and self.act_token is None and self.proxy_header is None

    def knows(self, host: str) -> bool:
        """Whether the dashboard is called by this name (with or without a port)."""
        name = _without_port(host)
        if name in self.hosts or name == "localhost":
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def role(self, request: Request) -> Role:
        """What a request may do."""
        if self.is_open:
            return "act"
        if self.proxy_header is not None and request.headers.get(self.proxy_header):
            return "act"
        return self.role_of(_shown(request))

    def role_of(self, token: str) -> Role:
        """What a token may do."""
        if self.act_token is not None and _same(token, self.act_token):
            return "act"
        if self.read_token is not None and _same(token, self.read_token):
            return "read"
        return "none"

    def person(self, request: Request, said: str) -> str:
        """Who acts: whom the proxy names, else who is said to, else the dashboard."""
        named = request.headers.get(self.proxy_header, "") if self.proxy_header else ""
        return (named or said)[:200] or "dashboard"

    def form_key(self, address: str) -> str:
        """What a form on one of our pages carries."""
        return hmac.new(self.secret, address.encode(), sha256).hexdigest()

    def is_our_form(self, request: Request, address: str, key: str) -> bool:
        """Whether a form was sent from one of our pages."""
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "same-origin")
        same = origin is None or origin.partition("://")[2] == request.headers.get("host", "")
        return same and site in ("same-origin", "none") and _same(key, self.form_key(address))


def _shown(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), known.encode())


def _without_port(host: str) -> str:
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name if not rest or (rest[0] == ":" and rest[1:].isdecimal()) else host
    return host.rpartition(":")[0] if host.count(":") == 1 else host


class SafeHeaders:
    """Adds `HEADERS` to every answer, and refuses requests by a name that is not ours."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if not self._access.knows(headers.get(b"host", b"").decode("latin-1")):
            await _refuse(send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, add)


async def _refuse(send: Send) -> None:
    body = b"This name is not one of the dashboard's: start it with --allow-host NAME.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
