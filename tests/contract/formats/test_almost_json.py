"""Bodies that are nearly JSON, as Python's ``json.dumps`` writes them.

Good rows are durable, and what is wrong is counted.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.collector.formats import ADAPTERS, lenient
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.log.events import RejectedEvent
from sightline.spec.loader import load_monitor
from tests.support.collector_site import INFER, LABEL, SPEC, Site, logged, make_home, run

AT = "2026-01-31T06:00:00Z"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_literals_are_the_numbers_they_mean_on_the_way_into_the_lake(home):
    rows = [{"id": str(i), "at": AT, "features": {"distance": float(i)}, "score": 0.5} for i in range(5)]
    rows[1]["features"]["distance"], rows[2]["score"], rows[3]["features"]["carrier"] = math.nan, math.inf, math.nan
    labels = [{"id": "0", "value": 1}, {"id": "1", "value": -math.inf}]

    async def talk(site: Site) -> None:
        assert (await site.post(INFER, rows)).json() == {"accepted": 5, "duplicate": 0, "rejected": 0, "errors": []}
        assert (await site.post(INFER, rows)).json()["duplicate"] == 5
        assert (await site.post(INFER, json.dumps({**rows[1], "id": "single"}, indent=1).encode())).json()[
            "accepted"
        ] == 1
        lines = "\n".join(json.dumps({**row, "id": f"line-{row['id']}"}) for row in rows).encode()
        assert (await site.post(INFER, lines, content_type="application/x-ndjson")).json()["accepted"] == 5
        assert (await site.post(LABEL, labels)).json()["accepted"] == 2

    run(home, talk)
    assert math.isnan(next(e for e in logged(home) if e.id == "1").features["distance"])
    spec, paths = load_monitor(home.monitors / "m.yaml"), home.monitor("m")
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.rejected) == (11, 0)
    assert report.quarantined_by_reason == {"not_finite": 7}
    truth = intake(spec, paths, "labels", home)
    assert (truth.accepted, truth.rejected, truth.quarantined_by_reason) == (1, 1, {"label_not_finite": 1})
    lake = pl.read_parquet(paths.lake / "inferences" / "**" / "*.parquet").sort("prediction_id")
    assert lake["f_distance"].null_count() == 3 and lake["score"].null_count() == 2


def test_a_body_of_everything_that_is_wrong_keeps_its_good_rows(home):
    body = b"""
    [ {"id": "a", "features": {"distance": NaN}}, {"id": "b\xff"}, {"id": "c", "version": "\\udc80"},
      {"id": "d", "score": 1e999},
      {"id": "e", "features": {"distance": %s}}, {"id": "f", "score": -Infinity},
      {"id": "NaN", "version": "\\\\NaN -Infinity \\""},
      {"id": "h", "at": NaN}, {"id": Infinity}, NaN, {"id": "i", "status": NaN},
      {"id": "j", "version": "\\ud83d\\ude00"} ]
    """ % (b"[" * 900 + b"]" * 900)

    async def talk(site: Site) -> dict[str, Any]:
        return (await site.post(INFER, body)).json()

    answer = run(home, talk)
    assert (answer["accepted"], answer["duplicate"], answer["rejected"]) == (4, 0, 8)
    assert {error["row"]: error["reason"] for error in answer["errors"]} == {
        1: "bad_json", 2: "bad_json", 3: "bad_json", 4: "limit_exceeded", 7: "bad_timestamp", 8: "bad_id",
        9: "bad_type", 10: "bad_type",
    }  # fmt: skip
    assert [(e.id, e.version) for e in logged(home)] == [
        ("a", None), ("f", None), ("NaN", '\\NaN -Infinity "'), ("j", "\U0001f600"),
    ]  # fmt: skip
    kept = logged(home, "rejected")
    assert [e.row for e in kept] == [1, 2, 3, 4, 7, 8, 9, 10] and kept[1].payload == '{"id": "c", "version": "\\udc80"}'


@pytest.mark.parametrize(
    "body", [b"[NaN", b"[NaN,]", b'{"id": "a", "score": NaN} {}', b"[{'id': NaN}]", b"nan", b'["\\ud800', b"[NaN1]x"]
)
def test_other_mistakes_still_refuse_the_body(home, body):
    async def talk(site: Site) -> None:
        answer = await site.post(INFER, body)
        assert answer.status_code == 400 and "JSON" in answer.text

    run(home, talk)
    assert logged(home) == []


FORMATS = {
    "mlflow": '{"id": %s, "inputs": {"distance": [NaN]}}',
    "open_inference": '{"id": %s, "inputs": [{"name": "distance", "shape": [1], "datatype": "FP32", "data": [NaN]}]}',
    "databricks": '{"databricks_request_id": %s, "request": "{\\"inputs\\": {\\"distance\\": [NaN]}}"}',
    "bentoml": '{"request_id": %s, "distance": NaN}',
    "cloudevents": (
        '{"id": %s, "source": "s", "specversion": "1.0", "type": "io.sightline.inference", "data": {"distance": NaN}}'
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_literals_and_surrogates_in_other_formats(name):
    headers = {"content-type": "application/cloudevents-batch+json" if name == "cloudevents" else "application/json"}
    body = "[" + ", ".join(FORMATS[name] % word for word in ('"a"', '"\\ud800"', '"c"')) + "]"
    first, bad, last = ADAPTERS[name](headers, body.encode(), SPEC)
    assert (first.id, last.id) == ("a", "c") and isinstance(bad, RejectedEvent)
    assert math.isnan(first.features["distance"])


def counts(answer: Any) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    return {name: answer.json()[name] for name in ("accepted", "duplicate", "rejected")}


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**64, -(2**63) - 1, 10**400])
def test_what_is_accepted_can_be_read_back_however_long_its_numbers_are(home, number):
    fields = {
        "features": {"distance": number},
        "prediction": number,
        "trace": {"a": number},
        "score": number,
        "weight": number,
    }
    calls = {
        "databricks": [{"databricks_request_id": "d", "request": {"inputs": {"distance": [1]}}, "status_code": number}]
    }

    async def talk(site: Site) -> Counter[str]:
        total = Counter[str]()
        for rows in (
            [{"id": "s", "status": number}],
            [{"id": name, name: value} for name, value in fields.items()],
            [{"id": "x"}, 1],
        ):
            total.update(counts(await site.post(INFER, rows)))
        total.update(counts(await site.post(LABEL, [{"id": "a", "value": number}])))
        for name, rows in calls.items():
            total.update(counts(await site.post(f"/v1/monitors/m/{name}", rows)))
        return total

    total = run(home, talk)
    assert len(logged(home)) + len(logged(home, "labels")) == total["accepted"] and total["accepted"] >= 7
    assert len(logged(home, "rejected")) == total["rejected"]


def test_a_repeat_is_told_however_its_body_had_to_be_read(home):
    event = {"id": "a", "at": AT, "features": {"carrier": "UA", "distance": 7}, "score": 0.5}
    numbered = {**event, "at": 1769839200}
    bent = {"id": "b", "features": {"distance": math.nan, "carrier": "x"}}
    turned = {**bent, "features": {"carrier": "x", "distance": math.nan}}

    async def talk(site: Site) -> None:
        assert (await site.post(INFER, [event, bent])).json()["accepted"] == 2
        for rows in ([event], [numbered], [numbered, bent], [turned, event], numbered, turned):
            answer = (await site.post(INFER, rows)).json()
            assert (answer["accepted"], answer["duplicate"]) == (0, len(rows) if isinstance(rows, list) else 1), rows

    run(home, talk)
    assert [e.id for e in logged(home)] == ["a", "b"]


texts = st.text(alphabet=st.sampled_from('aN"\\-Infity\ud800\udfff\U0001f600[]{},: '), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
        return True
    except UnicodeEncodeError:
        return False


@settings(max_examples=300, deadline=None)
@given(st.lists(values, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_elements_are_told_apart_whatever_json_dumps_writes(documents, indent, is_ascii):
    text = json.dumps(documents, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    found = lenient.elements(text)
    assert len(found) == len(documents)
    for element, document in zip(found, documents, strict=True):
        if is_unicode(
            json.loads(json.dumps(document)) if is_ascii else document
        ):  # escapes of two halves are one character
            assert json.dumps(lenient.decode(element)) == json.dumps(document)
        else:
            with pytest.raises(lenient.UNREADABLE):
                lenient.decode(element)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='aN"\\-Infty0[]{},: ud8', max_size=60).map(str.encode))
def test_what_is_let_through_is_json_apart_from_the_literals(text):
    try:
        value = lenient.decode(text)
    except lenient.UNREADABLE:
        return
    assert json.dumps(value) == json.dumps(json.loads(text))


@pytest.mark.parametrize(
    "piece", [b"NaN,", b'\\"', b'"', b'"\\ud800",', b"-", b"\\", b'"NaN', b'{"', b"Infinit", b'\\ud800"', b"-Infinity"]
)
def test_the_work_grows_with_the_length_only(piece):
    def seconds(length: int) -> float:
        body = b"[" + piece * (length // len(piece))
        started = time.process_time()
        with pytest.raises((*lenient.UNREADABLE, SightlineError)):
            lenient.elements(body)
        return time.process_time() - started

    assert seconds(1_600_000) < 40 * max(seconds(160_000), 0.005)


def test_too_many_rows_are_refused_before_anything_is_made_of_them():
    many = lenient.MAX_ROWS + 1
    bodies = {
        "inferences": b"[" + b"1," * many + b"1]",
        "labels": b"1\n" * many,
        "mlflow": b'{"id": 1, "inputs": [' + b"1," * many + b"1]}",
        "open_inference": b'{"id": 1, "instances": [' + b"1," * many + b"1]}",
        "databricks": b"1\n" * many,
        "bentoml": b"[" + b"1," * many + b"1]",
        "otlp": b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [' + b"1," * many + b"1]}]}]}",
    }
    for name, body in bodies.items():
        headers = {"content-type": "application/x-ndjson" if body[:2] == b"1\n" else "application/json"}
        with pytest.raises(SightlineError, match="at most 10000"):
            ADAPTERS[name](headers, body, SPEC)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (1769839200, datetime(2026, 1, 31, 6, tzinfo=UTC)),
        (1769839200.25, datetime(2026, 1, 31, 6, 0, 0, 250000, tzinfo=UTC)),
        (1769839200250, datetime(2026, 1, 31, 6, 0, 0, 250000, tzinfo=UTC)),
        (1769839200250001, datetime(2026, 1, 31, 6, 0, 0, 250001, tzinfo=UTC)),
        (1769839200250001999, datetime(2026, 1, 31, 6, 0, 0, 250001, tzinfo=UTC)),
        (100_000_000, datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
        (7_258_118_399, datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC)), (7_258_118_400, None), (99_999_999_999, None),
        (99_999_999, None),
        (0, None), (-1769839200, None), (10**30, None), (True, None),
    ],
)  # fmt: skip
def test_times_as_numbers_are_taken_where_one_unit_alone_fits(home, number, moment):
    flat = {"flight": "b", "departed_at": number, "distance": 1}
    truth = [
        {"id": "a", "value": 1, "at": number, "predicted_at": number},
        {"flight": "b", "late": 1, "landed_at": number},
    ]

    async def talk(site: Site) -> list[dict[str, Any]]:
        return [
            (await site.post(path, rows)).json()
            for path, rows in ((INFER, [{"id": "a", "at": number}, flat]), (LABEL, truth))
        ]

    answers = run(home, talk)
    if moment is None:
        assert [(a["accepted"], a["rejected"]) for a in answers] == [(0, 2), (0, 2)]
        assert {e["reason"] for a in answers for e in a["errors"]} == {"bad_timestamp"}
        if number is not True:
            assert all("RFC 3339 text such as" in e["message"] for a in answers for e in a["errors"])
    else:
        assert [(a["accepted"], a["rejected"]) for a in answers] == [(2, 0), (2, 0)]
        assert {e.at for e in logged(home)} == {e.at for e in logged(home, "labels")} == {moment}
        assert logged(home, "labels")[0].predicted_at == moment
