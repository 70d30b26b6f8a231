"""What one request may cost: disk, memory, time, and compressed bodies."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.collector import app
from sightline.collector.limits import HTTPError, Limits, decompress
from sightline.home import Home
from sightline.log import writer as log_writer
from tests.support.collector_site import EVENT, INFER, Site, logged, make_home, run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_low_disk_space_refuses_before_the_disk_is_full(home, monkeypatch):
    monkeypatch.setattr(app, "RELOAD_SECONDS", 0.01)

    async def talk(site: Site) -> None:
        while (ready := (await site.web.get("/readyz")).json())["status"] == "ready":
            await asyncio.sleep(0.01)
        assert ready["reasons"] == ["too little disk space is left"]
        assert (await site.post(INFER, EVENT)).status_code == 503

    run(home, talk, limits=Limits(min_free_bytes=1 << 60))
    assert logged(home) == []


def test_too_much_waiting_is_429_and_too_many_requests_503(home, monkeypatch):
    gate = threading.Event()
    real = log_writer.OpenSegment.append
    monkeypatch.setattr(log_writer.OpenSegment, "append", lambda self, *a: (gate.wait(20), real(self, *a))[1])

    async def talk(site: Site) -> None:
        waiting = [asyncio.create_task(site.post(INFER, [{"id": f"w{i}", "version": "x" * 900}])) for i in range(3)]
        while site.collector.registry.monitors["m"].writers["inferences"].pending_bytes < 1000:
            await asyncio.sleep(0.001)
        answer = await site.post(INFER, [{"id": "x", "version": "x" * 5000}])
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        site.collector.state.in_flight += 1000
        answer = await site.post(INFER, EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        site.collector.state.in_flight -= 1000
        gate.set()
        assert [(await task).status_code for task in waiting] == [200] * 3

    run(home, talk, limits=Limits(max_pending_bytes=4000, max_in_flight=1000, min_free_bytes=0))
    assert sorted(e.id for e in logged(home)) == ["w0", "w1", "w2"]


def test_a_slow_body_is_timed_out(home):
    async def talk(site: Site) -> None:
        async def slowly() -> AsyncIterator[bytes]:
            yield b"["
            await asyncio.Event().wait()

        scope_headers = {"content-type": "application/json"}
        answer = await site.web.post(INFER, content=slowly(), headers=scope_headers)
        assert answer.status_code == 408

    run(home, talk, limits=Limits(body_timeout_seconds=0.05, min_free_bytes=0))


def test_a_large_body_arrives_in_pieces_and_is_parsed_on_a_thread(home):
    async def talk(site: Site) -> None:
        rows = [{"id": f"p{i}", "features": {"x": "y" * 50}} for i in range(3000)]
        data = json.dumps(rows).encode()

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 10_000):
                yield data[start : start + 10_000]

        answer = await site.web.post(INFER, content=pieces(), headers={"content-type": "application/json"})
        assert answer.json()["accepted"] == 3000

    run(home, talk)
    assert len(logged(home)) == 3000


def zstd_stream(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress, zstd_stream])
@pytest.mark.parametrize("size", [0, 1, 5000, 300_000])
def test_compressed_bodies(pack, size):
    data = random.Random(size).randbytes(size)
    encoding = "gzip" if pack is gzip.compress else "zstd"
    assert decompress(pack(data), encoding, size) == data
    assert decompress(pack(data) + pack(b"tail"), encoding, size + 4) == data + b"tail"
    for cut in (1, len(pack(data)) // 2):
        with pytest.raises(HTTPError) as caught:
            decompress(pack(data)[:-cut], encoding, size)
        assert caught.value.status == 400


def test_bombs_stop_at_the_limit():
    bomb = b"\0" * 50_000_000
    for encoding, data in (
        ("gzip", gzip.compress(bomb, mtime=0)),
        ("zstd", zstandard.ZstdCompressor().compress(bomb)),
        ("zstd", zstd_stream(bomb)),
    ):
        started = time.perf_counter()
        with pytest.raises(HTTPError) as caught:
            decompress(data, encoding, 100_000)
        assert caught.value.status == 413 and time.perf_counter() - started < 2
    long_window = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    )
    with pytest.raises(HTTPError):
        decompress(long_window.compress(bomb), "zstd", 100_000)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["gzip", "zstd"]))
def test_any_bytes_are_decompressed_or_refused(data, encoding):
    for content in (
        data,
        gzip.compress(b"x" * 100, mtime=0)[: len(data)] + data,
        zstd_stream(b"x" * 100)[: len(data)] + data,
    ):
        try:
            assert isinstance(decompress(content, encoding, 1000), bytes)
        except HTTPError as error:
            assert error.status in (400, 413)
