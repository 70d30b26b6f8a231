"""`alerts/routes.yaml`: every mistake with its line, and no secret in any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.loader import SpecError
from sightline.spec.routes import load_routes
from sightline.spec.schema import ROUTES_FILE, routes_schema, routes_schema_text
from sightline.spec.yaml_lines import read_yaml
from tests.support.outbox import make_home

ROOT = Path(__file__).resolve().parents[3]
SECRET = "hunter2-xoxb-123"


def problems(tmp_path, text: str) -> list[tuple[int, str, str]]:
    home = make_home(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        load_routes(home)
    found = []
    for problem in caught.value.problems:
        file, _, line = (problem.where or "").rpartition(":")
        assert file == str(home.root / "alerts" / "routes.yaml")
        found.append((int(line), problem.what, problem.fix or ""))
    return found


def test_without_a_file_there_are_no_channels(tmp_path):
    assert load_routes(Home(tmp_path)).channels == {}


def test_an_empty_file_is_one_without_channels(tmp_path):
    assert load_routes(make_home(tmp_path, "# nothing yet\n")).routes == ()


@pytest.mark.parametrize(
    ("text", "line", "what", "fix"),
    [
        ("timezon: UTC", 1, "unknown key 'timezon'", "'timezone'"),
        ("timezone: Berlin", 1, "is no time zone", ""),
        ("channels:\n  ops: {kind: webhok, url: env:A}", 2, "channels.ops.kind is 'webhok'", "'webhook'"),
        ("channels:\n  ops: {kind: webhook, urll: env:A}", 2, "unknown key 'urll'", "'url'"),
        ("channels:\n  ops: {kind: webhook}", 2, "needs `url`", "env:OPS_URL"),
        ("channels:\n  Ops!: {kind: webhook, url: env:A}", 2, "no name for a channel", "lower-case"),
        ("channels:\n  record: {kind: webhook, url: env:A}", 2, "no name for a channel", "built in"),
        ("channels:\n  m: {kind: apprise, url: env:A, allow_private: true}", 2, "has no 'allow_private'", "remove"),
        ("channels:\n  m: {kind: apprise, url: 'https://x.example'}", 2, "holds its password", "env:NAME"),
        ("channels:\n  m: {kind: apprise, url: env:A, template: slack}", 2, "takes no slack", "markdown"),
        ("channels:\n  f: {kind: file}", 2, "needs `path`", "ndjson"),
        ("channels:\n  f: {kind: file, path: a, url: env:A}", 2, "has no 'url'", "remove"),
        ("channels:\n  o: {kind: webhook, url: env:A, timeout: 2h}", 2, "timeout is out of its range", "1m"),
        ("channels:\n  o: {kind: webhook, url: env:A, give_up_after: 1m}", 2, "give_up_after is out", "1h"),
        ("routes:\n  - {to: ops}", 2, "there is no channel 'ops'", "record"),
        ("routes:\n  - {to: []}", 2, "routes.0.to", ""),
        ("routes:\n  - {to: record, severity: [error]}", 2, "unknown key 'severity'", "'severities'"),
        ("routes:\n  - {to: record, severities: [fatal]}", 2, "is 'fatal'", "error"),
        ('quiet_hours: {from: "22:00"}', 1, "needs both", "add"),
        ("quiet_hours: {from: 22, to: 7}", 1, "is no time of day", ""),
        ("quiet_hours: {frm: 22}", 1, "unknown key 'frm'", "'from'"),
        ("quiet_hours: {days: [sundy]}", 1, "is 'sundy'", "'sunday'"),
        ("downtime:\n  - {from: 2026-03-02, to: 2026-03-01}", 2, "ends before it begins", "later"),
        ("downtime:\n  - {from: 2026-03-02}", 2, "'to' is missing", ""),
        ("digest: {day: mondy, to: [record]}", 1, "is 'mondy'", "'monday'"),
        ("digest: {to: [mail]}", 1, "there is no channel 'mail'", ""),
        ("links: {dagster: 'ftp://x'}", 1, "write an http", ""),
        ("- a\n- b", 1, "must be a section", ""),
    ],
)
def test_every_mistake_has_its_line_and_a_way_out(tmp_path, text, line, what, fix):
    found = problems(tmp_path, text)
    assert any(n == line and what in said and fix in way for n, said, way in found), found


@pytest.mark.parametrize(
    "text",
    [
        f"channels: {{ops: {{kind: webhook, url: {SECRET}}}}}",
        f"channels: {{ops: {{kind: webhook, url: 'https://user:{SECRET}@x.example'}}}}",
        f"channels: {{ops: {{kind: webhook, url: env:A, secret: {SECRET}}}}}",
        f"channels: {{ops: {{kind: webhook, url: env:A, headers: {{Authorization: 'Bearer {SECRET}'}}}}}}",
        f"channels: {{ops: {{kind: webhook, url: env:A, headers: 'Bearer {SECRET}'}}}}",
        f"channels: {{ops: '{SECRET}'}}",
        f"channels: '{SECRET}'",
        f"channels: {{ops: {{kind: apprise, url: 'mailto://u:{SECRET}@x.example'}}}}",
        f"channels: {{ops: {{kind: webhook, url: env:A, allow_private: {SECRET}}}}}",
        f"links: {{dagster: 'https://u:{SECRET}@x.example'}}",
    ],
)
def test_no_error_repeats_what_may_be_a_secret(tmp_path, text):
    with pytest.raises(SightlineError) as caught:
        load_routes(make_home(tmp_path, text))
    assert SECRET not in str(caught.value)


GOOD = """\
version: 1
timezone: Europe/Berlin
channels:
  ops: {kind: webhook, url: env:OPS_URL, secret: file:/run/secrets/ops, headers: {X-Key: env:KEY}, template: slack}
  mail: {kind: apprise, url: env:MAIL_URL, template: markdown, give_up_after: 1d}
  log: {kind: file, path: data/alerts/all.ndjson}
