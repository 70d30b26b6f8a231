"""Posting a message to an address: signed, to a checked address only, in bounded time, without following redirects."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import sightline
from sightline.alerts.delivery.addresses import NeverAllowedError, NotAllowedError, checked_addresses
from sightline.alerts.delivery.outcome import TAKEN, Outcome
from sightline.alerts.schedule import LONGEST_ASKED

SIGNATURE = "X-Sightline-Signature"
KEY = "Idempotency-Key"
BUSY = (408, 425, 429)
"""Refusals that are the receiver's state, not the message's fault."""

FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (NeverAllowedError, "its address is link-local (where clouds keep credentials) or nobody's: give another one"),
    (
        NotAllowedError,
        "its address is on this machine or in a private network: set allow_private: true if it should be",
    ),
    (socket.gaierror, "its host name is unknown"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ConnectionRefusedError, "the connection was refused"),
)
"""What an error means; its own text may repeat the address."""


@dataclass(frozen=True)
class Target:
    """Where and how to post; `repr` shows nothing of it.

    Attributes
    ----------
    url : str
        http or https.
    secret : str or None
        Key of the signature.
    headers : mapping
        More headers.
    allow_private : bool
        Whether it may be on this machine or in a private network.
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    allow_private: bool = False


def signature(secret: str, body: bytes, at: int) -> str:
    """The value of the header ``X-Sightline-Signature``.

    Parameters
    ----------
    secret : str
        The shared key.
    body : bytes
        As sent.
    at : int
        Seconds since 1970; a receiver refuses old ones, so that nobody can play one back.

    Returns
    -------
    str
        ``t=<at>,v1=<HMAC-SHA256 of "<at>." and the body, in hex>``.

    Examples
    --------
    >>> signature("key", b"{}", 1)
    't=1,v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224'
    """
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def post(target: Target, body: bytes, content_type: str, key: str, *, timeout: float) -> Outcome:
    """Post one message.

    Parameters
    ----------
    target : Target
    body : bytes
    content_type : str
    key : str
        Sent as ``Idempotency-Key``.
    timeout : float
        Seconds for all of it; a receiver that answers a byte at a time is cut off, too.

    Returns
    -------
    Outcome
        Taken where the answer is 2xx.
    """
    problem = _problem(target)
    if problem:
        return Outcome(problem)
    parsed = urlsplit(target.url)
    deadline = time.monotonic() + timeout
    try:
        return _answered(_exchange(target, parsed, body, _headers(target, body, content_type, key), deadline))
    except (OSError, http.client.HTTPException, NotAllowedError) as error:
        words = next((words for kind, words in FAILURES if isinstance(error, kind)), "")
        is_late = isinstance(error, TimeoutError) or time.monotonic() >= deadline
        return Outcome(words or (f"no answer within {timeout:g} s" if is_late else "the connection broke"))


def _problem(target: Target) -> str:
    """Why nothing can be sent to an address, without telling it."""
    try:
        parsed = urlsplit(target.url)
        is_good = parsed.scheme in ("http", "https") and bool(parsed.hostname) and (parsed.port or 1) > 0
    except ValueError:
        is_good, parsed = False, urlsplit("")
    if not is_good or not target.url.isascii() or any(c.isspace() or not c.isprintable() for c in target.url):
        return "its address is no http or https address"
    if parsed.username is not None or parsed.password is not None:
        return "its address holds a user or a password: use `headers` with a reference"
    broken = [name for name, value in target.headers.items() if not (name + value).isascii() or not value.isprintable()]
    return f"the value of its header {broken[0]} is no plain text" if broken else ""


def _headers(target: Target, body: bytes, content_type: str, key: str) -> dict[str, str]:
    told = {"Content-Type": content_type, KEY: key, "User-Agent": f"sightline/{sightline.__version__}"}
    signed = {} if target.secret is None else {SIGNATURE: signature(target.secret, body, int(time.time()))}
    return {**target.headers, **told, **signed}


def _exchange(
    target: Target, parsed: SplitResult, body: bytes, headers: Mapping[str, str], deadline: float
) -> tuple[int, str | None]:
    """Status and ``Retry-After`` of the answer; its body is not read."""
    host, is_secure = str(parsed.hostname), parsed.scheme == "https"
    port = parsed.port or (443 if is_secure else 80)
    connection = http.client.HTTPConnection(host, port)
    connection.sock = _connect(host, port, allow_private=target.allow_private, deadline=deadline)
    watchdog = threading.Timer(max(deadline - time.monotonic(), 0.0), _cut, [connection])
    watchdog.daemon = True
    watchdog.start()
    try:
        if is_secure:
            connection.default_port = 443  # left out of the header Host
            context = ssl.create_default_context()
            connection.sock = secure = context.wrap_socket(
                connection.sock, server_hostname=host, do_handshake_on_connect=False
            )
            secure.do_handshake()
        path = parsed._replace(scheme="", netloc="", fragment="").geturl() or "/"
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Retry-After")
    finally:
        watchdog.cancel()
        connection.close()


def _connect(host: str, port: int, *, allow_private: bool, deadline: float) -> socket.socket:
    """A connection to a checked address of the host."""
    error: OSError = TimeoutError()
    for address in checked_addresses(host, port, allow_private=allow_private):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            found = socket.create_connection((address, port), timeout=left)
        except OSError as failure:
            error = failure
        else:
            return found
    raise error


def _cut(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError, TypeError):  # it was closed meanwhile
        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _answered(answer: tuple[int, str | None]) -> Outcome:
    status, asked = answer
    if 200 <= status < 300:
        return TAKEN
    if 300 <= status < 400:
        return Outcome(f"answered {status}, a redirect: these are not followed, give the final address")
    is_down = status >= 500 or status in (*BUSY, 401, 403, 404, 410)
    return Outcome(f"answered {status}", retry_after=_seconds(asked), is_channel_down=is_down)


def _seconds(asked: str | None) -> float | None:
    """``Retry-After`` in seconds: a number, or a date."""
    if asked is None:
        return None
    text = asked.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_ASKED)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment.timestamp() - time.time(), 0.0), LONGEST_ASKED)
