"""Bodies and connections that cost a server more than they cost their sender, and what is measured meanwhile."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

from tests.support.collector_process import CollectorProcess

JSON_TYPE = {"Content-Type": "application/json"}
MEGABYTE = 1024 * 1024

HOSTILE_FILES = {
    "brackets": b"[" * 20_000,
    "maps": b"a: " + b"{a: " * 20_000,
    "dashes": b"- " * 20_000,
    "30 MB": b"#" * 30_000_000,
    "a long number": b"x: " + b"9" * 9_999,
    "no text": b"\xff",
    "a null byte": b"\0",
    "aliases": b"a0: &a0 [x]\n"
    + b"".join(b"a%d: &a%d [%b]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 40)),
    "a chain of aliases": b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [*a%d]\n" % (i, i, i - 1) for i in range(1, 2_000)),
}
"""Contents of a monitor's YAML file."""

Attack = tuple[str, bytes, dict[str, str]]
"""Format, body as it is sent, and further headers."""


def gz(data: bytes) -> bytes:
    """Compressed."""
    return gzip.compress(data, 6, mtime=0)


def _array(item: bytes, size: int) -> bytes:
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


def _sagemaker(size: int) -> bytes:
    csv = base64.b64encode(b"1," * (size * 3 // 8)).decode()
    record = {
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": csv, "encoding": "BASE64"}
        },
        "eventMetadata": {"eventId": "e", "inferenceTime": "2026-01-31T06:00:00Z"},
        "eventVersion": "0",
    }
    return json.dumps(record).encode()


def _tensor(size: int) -> bytes:
    inputs = [{"name": "x", "shape": [size], "datatype": "UINT8", "parameters": {"binary_data_size": size}}]
    return json.dumps({"id": "t", "inputs": inputs}).encode() + b"\1" * size


def bodies() -> dict[str, Attack]:
    """Bodies by name; compressed they are small, decompressed at the limit of 32 MiB (a little below)."""
    full = 31 * MEGABYTE
    packed = {**JSON_TYPE, "Content-Encoding": "gzip"}
    lines = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    found: dict[str, Attack] = {
        "99,999 bad rows": ("inferences", gz(_array(b"1", 2 * 99_999)), packed),
        "9,999 bad rows": ("inferences", gz(_array(b"1", 2 * 9_999)), packed),
        "9,999 bad lines": ("inferences", gz(b"{}\n" * 9_999), lines),
        "a million bad lines": ("inferences", gz(b"1\n" * 1_000_000), lines),
        "numbers": ("inferences", gz(_array(b"1", full)), packed),
        "half surrogates": ("inferences", gz(b'["' + rb"\ud800" * 5_000_000 + b'"]'), packed),
        "NaN": ("inferences", gz(_array(b"NaN", full)), packed),
        "empty members": ("inferences", gz(b"") * 100_000, packed),
        "empty frames": (
            "inferences",
            zstandard.ZstdCompressor().compress(b"") * 500_000,
            {**JSON_TYPE, "Content-Encoding": "zstd"},
        ),
        "too much": ("inferences", gz(b" " * (64 * MEGABYTE)), packed),
        "brackets": ("inferences", gz(b"[" * full), packed),
        "arrays": ("inferences", gz(_array(b"[]", full)), packed),
        "objects": ("inferences", gz(_array(b'{"a":1}', full)), packed),
        "one row of arrays": ("inferences", gz(b'{"id":"a","features":{"x":' + _array(b"[]", full) + b"}}"), packed),
        "one row of objects": (
            "inferences",
            gz(b'{"id":"a","features":{"x":' + _array(b'{"a":1}', full) + b"}}"),
            packed,
        ),
        "one row of numbers": ("inferences", gz(b'{"id":"a","features":{"x":' + _array(b"1", full) + b"}}"), packed),
        "a text": ("inferences", gz(b'{"id":"a","features":{"x":"' + b"y" * full + b'"}}'), packed),
        "names": (
            "inferences",
            gz(json.dumps({"id": "a", "features": {f"n{i}": i for i in range(1_500_000)}}).encode()),
            packed,
        ),
        "labels": ("labels", gz(_array(b'{"id":"a"}', full)), packed),
        "SageMaker CSV": ("sagemaker", gz(_sagemaker(full)), packed),
        "tensor": ("open_inference", _tensor(7 * MEGABYTE), JSON_TYPE),
        "packed tensor": ("open_inference", gz(_tensor(full)), packed),
        "tensor values": (
            "open_inference",
            gz(b'{"inputs":[{"name":"x","datatype":"FP32","shape":[15000000],"data":' + _array(b"1", full) + b"}]}"),
            packed,
        ),
    }
    just = 900_000  # values that take two marks each: a little below the limit
    arrays = b'{"id":"a","features":{"x":' + _array(b"[]", 3 * just) + b"}}"
    records = b'{"dataframe_records":' + _array(b'{"a":1}', 8 * just) + b"}"
    rows = b'{"id":"t","instances":' + _array(_array(b"1", 2 * 190), 381 * 9_999) + b"}"
    found |= {
        "just arrays": ("inferences", gz(arrays), packed),
        "just objects": ("inferences", gz(arrays.replace(b"[]", b'{"a":1}')), packed),
        "just records": ("mlflow", gz(records), packed),
        "just rows": ("open_inference", gz(rows), packed),
        "just NaN": ("inferences", gz(_array(b"NaN", 2_000_000)), packed),
        "just half surrogates": ("inferences", gz(b'["' + rb"\ud800" * 340_000 + b'"]'), packed),
        "blank lines": ("inferences", gz(b"\n" * full), lines),
        "blank lines of records": ("databricks", gz(b"\n" * full), lines),
    }
    for name in ("cloudevents", "open_inference", "mlflow", "databricks", "sagemaker", "bentoml", "otlp"):
        headers = packed if name != "cloudevents" else {**packed, "Content-Type": "application/cloudevents-batch+json"}
        found[f"{name}: numbers"] = (name, gz(_array(b"1", full)), headers)
        found[f"{name}: 9,999 objects"] = (name, gz(_array(b'{"a":1}', 8 * 9_999)), headers)
        found[f"{name}: half surrogates"] = (name, gz(b'["' + rb"\ud800" * 5_000_000 + b'"]'), headers)
    return found


def post(port: int, attack: Attack, token: str = "") -> int:
    """Status of the answer to a body, as Python's own client sees it."""
    name, body, headers = attack
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        extra = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("POST", f"/v1/monitors/m/{name}", body, {**headers, **extra})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def longest_hold() -> float:
    """Seconds that one body may keep the loop from others: 0.2, or as long as five readings of 30 MB of base64."""
    text, best = base64.b64encode(b"1," * (12 * MEGABYTE)), math.inf
    for _ in range(3):
        started = time.perf_counter()
        base64.b64decode(text, validate=True)
        best = min(best, time.perf_counter() - started)
    return max(0.2, 5 * best)


class Watch:
    """How long `/healthz` takes while something else goes on, and how much memory the server comes to need.

    The time in which the event loop was ready to run and other programs had its core is known to the kernel, and taken
    off: it says nothing about the server.
    """

    def __init__(self, collector: CollectorProcess) -> None:
        assert collector.process is not None
        self._collector, self._pid = collector, collector.process.pid
        self.slowest = 0.0
        self.peak_bytes = 0
        self.answered = 0
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._probe, daemon=True)

    def __enter__(self) -> Watch:
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")  # the peak counts from now
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._enough.set()
        self._thread.join(60)
        status = Path(f"/proc/{self._pid}/status").read_text()
        self.peak_bytes = 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def _probe(self) -> None:
        while not self._enough.is_set() or not self.answered:
            waited, started = self._waited(), time.perf_counter()
            with socket.create_connection(("127.0.0.1", self._collector.port), timeout=60) as peer:
                peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                answer = peer.recv(65536)
            seconds = time.perf_counter() - started
            assert answer.startswith(b"HTTP/1.1 200"), answer
            self.slowest = max(self.slowest, seconds - max(0.0, self._waited() - waited))
            self.answered += 1
            self._enough.wait(0.005)

    def _waited(self) -> float:
        """Seconds in which the event loop's thread, or this one, was ready and had no core."""
        threads = (f"/proc/{self._pid}/task/{self._pid}", f"/proc/self/task/{threading.get_native_id()}")
        return sum(int(Path(thread, "schedstat").read_text().split()[1]) for thread in threads) / 1e9


def resident_bytes(collector: CollectorProcess) -> int:
    """Memory of the server now."""
    assert collector.process is not None
    pages = int(Path(f"/proc/{collector.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def peer(port: int, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """A bare connection."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    try:
        yield connection
    finally:
        connection.close()
