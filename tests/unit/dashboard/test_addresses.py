"""Links from Dagster's checks to the pages that show what they judged."""

from __future__ import annotations

import pytest

from sightline.dashboard.addresses import VARIABLE, dashboard_base, page_of_check
from sightline.spec.loader import load_monitor
from sightline.spec.plan import checks
from tests.support.dashboard import served
from tests.support.published import make_published


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    return make_published(tmp_path_factory.mktemp("links") / "home")


def test_every_check_leads_to_a_page_that_is_there_or_says_what_is(world):
    spec = load_monitor(world.home.monitors / "churn.yaml", home=world.home)
    key = f"{world.day(50):%Y-%m-%d}"
    answers: dict[str, int] = {}
    with served(world.home) as client:
        base = str(client.base_url).rstrip("/")
        for check in checks(spec):
            address = page_of_check(base, spec, check, key)
            assert address.startswith(f"{base}/monitors/churn") and f"to={world.day(51):%Y-%m-%d}" in address
            answer = client.get(address)
            assert answer.status_code in (200, 404), address
            answers[check.name] = answer.status_code
            if answer.status_code == 404:
                assert "has no metric" in answer.text or "judges no column" in answer.text
    assert answers["contract"] == 200 and sum(status == 200 for status in answers.values()) >= 4


@pytest.mark.parametrize(
    ("variable", "linked", "expected"),
    [
        ("http://127.0.0.1:3001/", None, "http://127.0.0.1:3001"),
        ("", "https://ml.example/look/monitors/{monitor}/incident?incident={incident}", "https://ml.example/look"),
        ("", "https://ml.example/elsewhere", None),
        ("javascript:alert(1)", None, None),
        ("http://user:secret@ml.example", None, None),
        ("", None, None),
    ],
)
def test_the_address_is_the_environments_else_that_of_the_routes(tmp_path, monkeypatch, variable, linked, expected):
    world = make_published(tmp_path / "home", days=3)
    monkeypatch.setenv(VARIABLE, variable)
    if linked is not None:
        (world.home.root / "alerts").mkdir()
        text = f'links: {{dashboard: "{linked}"}}\n'
        (world.home.root / "alerts" / "routes.yaml").write_text(text, encoding="utf-8")
    assert dashboard_base(world.home) == expected
