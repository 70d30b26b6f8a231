"""`sightline evaluate --format html`: one file, no script, nothing loaded, hostile names escaped, numbers beside it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import polars as pl
import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.evaluation.forest import LEFT, RIGHT, Row, forest
from sightline.evaluation.page import to_html
from sightline.evaluation.render import to_markdown
from tests.unit.evaluation.test_evaluate import MONITOR, N, production, run, scored, write_monitor  # noqa: F401 (a fixture)

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "line", "circle", "path", "br"}


class Outline(HTMLParser):
    """Tags that are open and every one that there is; fails where they do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.stack.pop() == tag


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    assert found.stack == []
    return found


def test_a_page_is_whole_loads_nothing_and_has_the_numbers_of_the_card(production, tmp_path):  # noqa: F811
    found = run(production, tmp_path, scored(5, 0.1))
    page = to_html(found)
    tags = outline(page).tags
    assert not {"script", "link", "iframe", "img", "form", "a"} & {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name == "style" or name.startswith("on")]
    assert "http:" not in page.replace("http-equiv", "")
    assert "https:" not in page
    [policy] = [a["content"] for tag, a in tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    for c in found.verdict.criteria:
        assert f"{c.found.difference:+.4g} ({c.found.ci_low:+.3g} to {c.found.ci_high:+.3g})" in page
    pictures = [a for tag, a in tags if tag == "svg"]
    assert pictures
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in pictures)
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids)) == 2 * len(pictures)


def test_hostile_names_are_text(production, tmp_path):  # noqa: F811
    rows = scored(5, 0.1).with_columns(id=pl.format("new-{}", "id"), c=pl.lit(HOSTILE))
    found = run(production, tmp_path, rows, name="<b>new.parquet")
    page = to_html(found)
    tags = outline(page).tags
    assert not {"script", "img", "b"} & {tag for tag, _ in tags}
    assert "&lt;b&gt;new.parquet" in page


def test_data_are_told_with_their_hash_and_period(production, tmp_path):  # noqa: F811
    rows = scored(5, 0.1)
    found = run(production, tmp_path, rows)
    digest = hashlib.sha256((tmp_path / "new.parquet").read_bytes()).hexdigest()
    assert found.facts.sha256 == digest
    assert found.facts.n_rows == len(rows)
    assert found.facts.first_at is not None
    assert found.facts.first_at.replace(tzinfo=None) == rows["ts"].min()
    assert found.facts.last_at.replace(tzinfo=None) == rows["ts"].max()
    card = to_markdown(found)
    assert digest in card
    assert "2026-01-05 00:00 UTC to 2026-01-12 23:55 UTC" in card
    timeless = run(production, tmp_path, rows.drop("ts"))
    assert timeless.facts.first_at is None
    assert "the file has no times" in to_markdown(timeless)


def test_a_folder_has_one_hash_that_any_changed_file_changes(production, tmp_path):  # noqa: F811
    home, paths = production
    folder = tmp_path / "set"
    folder.mkdir()
    rows = scored(5, 0.1)
    rows.head(N).write_parquet(folder / "a.parquet")
    rows.tail(-N).write_parquet(folder / "b.parquet")
    from sightline.evaluation.run import evaluate
    from sightline.spec.loader import find_monitor
    from tests.unit.evaluation.test_evaluate import NOW

    def digest() -> str:
        found = evaluate(find_monitor(home, "m"), paths, folder, "v2", now=NOW)
        assert found.facts.n_files == 2
        assert found.facts.n_rows == len(rows)
        return found.facts.sha256

    lines = "".join(
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in ("a.parquet", "b.parquet")
    )
    before = digest()
    assert before == hashlib.sha256(lines.encode()).hexdigest()
    rows.tail(-N).with_columns(x=0.0).write_parquet(folder / "b.parquet")
    assert digest() != before


