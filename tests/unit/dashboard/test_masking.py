"""Values of personal columns and identifiers in texts do not reach a page, its twin or a query."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from metrics_py.profile.column_profile import ColumnProfile
from sightline.alerts.causes.kinds import _words as slice_words
from sightline.dashboard.charts.distribution import distribution_chart
from sightline.dashboard.custom import sandbox
from sightline.dashboard.masking import MASKED, Masking, redacted
from sightline.judging.row_guards import guard_verdicts
from sightline.lake.store.schema import QUARANTINE_SCHEMA
from sightline.results.embedding_maps import MAP_SCHEMA, write_map
from sightline.results.judgements import append_judgements
from sightline.results.words import WORDS_SCHEMA, write_words
from sightline.spec.loader import load_monitor
from sightline.spec.plan import checks
from tests.support.dashboard import served
from tests.support.published import World, frame_schema, make_published, row

SECRET = "Eve-Adams-1234"


def personal_world(root, personal: str) -> World:
    """Age is personal or not; there is a text, an extreme age, and a refused age."""
    world = make_published(root)
    file = world.home.monitors / "churn.yaml"
    text = file.read_text(encoding="utf-8")
    own = f"age: {{kind: numeric, personal: {personal}}}, note: text, letter: {{kind: text, personal: {personal}}}"
    file.write_text(text.replace("age: numeric", own), encoding="utf-8")
    paths = world.home.monitor("churn")
    extremes = [row(world, "churn", 59, name, 4711.5, column="age") for name in ("minimum", "maximum")]
    frame = pl.DataFrame(extremes, schema=frame_schema())
    append_judgements(paths, "data_quality", frame, "run-3", datetime.now(UTC))
    refused = {"kind": "inferences", "window_start": world.day(59), "column": "age", "reason": "bad_type"}
    refused |= {"severity": "value", "value": SECRET, "received_at": world.day(59), "source": "x.csv"}
    paths.quarantine.mkdir(parents=True)
    pl.DataFrame([refused], schema_overrides=QUARANTINE_SCHEMA).write_parquet(paths.quarantine / "a.parquet")
    folder = paths.lake / "inferences" / f"window={world.day(59):%Y-%m-%d}"
    folder.mkdir(parents=True)
    texts = [f"call {SECRET} or eve@example.com, +49 170 1234567, order {k}" for k in range(9)]
    ids = [f"p{k}" for k in range(9)]
    pl.DataFrame({"prediction_id": ids, "f_note": texts, "f_letter": texts}).write_parquet(folder / "1.parquet")
    return world


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> World:
    return personal_world(tmp_path_factory.mktemp("masked") / "home", "true")


PAGES = (
    "",
    "/columns",
    "/column?column=age",
    "/column?column=letter",
    "/metric?metric=maximum&column=age",
    "/metric?metric=minimum&column=age",
    "/health",
)


def addresses() -> list[str]:
    found: list[str] = []
    for page in PAGES:
        path, _, query = page.partition("?")
        found += [f"/monitors/churn{path}{end}{f'?{query}' if query else ''}" for end in ("", ".json")]
    return found


def test_values_of_personal_columns_are_nowhere(hidden):
    with served(hidden.home) as client:
        for address in addresses():
            answer = client.get(address)
            assert answer.status_code == 200, address
            for value in (SECRET, "4711.5", "4,712"):
                assert value not in answer.text, f"{address}: {value}"
        sample = client.get("/monitors/churn/health.json").json()["samples"][0]
        assert (sample["value"], sample["column"], sample["reason"]) == (MASKED, "age", "bad_type")


@pytest.mark.parametrize("how", ["not marked", "shown on request"])
def test_they_are_shown_where_nobody_marked_them_or_somebody_asked(tmp_path, how):
    world = personal_world(tmp_path / "home", "false" if how == "not marked" else "true")
    with served(world.home, masking=Masking(shows_personal=how == "shown on request")) as client:
        assert SECRET in client.get("/monitors/churn/health").text
        assert "4,712" in client.get("/monitors/churn/metric?metric=maximum&column=age").text


def test_named_columns_are_hidden_whatever_the_file_says(tmp_path):
    world = personal_world(tmp_path / "home", "false")
    with served(world.home, masking=Masking(frozenset({"age"}), shows_personal=True)) as client:
        assert SECRET not in client.get("/monitors/churn/health").text


def test_texts_are_shown_without_what_identifies_somebody(hidden):
    with served(hidden.home) as client:
        found = client.get("/monitors/churn/column.json?column=note").json()["text"]
        assert len(found["examples"]) == 6
        assert all("eve@" not in text and "1234567" not in text and "order" in text for text in found["examples"])
        again = client.get("/monitors/churn/column.json?column=note").json()["text"]
        assert again["examples"] == found["examples"]
        letter = client.get("/monitors/churn/column.json?column=letter").json()["text"]
        assert letter["examples"] == [] and "not shown" in letter["examples_note"]
        assert "/monitors/churn/column?column=note" in client.get("/monitors/churn/columns").text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("my card 4111 1111 1111 1111 please", "my card ••• please"),
        ("DE89 3704 0044 0532 0130 00", "•••"),
        ("see https://x.example/u/eve?t=1 now", "see ••• now"),
        ("flight 1234 at 12:30, 2026", "flight 1234 at 12:30, 2026"),
        ("a" * 5000 + "@", "a" * 5000 + "@"),
    ],
)
def test_identifiers_are_replaced_and_other_words_stay(text, kept):
    assert redacted(text) == kept


def test_words_that_moved_are_shown_by_the_same_rules(tmp_path):
    world = personal_world(tmp_path / "home", "true")
    key = f"{world.day(59):%Y-%m-%d}"
    numbers = {"n": 30, "n_texts": 100, "n_reference": 5, "n_texts_reference": 100, "q_value": 1e-6, "z": 5.0}
    own = {"window_key": key, "word": "refund", "is_moved": True, "example": f"refund {SECRET} to eve@example.com"}
    still = own | {"column": "note", "word": "please", "is_moved": False}
    rows = [own | numbers | {"column": column} for column in ("note", "letter")] + [still]
    frame = pl.DataFrame([{**dict.fromkeys(WORDS_SCHEMA), **each} for each in rows], schema=WORDS_SCHEMA)
    write_words(world.home.monitor("churn"), key, frame)
    with served(world.home) as client:
        (told,) = client.get("/monitors/churn/column.json?column=note").json()["text"]["words"]
        assert (told["word"], told["share"], told["share_reference"]) == ("refund", 0.3, 0.05)
        assert "eve@" not in told["example"] and "refund" in client.get("/monitors/churn/column?column=note").text
        (kept,) = client.get("/monitors/churn/column.json?column=letter").json()["text"]["words"]
        assert (kept["word"], kept["example"]) == (MASKED, None)


def test_a_map_is_drawn_without_what_its_rows_hold(tmp_path):
    world = personal_world(tmp_path / "home", "true")
    file = world.home.monitors / "churn.yaml"
    file.write_text(
        file.read_text(encoding="utf-8").replace("note: text", "note: text, pic: embedding"), encoding="utf-8"
    )
    psi = [row(world, "churn", 59, "mean_shift", 0.2, column="pic")]
    paths = world.home.monitor("churn")
    append_judgements(paths, "drift", pl.DataFrame(psi, schema=frame_schema()), "r", datetime.now(UTC))
    point = {"column": "pic", "window_start": world.day(59), "x": 1.0, "y": 2.0, "shown": SECRET, "method": "pca"}
    points = [point | {"side": side, "prediction_id": side, "distance": 0.5} for side in ("reference", "current")]
    frame = pl.DataFrame([{**dict.fromkeys(MAP_SCHEMA), **each} for each in points], schema=MAP_SCHEMA)
    write_map(paths, f"{world.day(59):%Y-%m-%d}", frame)
    for masking, is_shown in ((Masking(), False), (Masking(shows_personal=True), True)):
        with served(world.home, masking=masking) as client:
            text = client.get("/monitors/churn/column?column=pic").text
            assert "Map of pic" in text and (SECRET in text) == is_shown


def test_a_distribution_keeps_its_shape_and_loses_its_values():
    profile = ColumnProfile(
        "city",
        "categorical",
        ("category", "category", "null"),
        ("Ulm", "Bonn", "(null)"),
        np.full(3, np.nan),
        np.full(3, np.nan),
        np.array([50, 40, 10]),
        np.full(3, np.nan),
    )
    counts = np.array([10, 80, 10])
    told, kept = (distribution_chart("d", "city", profile, counts, is_hidden=hide) for hide in (False, True))
    assert [cells[0] for cells in told.rows] == ["Ulm", "Bonn", "(null)"]
    assert [cells[0] for cells in kept.rows] == ["category 1", "category 2", "(null)"]
    assert [cells[1:] for cells in kept.rows] == [cells[1:] for cells in told.rows]
    assert "Ulm" not in str(kept) and "Bonn" not in str(kept)


def test_a_query_does_not_see_the_extremes_either(hidden):
    query = sandbox.read("SELECT metric, value FROM judgements WHERE \"column\" = 'age' AND value > 4000")
    monitors = [hidden.home.monitor("churn")]
    known = sandbox.run(query, monitors, hidden.first, hidden.first)
    assert sorted(known.rows) == [("maximum", 4711.5), ("minimum", 4711.5)]
    assert sandbox.run(query, monitors, hidden.first, hidden.first, hidden={"churn": ["age"]}).rows == ()


def test_slices_and_row_guards_do_not_tell_values(hidden):
    assert slice_words("{0} = Ulm", "city", {"city"}) == "some values of city"
    assert slice_words("{0} = Ulm", "city", ()) == "city = Ulm"
    spec = load_monitor(hidden.home.monitors / "churn.yaml", home=hidden.home)
    paths = hidden.home.monitor("churn")
    paths.guards.mkdir(parents=True, exist_ok=True)
    planned = [check for check in checks(spec) if check.name == "row_guards"]
    assert planned, "the check exists"
    assert all(SECRET not in str(verdict) for _, _, verdict in guard_verdicts(spec, paths, planned, ["2026-11-01"]))
