"""The segment file: what is written is read, and every kind of damage is found, bounded, and kept."""

from __future__ import annotations

import random
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import SightlineError
from sightline.log import segment as seg
from sightline.log.events import EventError, InferenceEvent, LabelEvent, RejectedEvent, build_event
from sightline.log.reader import columns, read_segment
from sightline.log.writer import FRAME_EVENTS, SegmentWriter

AT = datetime(2026, 1, 31, 6, 0, 0, 123456, tzinfo=UTC)


def inferences(n: int, first: int = 0) -> list[InferenceEvent]:
    return [
        InferenceEvent(
            id=f"p{i}",
            at=AT + timedelta(seconds=i),
            version="v1",
            features={"x": i * 0.5, "c": "é", "n": None},
            score=0.25,
        )
        for i in range(first, first + n)
    ]


def write_segment(log: Path, n: int = 300, kind: str = "inferences") -> Path:
    with SegmentWriter(log, "m", kind, clock=lambda: AT) as writer:
        for first in range(0, n, 100):
            writer.append(inferences(min(100, n - first), first))
    (path,) = seg.list_sealed(log, kind)
    return path


def test_events_come_back_as_they_were_logged(tmp_path):
    logged = inferences(150)
    with SegmentWriter(tmp_path, "m", "inferences", clock=lambda: AT) as writer:
        assert writer.append(logged[:100], source="native") == 100
        assert writer.append(logged[100:], source="otlp", received_at=AT + timedelta(seconds=1)) == 50
    segment = read_segment(seg.list_sealed(tmp_path)[0])
    assert [e.id for e in segment.events] == [e.id for e in logged]
    assert segment.events[3].features == {"x": 1.5, "c": "é", "n": None}
    assert segment.events[3].at == logged[3].at
    assert {(e.source, e.received_at) for e in segment.events} == {("native", AT), ("otlp", AT + timedelta(seconds=1))}
    assert segment.rejections == [] and segment.is_sound
    assert segment.footer.count == 150
    assert (segment.footer.min_at, segment.footer.max_at) == (logged[0].at, logged[-1].at)
    assert (segment.header.monitor, segment.header.kind, segment.header.codec) == ("m", "inferences", "msgpack")


def test_labels_and_rejected_rows_have_segments_of_their_own(tmp_path):
    with SegmentWriter(tmp_path, "m", "labels") as writer:
        writer.append([LabelEvent(id="a", value="late", at=AT), LabelEvent(id="b", value=True, predicted_at=AT)])
    with SegmentWriter(tmp_path, "m", "rejected") as writer:
        writer.append([RejectedEvent(kind="labels", reason="missing_id", row=3, payload="{}")])
    labels = read_segment(seg.list_sealed(tmp_path, "labels")[0]).events
    assert [(e.id, e.value, e.predicted_at) for e in labels] == [("a", "late", None), ("b", True, AT)]
    (rejected,) = read_segment(seg.list_sealed(tmp_path, "rejected")[0]).events
    assert (rejected.kind, rejected.reason, rejected.row) == ("labels", "missing_id", 3)
    assert len(seg.list_sealed(tmp_path)) == 2


def test_non_finite_numbers_survive(tmp_path):
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append([InferenceEvent(id="a", score=float("nan"), features={"x": float("inf")})])
    (event,) = read_segment(seg.list_sealed(tmp_path)[0]).events
    assert event.score != event.score and event.features["x"] == float("inf")


def test_events_of_an_adapter_keep_their_own_source_and_part(tmp_path):
    with SegmentWriter(tmp_path, "m", "inferences") as writer:
        writer.append([InferenceEvent(id="a", source="cloudevents", part="request")], source="other")
    (event,) = read_segment(seg.list_sealed(tmp_path)[0]).events
    assert (event.source, event.part) == ("cloudevents", "request")


def test_every_single_bit_flip_costs_one_frame_at_most_and_is_reported(tmp_path):
    path = write_segment(tmp_path)
    data = path.read_bytes()
    sound = [e.id for e in read_segment(path).events]
    rng = random.Random(5)
    for position in [*range(140), *rng.sample(range(len(data)), 300), *range(len(data) - 120, len(data))]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        segment = read_segment(path)
        ids = [e.id for e in segment.events]
        assert not segment.is_sound, position
        assert len(ids) >= len(sound) - FRAME_EVENTS
        assert set(ids) <= set(sound) and ids == sorted(ids, key=sound.index)
        lost = len(sound) - len(ids)
        told = sum(r.count or 0 for r in segment.rejections)
        unknown = any(r.count is None for r in segment.rejections)
        assert told == lost or (unknown and told <= lost), position


def test_damaged_bytes_are_handed_back(tmp_path):
    path = write_segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    (damage,) = read_segment(path).rejections
    assert damage.reason == "corrupt_record" and 0 < damage.count <= FRAME_EVENTS
    assert damage.payload == bytes(data[damage.offset : damage.offset + len(damage.payload)])


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.7, 0.999])
def test_a_truncated_sealed_segment_is_told_from_a_whole_one(tmp_path, keep):
    path = write_segment(tmp_path)
    data = path.read_bytes()
    sound = [e.id for e in read_segment(path).events]
    path.write_bytes(data[: max(int(len(data) * keep), 200)])
    segment = read_segment(path)
    assert "missing_footer" in {r.reason for r in segment.rejections}
    assert [e.id for e in segment.events] == sound[: len(segment.events)]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_clearly(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("log") / "inferences-20260131T060000123456Z-000001-w.seg"
    for content in (data, seg.MAGIC + data):
        path.write_bytes(content)
        with pytest.raises(SightlineError):
            read_segment(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2))
