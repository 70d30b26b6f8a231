"""A webhook: signed, to a checked address, in bounded time; its errors name no address."""

from __future__ import annotations

import hashlib
import hmac
import runpy
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sightline.alerts.delivery import posting
from sightline.alerts.delivery.addresses import NotAllowedError, checked_addresses
from sightline.alerts.delivery.posting import Target, post
from tests.support.outbox import Receiver

BODY = b'{"changes": [], "more": []}'


def send(url: str, *, timeout: float = 5.0, **more):
    return post(Target(url, **{"allow_private": True, **more}), BODY, "application/json", "k" * 32, timeout=timeout)


def test_a_message_arrives_signed():
    with Receiver() as receiver:
        outcome = send(receiver.url, secret="s3cret", headers={"X-Team": "a"})
    assert outcome.error == ""
    ((headers, body),) = receiver.requests
    assert body == BODY and headers["Idempotency-Key"] == "k" * 32 and headers["X-Team"] == "a"
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    at, mac = (part.partition("=")[2] for part in headers["X-Sightline-Signature"].split(","))
    assert abs(int(at) - time.time()) < 60
    assert mac == hmac.new(b"s3cret", at.encode() + b"." + body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("status", "error", "is_down"),
    [(200, "", True), (202, "", True), (302, "redirect", True), (307, "redirect", True), (400, "answered 400", False),
     (404, "answered 404", True), (422, "answered 422", False), (429, "answered 429", True),
     (500, "answered 500", True), (503, "answered 503", True)],
)  # fmt: skip
def test_answers(status, error, is_down):
    with Receiver(lambda n, changes: (status, True)) as receiver:
        outcome = send(receiver.url)
    assert error in outcome.error and bool(error) == bool(outcome.error) and outcome.is_channel_down == is_down
    assert len(receiver.requests) == 1  # a redirect is not followed


@contextmanager
def raw_server(work):
    """A server that is no HTTP server."""
    server = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def run():
        connection, _ = server.accept()
        with connection:
            work(connection, stopped)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/secret-path"
    finally:
        stopped.set()
        server.close()
        thread.join(10)


def hang(connection, stopped):
    stopped.wait(30)


def drip(connection, stopped):
    """A byte at a time, each well within any timeout of a single read."""
    while not stopped.wait(0.05):
        try:
            connection.sendall(b"H")
        except OSError:
            return


def drip_headers(connection, stopped):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not stopped.wait(0.05):
        try:
            connection.sendall(b"X-More: 1\r\n")
        except OSError:
            return


def nonsense(connection, stopped):
    connection.recv(65536)
    connection.sendall(b"\x00\xff garbage\r\n\r\n")


def close(connection, stopped):
    connection.recv(65536)


@pytest.mark.parametrize("work", [hang, drip, drip_headers, nonsense, close])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_endpoint_that_misbehaves_is_cut_off(work, scheme):
    start = time.monotonic()
    with raw_server(work) as url:
        outcome = send(url.replace("http", scheme, 1), timeout=2.0)
        took = time.monotonic() - start
    is_taken = work is drip_headers and scheme == "http"  # its status came in time
    assert bool(outcome.error) != is_taken and took < 8.0
    assert "secret-path" not in outcome.error and "127.0.0.1" not in outcome.error


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert send(f"http://127.0.0.1:{port}/token-xyz").error == "the connection was refused"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "192.168.1.1", "172.16.3.4", "169.254.169.254", "0.0.0.0",
     "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fc00::1]",
     "100.64.0.1", "224.0.0.1", "2130706433", "0x7f000001", "127.1"],
)  # fmt: skip
def test_private_addresses_only_when_named(host):
    outcome = send(f"http://{host}:9/x", allow_private=False, timeout=3.0)
    assert any(words in outcome.error for words in ("private network", "link-local", "unknown"))


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "::ffff:169.254.169.254"])
def test_some_addresses_never(host):
    with pytest.raises(NotAllowedError):
        checked_addresses(host, 80, allow_private=True)
    name = f"[{host}]" if ":" in host else host
    told = send(f"http://{name}:9/x", allow_private=True, timeout=3.0).error
    assert "link-local" in told and "allow_private" not in told


def test_a_name_is_looked_up_once_and_the_checked_address_is_used(monkeypatch):
    """DNS that answers another address the second time (rebinding) reaches nothing."""
    looked_up = []
    real = socket.getaddrinfo

    def lookup(host, port, *args, **kwargs):
        if host != "rebind.example":
            return real(host, port, *args, **kwargs)
        looked_up.append(host)
        address = "93.184.216.34" if len(looked_up) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    connected = []

    def connect(address, timeout=None, **kwargs):
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(posting.socket, "getaddrinfo", lookup)
    monkeypatch.setattr(posting.socket, "create_connection", connect)
    assert send("http://rebind.example:8080/", allow_private=False).error == "the connection was refused"
    assert connected == [("93.184.216.34", 8080)] and len(looked_up) == 1


def test_one_private_address_among_public_ones_is_refused(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(posting.socket, "getaddrinfo", lambda *args, **kwargs: found)
    assert "private network" in send("http://both.example/", allow_private=False).error


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x.example/s3cret", "no http or https address"),
        ("http:///s3cret", "no http or https address"),
        ("http://x.example:99999/s3cret", "no http or https address"),
        ("http://x.example/s3cret\r\nX-Evil: 1", "no http or https address"),
        ("http://user:s3cret@x.example/", "holds a user or a password"),
        ("not an address s3cret", "no http or https address"),
    ],
)
def test_addresses_that_are_none(url, words):
    outcome = send(url)
    assert words in outcome.error and "s3cret" not in outcome.error


def test_a_header_that_would_break_out_is_refused():
    outcome = send("http://127.0.0.1:9/", headers={"X-Key": "a\r\nX-Evil: 1"})
    assert outcome.error == "the value of its header X-Key is no plain text"


def test_nothing_shows_a_target():
    assert "s3cret" not in repr(Target("https://x.example/s3cret", "s3cret", {"a": "s3cret"}))


@pytest.mark.parametrize(
    ("asked", "low", "high"), [("120", 120, 120), ("99999999", 21600, 21600), ("soon", None, None)]
)
def test_retry_after(asked, low, high):
    class Busy(Receiver):
        def headers(self, status):
            return {"Retry-After": asked}

    with Busy(lambda n, changes: (429, False)) as receiver:
        outcome = send(receiver.url)
    assert outcome.retry_after == low == high


def test_the_receiver_of_the_documentation_knows_what_is_genuine(tmp_path):
    page = (Path(__file__).resolve().parents[3] / "docs" / "alerting.md").read_text(encoding="utf-8")
    (tmp_path / "receiver.py").write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    is_genuine = runpy.run_path(str(tmp_path / "receiver.py"))["is_genuine"]
    now = int(time.time())
    good = posting.signature("key", BODY, now)
    assert is_genuine(good, BODY, "key")
    assert not is_genuine(good, BODY + b" ", "key") and not is_genuine(good, BODY, "other")
    assert not is_genuine(posting.signature("key", BODY, now - 301), BODY, "key")
