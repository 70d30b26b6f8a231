"""The collector in one process: what it takes, what it refuses and how, and that a 200 means durable."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.collector.auth import create_token, read_tokens, revoke_token, tokens_path
from sightline.collector.dedupe import RecentIds
from sightline.collector.formats import ADAPTERS, native
from sightline.collector.limits import HTTPError, Limits, decompress
from sightline.collector.monitors import Registry
from sightline.collector.server import is_loopback, make_collector
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.log import segment as seg
from sightline.log import writer as log_writer
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.log.reader import read_segment
from sightline.spec.model import MonitorSpec

MONITOR = """\
version: 1
model: {{id: {name}, task: binary_classification}}
columns:
  prediction_id: flight
  score: p_late
  timestamp: departed_at
  features: {{distance: numeric, carrier: categorical}}
labels: {{column: late, observed_at: landed_at}}
reference: {{kind: window, start: 2026-01-01, end: 2026-02-01}}
"""
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {
            "prediction_id": "flight",
            "score": "p_late",
            "timestamp": "departed_at",
            "features": {"distance": "numeric"},
        },
        "labels": {"column": "late", "observed_at": "landed_at"},
        "reference": {"start": "2026-01-01", "end": "2026-02-01"},
    }
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.monitors.mkdir()
    for name in ("m", "other"):
        (home.monitors / f"{name}.yaml").write_text(MONITOR.format(name=name))
    return home


class Site:
    """A collector with its lifespan running, and a client that talks to it."""

    def __init__(self, collector: Any, web: httpx.AsyncClient) -> None:
        self.collector, self.web = collector, web

    async def post(self, path: str, content: Any, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return await self.web.post(path, content=body, headers=sent)


def run(home: Home, talk: Callable[[Site], Any], **options: Any) -> Any:
    @asynccontextmanager
    async def site() -> AsyncIterator[Site]:
        collector = make_collector(home, **{"guards": False, **options})
        async with collector._pages.router.lifespan_context(collector._pages):
            transport = httpx.ASGITransport(collector)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as web:
                yield Site(collector, web)

    async def main() -> Any:
        async with site() as running:
            return await talk(running)

    return asyncio.run(main())


def logged(home: Home, kind: str = "inferences", monitor: str = "m") -> list[Any]:
    log = home.monitor(monitor).log
    return [e for path in (*seg.list_sealed(log, kind), *seg.list_open(log, kind)) for e in read_segment(path).events]


EVENT = {
    "id": "a",
    "at": "2026-01-31T06:00:00+02:00",
    "version": "v1",
    "features": {"distance": 7, "carrier": "UA"},
    "score": 0.25,
}
INFER, LABEL = "/v1/monitors/m/inferences", "/v1/monitors/m/labels"


def test_object_array_and_ndjson_are_durable_when_answered(home):
    async def talk(site: Site) -> None:
        answer = await site.post(INFER, EVENT)
        assert (answer.status_code, answer.json()) == (
            200,
            {"accepted": 1, "duplicate": 0, "rejected": 0, "errors": []},
        )
        assert [e.id for e in logged(home)] == ["a"]
        assert (await site.post(INFER, [{"id": "b"}, {"id": "c"}])).json()["accepted"] == 2
        lines = b'{"id": "d"}\r\n\n{"id": "e"}\n'
        assert (await site.post(INFER, lines, content_type="application/x-ndjson")).json()["accepted"] == 2
        assert (await site.post(INFER, b'{"id": "f"}\n{"id": "g"}')).json()["accepted"] == 2
        assert (await site.post(LABEL, {"id": "a", "value": True, "at": "2026-02-01T00:00:00Z"})).json()[
            "accepted"
        ] == 1
        assert (await site.post(INFER, [])).json()["accepted"] == 0

    run(home, talk)
    events = logged(home)
    assert [e.id for e in events] == list("abcdefg")
    assert (events[0].at, events[0].source, events[0].features) == (
        datetime(2026, 1, 31, 4, tzinfo=UTC), "native", {"distance": 7, "carrier": "UA"},
    )  # fmt: skip
    assert abs((events[0].received_at - datetime.now(UTC)).total_seconds()) < 60
    assert [(e.id, e.value) for e in logged(home, "labels")] == [("a", True)]
    assert seg.list_open(home.monitor("m").log) == []  # the end of the lifespan seals


def test_flat_rows_under_the_yamls_names(home):
    rows = [
        {
            "flight": "a",
            "distance": 7,
            "carrier": "UA",
            "p_late": 0.5,
            "departed_at": "2026-01-31T06:00:00Z",
            "gate": "B",
        }
    ]
    truth = [{"flight": "a", "late": 1, "landed_at": "2026-01-31T09:00:00Z", "distance": 7}, {"flight": "", "late": 1}]

    async def talk(site: Site) -> None:
        assert (await site.post(INFER, rows)).json()["accepted"] == 1
        answer = (await site.post(LABEL, truth)).json()
        assert (answer["accepted"], answer["rejected"]) == (1, 1)

    run(home, talk)
    (event,) = logged(home)
    assert (event.id, event.score, event.at) == ("a", 0.5, datetime(2026, 1, 31, 6, tzinfo=UTC))
    assert (event.features, event.prediction) == ({"distance": 7, "carrier": "UA", "gate": "B"}, None)
    (label,) = logged(home, "labels")
    assert (label.id, label.value, label.at) == ("a", 1, datetime(2026, 1, 31, 9, tzinfo=UTC))


def test_columns_that_are_no_features_leave_the_features_of_a_flat_row():
    spec = MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": "multiclass_classification"},
            "columns": {
                "prediction_id": "k", "timestamp": "t", "prediction": "says", "class_scores": {"a": "p_a", "b": "p_b"},
                "entity_id": "plane", "status": "code", "features": {"plane": "categorical"},
            },
            "reference": {"start": "2026-01-01", "end": "2026-02-01"},
        }
    )  # fmt: skip
    row = {"k": 1, "t": "2026-01-31", "says": "a", "p_a": 0.75, "p_b": 0.25, "plane": "N1", "code": 200, "note": "B"}
    (event,) = native.inferences({}, json.dumps(row).encode(), spec)
    assert (event.id, event.prediction, event.class_scores) == ("1", "a", {"a": 0.75, "b": 0.25})
    assert (event.entity, event.status, event.features) == ("N1", 200, {"plane": "N1", "note": "B"})
    (bare,) = native.inferences({}, b'{"k": 1, "note": "B"}', spec)
    assert (bare.prediction, bare.features) == (None, {"note": "B"})


def test_bad_rows_are_rejected_one_by_one_and_kept(home):
    rows = [
        {"id": "ok"},
        {"id": "a", "scor": 1},
        {"id": "b", "at": 1767225600},
        {"score": 0.5},
        {"id": "c", "features": {"x": {"y": {"z": 1}}}},
        7,
        {"id": "d", "features": {str(i): 1 for i in range(native.MAX_FIELDS + 1)}},
        {"id": "e", "version": "x" * (native.MAX_TEXT_LENGTH + 1)},
        {"id": "f", "at": "0001-01-01T00:00:00Z"},
        {"id": "g", "source": "forged"},
        {"id": "h", "features": {"big": 10**30}, "score": "NaN"},
    ]

    async def talk(site: Site) -> dict[str, Any]:
        answer = (await site.post(INFER, rows)).json()
        metrics = (await site.web.get("/metrics")).text
        assert 'sightline_collector_rejections_total{monitor="m",reason="bad_timestamp"} 1' in metrics
        assert 'sightline_collector_events_total{monitor="m",kind="inferences",outcome="rejected"} 9' in metrics
        return answer

    answer = run(home, talk)
    assert (answer["accepted"], answer["duplicate"], answer["rejected"]) == (2, 0, 9)
    reasons = {error["row"]: error["reason"] for error in answer["errors"]}
    assert reasons == {
        1: "unknown_field", 2: "bad_timestamp", 3: "missing_id", 4: "limit_exceeded", 5: "bad_type",
        6: "limit_exceeded", 7: "limit_exceeded", 8: "timestamp_out_of_range", 9: "unknown_field",
    }  # fmt: skip
    kept = logged(home, "rejected")
    assert [(e.row, e.reason, e.kind) for e in kept] == [(row, reason, "inferences") for row, reason in reasons.items()]
    assert json.loads(kept[0].payload) == rows[1] and len(kept[5].payload) == native.MAX_PAYLOAD
    ok, h = logged(home)
    assert (ok.id, h.features, h.score != h.score) == ("ok", {"big": 1e30}, True)


def test_a_bad_line_does_not_cost_the_others(home):
    async def talk(site: Site) -> None:
        answer = (
            await site.post(LABEL, b'{"id": "a", "value": 1}\n{oops\n"x"\n', content_type="application/x-ndjson")
        ).json()
        assert (answer["accepted"], [e["reason"] for e in answer["errors"]]) == (1, ["bad_json", "bad_type"])

    run(home, talk)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "words"),
    [
        (INFER, b"{", {}, 400, "no JSON"),
        (INFER, b"", {}, 400, "no JSON"),
        (INFER, b"[" * 100_000, {}, 400, "JSON|nested"),
        (INFER, b"[]", {"content_type": "text/plain"}, 415, "application/json"),
        (INFER, b"[]", {"content_type": ""}, 415, "is missing"),
        (INFER, b"[]", {"content_encoding": "br"}, 415, "gzip or zstd"),
        (INFER, b"[]", {"content_encoding": "gzip"}, 400, "gzip"),
        (INFER, b"[]", {"content_encoding": "zstd"}, 400, "zstd"),
        (INFER, b" " * 3000, {}, 413, "1024 bytes"),
        (INFER, gzip.compress(b" " * 5000, mtime=0), {"content_encoding": "gzip"}, 413, "decompressed"),
        (INFER, b'[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}]', {}, 413, "4 rows"),
        ("/v1/monitors/n/labels", b"[]", {}, 404, "Did you mean 'm'|Allowed"),
        ("/v1/monitors/m/label", b"[]", {}, 404, "Did you mean 'labels'"),
        ("/v1/monitors/m", b"[]", {}, 404, "nothing is at"),
        (INFER, b"[]", {"host": "evil.example"}, 421, "127.0.0.1"),
    ],
)
def test_refusals_say_what_and_why(home, path, body, headers, status, words):
    import re

    async def talk(site: Site) -> None:
        answer = await site.post(path, body, **headers)
        assert answer.status_code == status, answer.text
        assert re.search(words, answer.text), answer.text
        assert set(answer.json()) <= {"error", "fix"}

    limits = Limits(
        max_body_bytes=200_000 if body[:1] == b"[" else 1024, max_decompressed_bytes=2048, max_rows=3, min_free_bytes=0
    )
    run(home, talk, limits=limits)
    assert logged(home) == []


def test_other_methods_and_pages(home):
    async def talk(site: Site) -> None:
        for method in ("GET", "PUT", "DELETE"):
            answer = await site.web.request(method, INFER)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await site.web.get("/healthz")).json() == {"status": "ok"}
        ready = await site.web.get("/readyz")
        assert (ready.status_code, ready.json()["monitors"]) == (200, 2)
        document = (await site.web.get("/openapi.json")).json()
        assert set(ADAPTERS) == {path.rsplit("/", 1)[1] for path in document["paths"] if path.startswith("/v1/")}
        assert "received_at" not in document["components"]["schemas"]["NativeInference"]["properties"]
        assert "POST /v1/monitors/<monitor>/labels" in (await site.web.get("/")).json()["paths"]
        assert (await site.web.get("/metrics", headers={"host": "evil.example"})).status_code == 421
        site.collector.is_ready = False
        answer = await site.post(INFER, EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await site.web.get("/readyz")).status_code == 503

    run(home, talk)


def test_exact_repeats_are_counted_and_not_logged_twice(home):
    async def talk(site: Site) -> None:
        other = {**EVENT, "score": 0.5}
        assert (await site.post(INFER, [EVENT, EVENT, other])).json() | {"errors": []} == {
            "accepted": 2, "duplicate": 1, "rejected": 0, "errors": [],
        }  # fmt: skip
        assert (await site.post(INFER, other)).json()["duplicate"] == 1
        values = [1, 0, 1, 1]
        answers = [(await site.post(LABEL, {"id": "a", "value": value})).json() for value in values]
        assert [a["accepted"] for a in answers] == [1, 1, 1, 0]  # a label that goes back is a label

    run(home, talk)
    assert [e.score for e in logged(home)] == [0.25, 0.5] and [e.value for e in logged(home, "labels")] == [1, 0, 1]


def test_the_window_of_recent_ids_is_bounded():
    recent = RecentIds(100)
    events = [InferenceEvent(id=str(i)) for i in range(1000)]
    encoded = [e.id.encode() for e in events]
    for i in range(0, 1000, 10):
        split = recent.split("inferences", events[i : i + 10], encoded[i : i + 10])
        assert split.duplicates == 0
        recent.remember(split.repeats)
    assert len(recent._young) + len(recent._old) <= 200
    assert recent.split("inferences", events[-100:], encoded[-100:]).duplicates == 100
    assert recent.split("inferences", events[:100], encoded[:100]).duplicates == 0


def test_halves_of_a_call_are_no_duplicates_of_each_other():
    recent = RecentIds()
    halves = [InferenceEvent(id="a", part="request"), InferenceEvent(id="a", part="response")] * 2
    split = recent.split("inferences", halves, [b"1", b"2", b"1", b"2"])
    assert (len(split.events), split.duplicates) == (2, 2)


def test_events_of_a_failed_commit_are_not_remembered_as_logged(home, monkeypatch):
    full = [True]
    real = log_writer.OpenSegment.append

    def append(self: Any, *arguments: Any) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        real(self, *arguments)

    monkeypatch.setattr(log_writer.OpenSegment, "append", append)

    async def talk(site: Site) -> None:
        answer = await site.post(INFER, EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10") and "No space left" in answer.text
        full[0] = False
        assert (await site.post(INFER, EVENT)).json()["accepted"] == 1

    run(home, talk)
    assert [e.id for e in logged(home)] == ["a"]


def test_low_disk_space_refuses_before_the_disk_is_full(home):
    async def talk(site: Site) -> None:
        site.collector.low_disk = site.collector._is_disk_low()
        assert (await site.post(INFER, EVENT)).status_code == 503
        assert (await site.web.get("/readyz")).json()["reasons"] == ["too little disk space is left"]

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
        site.collector.in_flight += 1000
        answer = await site.post(INFER, EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        site.collector.in_flight -= 1000
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


# ---- compression ---------------------------------------------------------------------------------------------------------------


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
    for content in (data, gzip.compress(b"x" * 100, mtime=0)[: len(data)] + data, zstd_stream(b"x" * 100)[: len(data)] + data):
        try:
            assert isinstance(decompress(content, encoding, 1000), bytes)
        except HTTPError as error:
            assert error.status in (400, 413)


# ---- tokens --------------------------------------------------------------------------------------------------------------------


def test_a_monitor_with_tokens_wants_one(home):
    token = create_token(home.monitor("m"), note="serving")
    reader = create_token(home.monitor("m"), scope="read")
    elsewhere = create_token(home.monitor("other"))

    async def talk(site: Site) -> None:
        assert (await site.post(INFER, EVENT)).status_code == 401
        for bad in (
            "Bearer x",
            f"Basic {token}",
            f"Bearer {token}x",
            f"Bearer {token[:-1]}",
            f"Bearer {elsewhere}",
            "Bearer slt_é",
        ):
            answer = await site.web.post(INFER, json=EVENT, headers=[(b"authorization", bad.encode())])
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", bad
        assert (await site.post(INFER, EVENT, authorization=f"Bearer {reader}")).status_code == 403
        assert (await site.post(INFER, EVENT, authorization=f"bearer {token}")).status_code == 200
        revoke_token(home.monitor("m"), token.split("_")[1])
        site.collector.registry.monitors["m"].tokens.reload()
        assert (await site.post(INFER, EVENT, authorization=f"Bearer {token}")).status_code == 401

    run(home, talk)
    text = tokens_path(home.monitor("m")).read_text()
    assert reader not in text and reader.split("_", 2)[2] not in text
    assert tokens_path(home.monitor("m")).stat().st_mode & 0o077 == 0
    assert [record.scope for record in read_tokens(home.monitor("m"))] == ["read"]
    with pytest.raises(SightlineError, match="no token"):
        revoke_token(home.monitor("m"), "absent")


def test_other_addresses_than_loopback_need_tokens(home):
    with pytest.raises(SightlineError, match="sightline token create"):
        make_collector(home, host="0.0.0.0", guards=False)
    token = create_token(home.monitor("m"))

    async def talk(site: Site) -> None:
        for path in (INFER, "/v1/monitors/other/inferences", "/v1/monitors/absent/inferences"):
            assert (await site.post(path, EVENT)).status_code == 401  # nobody learns which monitors exist
        assert (
            await site.post(INFER, EVENT, authorization=f"Bearer {token}", host="monitoring.example")
        ).status_code == 200
        assert (await site.web.get("/metrics")).status_code == 401
        assert (await site.web.get("/metrics", headers={"authorization": f"Bearer {token}"})).status_code == 200
        assert (await site.web.get("/healthz")).status_code == 200

    run(home, talk, host="0.0.0.0")
    assert [is_loopback(h) for h in ("127.0.0.1", "127.1.2.3", "localhost", "::1", "0.0.0.0", "192.168.0.1", "example")] == [
        True, True, True, True, False, False, False,
    ]  # fmt: skip


def test_a_damaged_token_file_keeps_the_door_shut(home):
    create_token(home.monitor("m"))
    tokens_path(home.monitor("m")).write_text("{")
    with pytest.raises(SightlineError, match="damaged"):
        read_tokens(home.monitor("m"))


# ---- monitors ------------------------------------------------------------------------------------------------------------------


def test_monitors_come_go_and_break_while_the_collector_runs(home):
    registry = Registry(home, Limits())
    assert registry.load() == [] and set(registry.monitors) == {"m", "other"} and not registry.changed()
    m = registry.monitors["m"]
    (home.monitors / "new.yaml").write_text(MONITOR.format(name="new"))
    (home.monitors / "other.yaml").unlink()
    (home.monitors / "m.yaml").write_text("version: 1\nmodle: {}\n")
    assert registry.changed()
    (gone,) = registry.load()
    assert gone.spec.id == "other" and set(registry.monitors) == {"m", "new"}
    assert registry.monitors["m"] is m and set(registry.broken) == {"m"}  # a typing mistake loses no events
    (home.monitors / "m.yaml").write_text(MONITOR.format(name="m") + "schedule: hourly\n")
    (replaced,) = registry.load()
    assert replaced is m and registry.monitors["m"].spec.schedule == "hourly" and not registry.broken
    registry.close()


def test_a_monitor_that_never_was_sound_is_503(home):
    (home.monitors / "bad.yaml").write_text("version: 1\n")

    async def talk(site: Site) -> None:
        answer = await site.post("/v1/monitors/bad/labels", [])
        assert (answer.status_code, "sightline validate" in answer.text) == (503, True)

    run(home, talk)


class Watcher:
    """An observer that remembers, and fails when told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.fails = self.closed = False

    def screen(self, events: Any, received_at: datetime) -> int:
        if self.fails:
            raise RuntimeError("guard")
        return len(events)

    def apply(self, findings: int, received_at: datetime, duplicates: int = 0) -> None:
        if findings == 3:
            raise RuntimeError("guard")
        self.seen.append((findings, duplicates))

    def tick(self, now: datetime) -> None:
        raise RuntimeError("guard")

    def close(self, now: datetime) -> None:
        self.closed = True

    def counts(self) -> list[tuple[str, str, int]]:
        return [('x"\n', "missing", 3)]


