"""Messages in every form: the facts are in, hostile names do no harm, sizes are bounded, templates may be replaced."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import markdown as markdown_to_html
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.alerts.changes import SEVERITIES
from sightline.alerts.messages.escaping import markdown, plain, slack
from sightline.alerts.messages.rendering import MAX_BLOCK, MAX_BLOCKS, MAX_BODY, built_in, render
from sightline.alerts.messages.view import HEADS, MAX_TITLE
from sightline.alerts.outbox import Message
from sightline.home import Home
from sightline.spec.routes import Links
from tests.support.outbox import fact

FORMS = ("plain", "markdown", "slack", "json")
LINKS = Links(dagster="http://127.0.0.1:3000", dashboard="https://pages.example/{monitor}/{incident}")
FACTS = {
    "what": "ROC AUC fell from 0.81 to 0.7", "since": "2026-03-01", "size": "-4.2 standard deviations",
    "sure": "appears by chance at most once in 900 days", "budget": "1 per 90d", "causes": ["the weather feed"],
    "members": [{"words": "ROC AUC fell from 0.81 to 0.7"}, {"words": "age: the mean"}],
    "todo": ["sightline fixed churn 2026-03-02-abcdef"], "run_id": "0b1f", "main_asset": "model_quality",
}  # fmt: skip


def opened(**facts):
    change = fact(1, "opened", assets=["drift"], owner="ops@example.com", facts={**FACTS, **facts})
    return replace(change, incident="2026-03-02-abcdef", facts={**change.facts, **FACTS, **facts})


def message(*changes, held_for=""):
    return Message("k" * 32, "ops", changes, 1, 0.0, held_for, "")


def body(tmp_path, form, *changes, **more):
    return render(Home(tmp_path), message(*changes, **more), form, LINKS).body


@pytest.mark.parametrize("form", FORMS)
def test_a_message_says_everything(tmp_path, form):
    text = body(tmp_path, form, opened(), held_for="downtime until noon")
    text = re.sub(r"\\(.)", r"\1", html.unescape(text)) if form != "json" else text
    said = [FACTS["what"], "2026-03-01", "-4.2", "once in 900 days", "1 per 90d", "the weather feed", "age: the mean"]
    for words in [*said, "sightline fixed churn", "k" * 32, "downtime until noon", "ops@example.com"]:
        assert words in text, words
    if form != "json":
        assert "http://127.0.0.1:3000/assets/churn/model_quality" in text
        assert "http://127.0.0.1:3000/runs/0b1f" in text
        assert "https://pages.example/churn/2026-03-02-abcdef" in text


@pytest.mark.parametrize("form", ["plain", "markdown", "slack"])
def test_without_a_cause_it_says_so(tmp_path, form):
    assert "no cause found yet" in body(tmp_path, form, opened(causes=[]))


def test_every_kind_has_words_and_can_be_written(tmp_path):
    assert set(HEADS) == set(SEVERITIES) - {"history"}
    for kind in HEADS:
        for form in FORMS:
            assert HEADS[kind].partition(":")[0] in body(tmp_path, form, fact(1, kind)) or form == "json"


HOSTILE = [
    "<!channel> <!here> <@U123>", "@everyone @here", "*bold* _it_ ~s~ `code`", "[x](http://evil.example)",
    "http://evil.example www.evil.example", "<script>alert(1)</script>", "a\nb\r\n\r\n# head\n- item",
    "\x1b[31mred\x07", '"}], "blocks": [], "x": "', "\\", "\\n", "{{ 7 * 7 }} {% raw %}", "\u202etxt.exe",
    "\u2028line\u2029", "|a|b|", "&amp; &lt;", "\ud800", "x" * 5000, "\x00", "![i](http://evil.example/p.png)",
    "mailto:a@b.example",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("many", [False, True])
def test_hostile_names_do_no_harm(tmp_path, value, many):
    change = opened(what=value, since=value, size=value, sure=value, causes=[value], members=[{"words": value}],
                    todo=[value], note=value, by=value, run_id=value, main_asset=value)  # fmt: skip
    change = replace(change, monitor=value, incident=value, owner=value, assets=(value,))
    changes = [change] * (5 if many else 1)
    calm = len(body(tmp_path, "plain", *([opened()] * len(changes))).splitlines())
    text = body(tmp_path, "plain", *changes, held_for=value)
    assert len(text.splitlines()) <= calm + 6 and len(text) <= MAX_BODY
    assert not set(text) & {"\x1b", "\x00", "\x07", "\u202e", "\r"}
    for found in (text, body(tmp_path, "markdown", *changes), body(tmp_path, "slack", *changes)):
        assert not re.search(r"@(everyone|here|channel)|<!|<@U|(?<!%20)www\.evil|http://evil", found)
    page = markdown_to_html.markdown(body(tmp_path, "markdown", *changes))
    assert not re.search(r"<(script|img|code|h\d|table)", page)
    targets = re.findall(r'href="([^"]*)"', page)
    assert all(each.startswith(("http://127.0.0.1:3000/", "https://pages.example/")) for each in targets)
    data = json.loads(body(tmp_path, "slack", *changes))
    assert set(data) == {"text", "blocks"} and len(data["blocks"]) <= MAX_BLOCKS
    for block in data["blocks"]:
        parts = [block.get("text", {}), *block.get("elements", [])]
        assert all(len(part.get("text", "")) <= MAX_BLOCK for part in parts)
    json.loads(body(tmp_path, "json", *changes))
    title = render(Home(tmp_path), message(*changes), "plain", LINKS).title
    assert len(title) <= MAX_TITLE and title.isprintable() is not None and "\n" not in title


@pytest.mark.parametrize("value", ["*all*", "~gone~", "`rm -rf /`", "_it_", "a _it_ b"])
def test_nothing_is_bold_struck_code_or_italic_in_slack(value):
    assert not re.search(r"(^|[\s(])([*~`_])\S.*\S\2($|[\s)])", slack(value))
    assert slack(value).replace("\u200b", "") == value


def test_commands_can_be_copied_out_of_slack():
    assert slack("sightline fixed flight_delay 2026-09-28-ff23ea") == "sightline fixed flight_delay 2026-09-28-ff23ea"


@given(st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_text_stays_one_line(value):
    for escape in (plain, markdown, slack):
        text = escape(value)
        assert len(text.splitlines()) <= 1
        text.encode()
    assert "<" not in markdown(value) and "<" not in slack(value)
    json.loads(f'"{slack(value)}"')


def test_ten_thousand_fit(tmp_path):
    changes = [fact(n) for n in range(10_000)]
    for form in ("plain", "markdown"):
        text = body(tmp_path, form, *changes)
        assert len(text) <= MAX_BODY and re.search("10000 [×x] run failed", text)
    data = json.loads(body(tmp_path, "json", *changes))
    assert data["n_changes"] == 10_000 and len(data["changes"]) + len(data["more"]) == 10_000
    assert len(body(tmp_path, "json", *changes)) < 1_000_000


def own_template(tmp_path, form, text):
    folder = tmp_path / "alerts" / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    name = {"plain": "plain.txt.j2", "markdown": "markdown.md.j2", "slack": "slack.json.j2"}[form]
    (folder / name).write_text(text, encoding="utf-8")


def test_a_template_may_be_replaced(tmp_path):
    own_template(tmp_path, "plain", "{% for c in m.changes %}{{ c.monitor|upper }}! {{ c.what }}{% endfor %}")
    assert body(tmp_path, "plain", opened(what="a\nb")) == "CHURN! a b\n"
    own_template(tmp_path, "markdown", "{{ m.title|lower ~ '<b>' }}")
    assert "&lt;b&gt;" in body(tmp_path, "markdown", opened())  # whatever a template puts together is escaped


@pytest.mark.parametrize(
    ("form", "text", "words"),
    [
        ("plain", "{% for %}", "TemplateSyntaxError, line 1"),
        ("plain", "{{ m.nothing }}", "UndefinedError"),
        ("plain", "{{ 1 / 0 }}", "ZeroDivisionError"),
        ("plain", "{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("plain", "{{ m.changes.append(1) }}", "SecurityError"),
        ("plain", "{{ range(10000000)|list }}", "OverflowError"),
        ("plain", "{% include '/etc/passwd' %}", "TypeError"),
        ("slack", '{"text": "no blocks"}', "ValueError"),
        ("slack", "no json", "JSONDecodeError"),
        ("markdown", "x" * 100_000, "ValueError"),
    ],
)
def test_a_broken_template_gives_way_and_the_message_says_so(tmp_path, form, text, words):
    own_template(tmp_path, form, text)
    found = re.sub(r"\\(.)", r"\1", body(tmp_path, form, opened()))
    assert "could not be used: " + words in found and FACTS["what"] in found


def test_built_in_templates_are_there():
    assert all(built_in(form) for form in ("plain", "markdown", "slack"))