routes:
  - {to: ops, severities: [error], kinds: [opened, 'run_*'], assets: [drift]}
  - {to: [mail, log], name: nightly, monitors: ['a_*'], owners: [bob]}
quiet_hours: {from: "22:00", to: "07:00", days: [sunday], urgent: [error, warn]}
holidays: [2026-12-25]
downtime: [{monitors: [a], from: 2026-12-01, to: 2026-12-02T06:00, reason: moving}]
digest: {day: monday, at: "08:00", to: [mail]}
links: {dagster: "http://127.0.0.1:3000", dashboard: "https://pages.example/{monitor}"}
"""


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (GOOD, True),
        ("{}", True),
        ("channels: {a: {kind: fax}}", False),
        ("chanels: {}", False),
        ("routes: [{name: x}]", False),
        ('quiet_hours: {from: "25:00", to: "07:00"}', False),
        ("channels: {a: {kind: webhook, url: env:A, secret: abc}}", False),
        ("digest: {}", False),
    ],
)
def test_schema_and_loader_agree(tmp_path, text, good):
    home = make_home(tmp_path, text)
    document: Any = read_yaml(home.root / "alerts" / "routes.yaml").value
    errors = list(jsonschema.Draft202012Validator(routes_schema()).iter_errors(document))
    assert (not errors) == good, errors
    if good:
        load_routes(home)
    else:
        with pytest.raises(SightlineError):
            load_routes(home)


def test_schema_in_the_tree_is_current():
    text = (ROOT / "schemas" / ROUTES_FILE).read_text(encoding="utf-8")
    assert text == routes_schema_text(), "run `python -m sightline.spec.docs`"
    jsonschema.Draft202012Validator.check_schema(routes_schema())


def test_the_file_of_the_documentation_loads(tmp_path):
    page = (ROOT / "docs" / "alerting.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\n")[2].partition("```")[0]
    routes = load_routes(make_home(tmp_path, text))
    assert list(routes.channels) == ["ops", "chat", "mail", "log"] and len(routes.routes) == 5
    errors = jsonschema.Draft202012Validator(routes_schema()).iter_errors(
        read_yaml(tmp_path / "alerts" / "routes.yaml").value
    )
    assert list(errors) == []