def test_observers_see_every_accepted_batch_and_may_fail(home):
    watcher = Watcher()

    async def talk(site: Site) -> None:
        site.collector.registry.monitors["m"].observer = watcher
        await site.post(INFER, [EVENT, {"id": "b"}, {"x": 1}])
        await site.post(LABEL, {"id": "a", "value": 1})
        await site.post(INFER, EVENT)
        assert (await site.post(INFER, [{"id": f"three{i}"} for i in range(3)])).status_code == 200
        watcher.fails = True
        assert (await site.post(INFER, {"id": "c"})).status_code == 200
        site.collector._tick_observers()
        text = (await site.web.get("/metrics")).text
        assert 'sightline_guard_violations_total{monitor="m",column="x\\"\\n",rule="missing"} 3' in text
        assert "sightline_collector_observer_errors_total 3" in text

    run(home, talk)
    assert watcher.seen == [(2, 0), (0, 1)] and watcher.closed


def test_other_formats_are_reached_by_their_name(home):
    event = {
        "specversion": "1.0", "id": "call", "source": "x", "type": "org.kubeflow.serving.inference.request",
        "data": {"instances": [{"distance": 1}, {"distance": 2}]},
    }  # fmt: skip

    async def talk(site: Site) -> None:
        answer = await site.post("/v1/monitors/m/cloudevents", event, content_type="application/cloudevents+json")
        assert answer.json()["accepted"] == 2, answer.text
        headers = {"content_type": "application/cloudevents+json", "x_sightline_monitor": "m"}
        assert (await site.post("/", event, **headers)).json()["duplicate"] == 2
        assert (await site.post("/", event, content_type="application/cloudevents+json")).status_code == 404
        answer = await site.post("/v1/monitors/m/cloudevents", {}, content_type="application/cloudevents+json")
        assert answer.status_code == 400 and "lacks" in answer.text

    run(home, talk)
    assert [(e.id, e.part, e.source) for e in logged(home)] == [
        ("call:0", "request", "cloudevents"),
        ("call:1", "request", "cloudevents"),
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
rows = st.dictionaries(
    st.sampled_from(
        ["id", "at", "value", "features", "score", "version", "flight", "late", "p_late", "departed_at", "trace", "x"]
    ),
    json_values | st.sampled_from(["2026-01-31T06:00:00Z", "NaN", "a"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(rows | json_values, max_size=6), st.sampled_from(["inferences", "labels"]))
def test_any_rows_are_events_or_rejections_in_their_place(documents, kind):
    found = ADAPTERS[kind]({"content-type": "application/json"}, json.dumps(documents).encode(), SPEC)
    assert len(found) == len(documents)
    for number, event in enumerate(found):
        assert isinstance(event, InferenceEvent | LabelEvent | RejectedEvent)
        if isinstance(event, RejectedEvent):
            assert event.row == number and event.reason and event.message and event.kind == kind


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/x-ndjson"]))
def test_any_bytes_are_rows_or_one_clear_error(body, media):
    try:
        found = native.inferences({"content-type": media}, body, SPEC)
    except SightlineError as error:
        assert "JSON" in error.what or "nested" in error.what
    else:
        assert all(isinstance(event, InferenceEvent | RejectedEvent) for event in found)