def test_bytes_behind_a_header_are_frames_or_damage(tmp_path_factory, data, frames):
    path = tmp_path_factory.mktemp("log") / "inferences-20260131T060000123456Z-000001-w.seg"
    header = seg.pack_header(seg.SegmentHeader("m", "inferences", "json", "w", 1, AT))
    frame = seg.pack_frame(seg.RECORDS_FRAME, 1, b'["2026-01-31T06:00:00Z","client",[{"id":"a"}]]')
    path.write_bytes(header + frame * frames + data)
    segment = read_segment(path)
    assert len(segment.events) == frames
    assert sum(len(r.payload) for r in segment.rejections) == len(data)


def test_a_newer_format_is_refused_with_the_remedy(tmp_path):
    header = seg.SegmentHeader("m", "inferences", "msgpack", "w", 1, AT, format=seg.FORMAT_VERSION + 1)
    path = tmp_path / str(seg.SegmentName("inferences", AT, 1, "w"))
    path.write_bytes(seg.pack_header(header))
    with pytest.raises(SightlineError, match="update Sightline"):
        read_segment(path)


def test_rows_with_wrong_content_do_not_cost_their_frame(tmp_path):
    rows = [
        {"id": "a", "score": "high"},
        {"id": 7, "at": "2026-01-31 06:00:00", "score": "NaN"},
        {"score": 1},
        {"id": "b", "typo": 1},
    ]
    payload = msgspec.json.encode(["2026-01-31T06:00:00Z", "client", rows])
    path = tmp_path / str(seg.SegmentName("inferences", AT, 1, "w"))
    header = seg.pack_header(seg.SegmentHeader("m", "inferences", "json", "w", 1, AT))
    path.write_bytes(header + seg.pack_frame(seg.RECORDS_FRAME, 4, payload))
    segment = read_segment(path)
    assert [(e.id, e.at) for e in segment.events] == [("7", datetime(2026, 1, 31, 6, tzinfo=UTC))]
    assert segment.events[0].source == "client"
    assert [(r.row, r.reason, r.id) for r in segment.rejections] == [
        (0, "bad_type", "a"),
        (2, "missing_id", None),
        (3, "unknown_field", "b"),
    ]
    assert segment.is_sound


def test_names_sort_by_time_and_say_who_wrote_them():
    names = [seg.SegmentName("labels", AT + timedelta(microseconds=i), i, "host-1-ab") for i in range(3)]
    assert sorted(map(str, names)) == [str(name) for name in names]
    assert seg.SegmentName.parse(str(names[1])) == names[1]
    for other in (
        "labels.seg",
        "other-20260131T060000123456Z-000001-w.seg",
        "labels-20260131T060000123456Z-000001-w.seg.tmp",
    ):
        assert seg.SegmentName.parse(other) is None


def test_frame_layout_is_the_documented_one():
    frame = seg.pack_frame(seg.RECORDS_FRAME, 3, b"payload")
    checked = b"\xf5\x5e" + bytes([2, 0]) + (3).to_bytes(4, "little") + (7).to_bytes(4, "little")
    assert frame == checked + zlib.crc32(checked + b"payload").to_bytes(4, "little") + b"payload"


def test_columns_transposes():
    assert columns(inferences(2), ["id", "score"]) == {"id": ["p0", "p1"], "score": [0.25, 0.25]}


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("inferences", [], "bad_type"),
        ("inferences", {}, "missing_id"),
        ("inferences", {"id": ""}, "missing_id"),
        ("inferences", {"id": 1.5}, "bad_id"),
        ("inferences", {"id": True}, "bad_id"),
        ("inferences", {"id": "x" * 513}, "bad_id"),
        ("inferences", {"id": "a", "at": 1767225600}, "bad_timestamp"),
        ("inferences", {"id": "a", "at": "yesterday"}, "bad_timestamp"),
        ("inferences", {"id": "a", "at": "0001-01-01T00:00:00Z"}, "timestamp_out_of_range"),
        ("inferences", {"id": "a", "at": "9999-12-31T23:59:59-23:59"}, "timestamp_out_of_range"),
        ("inferences", {"id": "a", "score": "high"}, "bad_type"),
        ("inferences", {"id": "a", "features": [1]}, "bad_type"),
        ("inferences", {"id": "a", "prediction": {}}, "bad_type"),
        ("inferences", {"id": "a", "received_at": "2026-01-01"}, "unknown_field"),
        ("labels", {"id": "a"}, "missing_label"),
        ("labels", {"id": "a", "value": None}, "missing_label"),
        ("labels", {"id": "a", "retracted": False}, "missing_label"),
        ("labels", {"id": "a", "retracted": "perhaps"}, "bad_type"),
    ],
)
def test_refusals_name_their_reason(kind, row, reason):
    with pytest.raises(EventError) as caught:
        build_event(kind, row)
    assert caught.value.reason == reason


def test_harmless_spellings_are_taken():
    event = build_event(
        "inferences",
        {
            "id": 12,
            "version": 3,
            "at": "2026-01-31",
            "score": "-Infinity",
            "latency_ms": "1.5",
            "features": {"big": 10**30},
        },
    )
    assert (event.id, event.version, event.at) == ("12", "3", datetime(2026, 1, 31, tzinfo=UTC))
    assert (event.score, event.latency_ms, event.features) == (float("-inf"), 1.5, {"big": 1e30})
