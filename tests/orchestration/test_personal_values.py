"""Values of personal columns through everything: landed, refused, moved, judged, and nowhere told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from orchestration.backfill import materialize_range
from sightline.cli import cli
from sightline.home import Home
from sightline.judging import board
from sightline.results.judgements import read_judgements
from sightline.spec import plan
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.dashboard import served

pytestmark = pytest.mark.long

SECRETS = ("SECRET", "Secretword", "secretword", "7654321", "7,654,321", "7.654e", "1977-03")
KNOWN = "OPEN-4321"
"""A value of a column that is not personal: it is told, so the looking finds what is there."""
N = 400
MONITOR = """\
version: 1
model: {{id: m, task: binary_classification}}
columns:
  prediction_id: id
  timestamp: at
  score: p
  features:
    income: {{kind: numeric, personal: true, min: 0, max: 1000000}}
    city: {{kind: categorical, personal: true, allowed: [SECRET-1000, SECRET-1001, SECRET-1002]}}
    note: {{kind: text, personal: true}}
    born: {{kind: datetime, personal: true}}
    plan: categorical
    age: numeric
labels: {{column: churned, expected_delay: 1h, give_up_after: 2h}}
reference: {{kind: file, path: reference.csv}}
start: {start}
report: {{}}
"""


def rows(seed: int, day: datetime, *, moved: bool) -> pl.DataFrame:
    """One day; everything personal moves, in the values that are told by name."""
    rng = np.random.default_rng(seed)
    cities = ["SECRET-1000", "SECRET-2001"] if moved else ["SECRET-1000", "SECRET-1001", "SECRET-1002"]
    words = ["Secretword refund", "please"] if moved else ["alpha", "beta", "please"]
    income = rng.normal(90 if moved else 50, 10, N)
    income[:40] = 7654321.0 if moved else 70.0
    return pl.DataFrame(
        {
            "id": [f"{day:%d}-{k}" for k in range(N)],
            "at": [(day + timedelta(minutes=3 * k)).isoformat() for k in range(N)],
            "p": [f"{x:.6f}" for x in rng.random(N)],
            "income": [f"{x:.3f}" for x in income],
            "city": rng.choice(cities, N),
            "note": [f"dear {word} number{k % 7}" for k, word in enumerate(rng.choice(words, N))],
            "born": ["1977-03-03T03:03:03"] * N,
            "plan": rng.choice(["basic", "max"] if moved else ["basic", KNOWN], N),
            "age": [f"{x:.2f}" for x in rng.normal(40, 9, N)],
            "churned": rng.integers(0, 2, N).astype(str),
        }
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    root = tmp_path_factory.mktemp("personal") / "home"
    home = Home(root)
    home.monitors.mkdir(parents=True)
    last = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(days=2)
    rows(1, last - timedelta(days=9), moved=False).write_csv(root / "reference.csv")
    (home.monitors / "m.yaml").write_text(MONITOR.format(start=f"{last:%Y-%m-%d}"), encoding="utf-8")
    now = rows(2, last, moved=True)
    k = pl.int_range(N)
    bad = now.with_columns(
        *(pl.when(k < 4).then(pl.lit(f"SECRET-{name}")).otherwise(name).alias(name) for name in ("income", "born")),
        age=pl.when(k < 4).then(pl.lit(KNOWN)).otherwise("age"),
        at=pl.when(k == 30).then(pl.lit("no time")).otherwise("at"),
    )
    landing = home.monitor("m").landing_inferences
    landing.mkdir(parents=True)
    bad.drop("churned").write_csv(landing / "a.csv")
    broken = {"id": "q1", "at": last.isoformat(), "p": 0.5, "city": ["SECRET-1"], "income": {"SECRET": 1}}
    (landing / "b.ndjson").write_text(f'{json.dumps(broken)}\n{{"id": "q2", "city": "SECRET-7", x\n', encoding="utf-8")
    labels = home.monitor("m").landing_labels
    labels.mkdir(parents=True)
    now.select("id", "churned").write_csv(labels / "y.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGHTLINE_HOME", os.fspath(root))
        patch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
        spec = spec_of(home)
        key = spec.key(last)
        materialize_range(home, spec, key, key)
        yield home


def spec_of(home: Home) -> MonitorSpec:
    return load_monitor(home.monitors / "m.yaml", home=home)


def found_in(text: str) -> list[str]:
    """Personal values that a text tells, each with its surroundings."""
    at = [(secret, text.find(secret)) for secret in SECRETS]
    return [text[max(0, k - 60) : k + 60] for _, k in at if k >= 0]


def command(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code in (0, 1), done.output
    return done.output


def window(home: Home) -> str:
    spec = spec_of(home)
    return spec.key(read_judgements(home.monitor("m"))["window_start"].max())


def test_something_moved_was_refused_and_is_told_where_nothing_is_personal(home):
    judged = read_judgements(home.monitor("m"), "psi").filter(pl.col("status") == "warn")
    assert {"city", "income", "plan"} <= set(judged["column"])
    assert KNOWN in str(judged.filter(column="plan")["reason"][0])
    assert "category 1" in judged.filter(column="city")["reason"][0]
    assert KNOWN in command("checks", "m", "--all") and "income 5 (bad_type)" in command("checks", "m", "--all")
    assert "7654321" in command("judgements", "m", "--column", "income", "--show-personal", "--format", "json")


def test_commands_and_exports_do_not_tell(home, tmp_path):
    for arguments in (
        ("judgements", "m"),
        ("judgements", "m", "--format", "json"),
        ("history", "m", "maximum", "--window", window(home), "--column", "income"),
        ("history", "m", "psi", "--window", window(home), "--column", "city", "--format", "json"),
        ("checks", "m", "--all"),
        ("checks", "m", "--all", "--format", "json"),
        ("incidents", "m"),
        ("validate", "m"),
        ("report", "m", "--format", "markdown"),
        ("report", "m", "--format", "json"),
    ):
        assert found_in(command(*arguments)) == [], arguments
    for form, suffix in (("parquet", "parquet"), ("html", "html")):
        file = tmp_path / f"out.{suffix}"
        command("report", "m", "--format", form, "--out", str(file))
        text = pl.read_parquet(file).write_json() if form == "parquet" else file.read_text(encoding="utf-8")
        assert found_in(text) == [], form
    command("judgements", "m", "--format", "parquet", "--output", str(tmp_path / "j.parquet"))
    assert found_in(pl.read_parquet(tmp_path / "j.parquet").write_json()) == []
    kept = list((home.monitor("m").results / "reports").glob("*.html"))
    assert kept and all(found_in(file.read_text(encoding="utf-8")) == [] for file in kept)


def test_checks_and_what_they_keep_do_not_tell(home):
    spec = spec_of(home)
    by_asset: dict[str, list[plan.PlannedCheck]] = {}
    for check in plan.checks(spec):
        by_asset.setdefault(check.asset, []).append(check)
        assert found_in(check.description) == [], check.name
    said = [
        f"{verdict.text} {verdict.facts}"
        for asset, checks in by_asset.items()
        for _, _, verdict in board.evaluate(spec, home.monitor("m"), asset, checks, [window(home)])
    ]
    assert len(said) > 30 and any(KNOWN in text for text in said)
    assert [told for text in said for told in found_in(text)] == []
    stored = [file.read_bytes() for file in (home.monitor("m").results / "evidence").rglob("*.parquet")]
    assert stored and not any(b"SECRET" in content for content in stored)


def test_pages_their_twins_and_numbers_for_prometheus_do_not_tell(home):
    names = read_judgements(home.monitor("m")).select("metric", "column").unique().sort("metric", "column")
    pages = ["", "/columns", "/health", "/labels", "/versions", "/incidents", "/segments"]
    pages += [f"/column?column={quote(name)}" for name in names["column"].unique() if name]
    pages += ["/column?column=note"]
    pages += [f"/metric?metric={metric}&column={quote(column)}" for metric, column in names.rows() if column]
    with served(home) as client:
        for page in pages:
            path, _, query = page.partition("?")
            for end in ("", ".json"):
                answer = client.get(f"/monitors/m{path}{end}{f'?{query}' if query else ''}")
                assert answer.status_code == 200, page
                assert found_in(answer.text) == [], f"{page} {end}"
        for address in ("/", "/index.json", "/metrics"):
            assert found_in(client.get(address).text) == [], address
        samples = client.get("/monitors/m/health.json").json()["samples"]
        assert KNOWN in str(samples) and {"•••"} == {
            each["value"] for each in samples if each["column"] in (None, "income")
        }