def test_the_command_writes_a_file(production, tmp_path):  # noqa: F811
    scored(5, 0.1).write_parquet(tmp_path / "new.parquet")
    out = tmp_path / "pages" / "v2.html"
    call = ["evaluate", "m", str(tmp_path / "new.parquet"), "--version", "v2", "--format", "html", "--out", str(out)]
    done = CliRunner().invoke(cli, call, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output == ""
    outline(out.read_text(encoding="utf-8"))


def test_limits_of_fairness_stand_in_the_table_and_not_among_the_gains(production, tmp_path):  # noqa: F811
    home, _ = production
    write_monitor(home, {**MONITOR, "fairness": {"columns": ["c"], "margin": {"demographic_parity_ratio": 0.5}}})
    found = run(production, tmp_path, scored(5, 0.1))
    limits = [limit.name for section in found.sections for limit in section.limits]
    assert limits
    page = to_html(found)
    outline(page)
    picture = page.split("<svg", 2)[1].split("</svg>")[0]
    assert "roc_auc" in picture
    for name in limits:
        assert name not in picture
        assert f'<th scope="row">{name}</th>' in page


@pytest.mark.parametrize(("low", "high"), [(-1e-300, 1e-300), (-1e200, 5.0), (0.0, 0.0), (3.0, 4.0), (-4.0, -3.0)])
def test_a_picture_holds_zero_and_stays_inside(low, high):
    found = forest([Row("a", (low + high) / 2, low, high, "open", "x")], title="t", unit="u", margin=1.0)
    assert found is not None
    [line] = found.lines
    for x in (line.x, line.x_low, line.x_high, found.zero, *(tick.x for tick in found.ticks)):
        assert LEFT <= x <= RIGHT
    assert line.x_low <= line.x <= line.x_high
    assert 1 <= len(found.ticks) <= 6


def test_a_picture_cuts_what_is_far_away_and_leaves_out_what_is_no_number():
    rows = [Row("far", -50.0, -60.0, -40.0, "inferior", "x"), Row("none", float("nan"), 0.0, 1.0, "open", "x")]
    found = forest(rows, title="t", unit="u", margin=1.0, most=4.0)
    assert found is not None
    [line] = found.lines
    assert line.is_cut_low
    assert not line.is_cut_high
    assert line.x_low == line.x_high == line.x == LEFT
    assert found.margin is not None
    assert forest(rows[1:], title="t", unit="u") is None


HIDDEN = "v\u202e\u200b|`x`\n\x1b[31m<b>\u2066 ![a](https://evil.example) www.evil.example"


def test_nothing_hidden_stands_in_any_output(production, tmp_path):  # noqa: F811
    """Control characters, overrides of direction, markup: as text in terminal, card, page and JUnit XML."""
    from dataclasses import replace
    from xml.etree import ElementTree

    from sightline.evaluation.render import to_junit, to_table

    rows = scored(5, 0.1).with_columns(id=pl.format("new-{}", "id"), c=pl.lit(HIDDEN))
    found = replace(run(production, tmp_path, rows), version=HIDDEN, candidate=HIDDEN, notes=(HIDDEN, "- 1. a list"))
    texts = {"table": to_table(found), "card": to_markdown(found), "page": to_html(found), "junit": to_junit(found)}
    for name, text in texts.items():
        assert not {"\u202e", "\u200b", "\u2066", "\x1b"} & set(text), name
        assert "u202e" in text, name
    assert "<b>" not in texts["card"] and "<b>" not in texts["page"]
    assert not re.search(r"(?<!\\)\]\(", texts["card"]) and "://evil" not in texts["card"].replace("\\://", "")
    assert "- \\- 1. a list" in texts["card"]
    cells = [line for line in texts["card"].splitlines() if line.startswith("| c=")]
    assert cells and all(re.sub(r"\\.", "", line).count("|") == 6 for line in cells)
    assert ElementTree.fromstring(texts["junit"]).get("name", "").endswith("www.evil.example")
