"""Incidents over HTTP: reading, rights, what may be said, and what is refused."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sightline.alerts import decisions
from sightline.alerts.operational import Seen, beat, record
from sightline.collector import incidents as desk
from sightline.collector.auth import create_token
from sightline.home import Home
from sightline.results.actions import read_actions
from sightline.results.evidence import append_evidence
from sightline.spec.loader import load_monitor
from tests.support.collector_site import EVENT, Site, make_home, run
from tests.unit.commands.test_incidents import YAML, evidence

BASE = "/v1/monitors/churn/incidents"
HOSTILE = "\x1b[2J\u202e<script>'; DROP TABLE x; --"


@pytest.fixture
def home(tmp_path) -> Home:
    """The monitors `m`, `other` and `churn`, which has one open incident."""
    home = make_home(tmp_path)
    (home.monitors / "churn.yaml").write_text(YAML)
    append_evidence(home.monitor("churn"), evidence(64, 60), "history")
    decisions.run(load_monitor(home.monitors / "churn.yaml", home=home), home.monitor("churn"))
    return home


def bearer(home: Home, scope: str, note: str = "ann@example.com", monitor: str = "churn") -> dict[str, str]:
    return {"authorization": f"Bearer {create_token(home.monitor(monitor), scope, note)}"}


async def the_id(site: Site, headers: dict[str, str]) -> str:
    answer = await site.web.get(BASE, headers=headers)
    assert answer.status_code == 200, answer.text
    [found] = answer.json()["incidents"]
    return found["incident_id"]


def test_on_loopback_everybody_reads_until_there_is_a_token_and_nobody_acts_without_one(home):
    async def talk(site: Site) -> None:
        name = await the_id(site, {})
        whole = (await site.web.get(f"{BASE}/{name}")).json()
        assert whole["timeline"][0]["kind"] == "opened" and whole["opened_at"].endswith("Z")
        assert (await site.web.post(f"{BASE}/{name}/accept")).status_code == 401
        answer = await site.web.get("/v1/monitors/m/incidents")
        assert answer.json() == {"monitor": "m", "budget": "1 per 90d", "total": 0, "incidents": [], "operations": []}

    run(home, talk)
    assert read_actions(home.monitor("churn")) == []


def test_rights_are_apart(home):
    """A service that logs can neither read nor accept incidents; who acts cannot log."""
    log, read, replay = (bearer(home, scope) for scope in ("write", "read", "replay"))
    act, elsewhere = bearer(home, "act"), bearer(home, "act", monitor="other")

    async def talk(site: Site) -> None:
        name = await the_id(site, read)
        assert await the_id(site, act) == name
        for headers in ({}, elsewhere):
            assert (await site.web.get(BASE, headers=headers)).status_code == 401
        for headers in (log, replay):
            assert (await site.web.get(BASE, headers=headers)).status_code == 403
        for headers in (log, read, replay):
            refused = await site.web.post(f"{BASE}/{name}/accept", headers=headers)
            assert refused.status_code == 403 and "--for act" in refused.json()["fix"]
        assert (await site.web.post(f"{BASE}/{name}/accept", headers=elsewhere)).status_code == 401
        answer = await site.web.post("/v1/monitors/churn/inferences", json=EVENT, headers=act)
        assert answer.status_code == 403
        answer = await site.web.get("/metrics", headers=act)
        assert answer.status_code == 200

    run(home, talk)
    assert read_actions(home.monitor("churn")) == []


def test_a_word_takes_effect_like_the_command_and_who_is_the_name_of_the_token(home):
    ann, bob = bearer(home, "act"), bearer(home, "act", "bob@example.com")

    async def talk(site: Site) -> None:
        name = await the_id(site, ann)
        at = f"{BASE}/{name}"
        assigned = await site.web.post(f"{at}/assign", json={"person": "dan", "note": HOSTILE}, headers=ann)
        assert assigned.status_code == 200 and assigned.json()["owner"] == "dan"
        both = await asyncio.gather(
            site.web.post(f"{at}/accept", json={"note": "new cabin classes"}, headers=ann),
            site.web.post(f"{at}/fixed", json={"from": "2026-03-06", "to": "2026-03-09"}, headers=bob),
        )
        assert [answer.status_code for answer in both] == [200, 200], [answer.text for answer in both]
        told = [answer.json()["told"] for answer in both]
        ended = {answer.json()["state"] for answer in both}
        assert len(ended) == 1 and ended <= {"accepted", "fixed"}
        assert any("bob@example.com" in words for words in told[0]) != any(
            "ann@example.com accepted" in words for words in told[1]
        ), told
        late = await site.web.post(f"{at}/accept", headers=ann if ended == {"accepted"} else bob)
        assert late.status_code == 409 and "has ended already" in late.json()["error"]
        again = await site.web.post(f"{at}/reopen", json={"note": "not over"}, headers=bob)
        assert again.json()["state"] == "reopened"
        found = (await site.web.get(f"{BASE}?open=true&owner=dan&severity=error", headers=ann)).json()
        assert [row["incident_id"] for row in found["incidents"]] == [name]

    run(home, talk)
    kept = read_actions(home.monitor("churn"))
    assert {action["user"] for action in kept} == {"ann@example.com", "bob@example.com"} and len(kept) == 4
    assert not {"\x1b", "\u202e"} & set(json.dumps(kept, ensure_ascii=False))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("{id}/acept", b"{}", 404),
        ("{id}/accept/more", b"{}", 404),
        ("absent/accept", b"{}", 404),
        ("%2e%2e/accept", b"{}", 404),
        ("{id}/accept", b"[1", 400),
        ("{id}/accept", b'{"nte": "x"}', 400),
        ("{id}/accept", b'{"person": "x"}', 400),
        ("{id}/accept", b'{"note": 7}', 400),
        ("{id}/assign", b'{"person": " "}', 400),
        ("{id}/note", b"{}", 400),
        ("{id}/fixed", b'{"from": "tomorrow"}', 400),
        ("{id}/fixed", b'{"to": "2099-01-01"}', 400),
        ("{id}/merge", b'{"into": "absent"}', 404),
        ("{id}/split", b'{"streams": ["absent"]}', 400),
        ("{id}/note", b'{"note": "' + b"x" * 5000 + b'"}', 400),
        ("{id}/note", b'{"note": "' + b"x" * desk.MAX_BODY_BYTES + b'"}', 413),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_kept(home, path, body, status):
    act = bearer(home, "act")

    async def talk(site: Site) -> None:
        name = await the_id(site, act)
        answer = await site.web.post(
            f"{BASE}/{path.format(id=name)}", content=body, headers={**act, "content-type": "application/json"}
        )
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]

    run(home, talk)
    assert read_actions(home.monitor("churn")) == []


def test_bad_queries_methods_and_types(home):
    act = bearer(home, "act")

    async def talk(site: Site) -> None:
        name = await the_id(site, act)
        for query in ("opn=true", "open=yes", "status=shut", "severity=loud", "since=yesterday", "limit=0",
                      "limit=-1", "limit=99999999999999", "x=" + "y" * 5000, "&".join(["open=true"] * 40)):  # fmt: skip
            assert (await site.web.get(f"{BASE}?{query}", headers=act)).status_code == 400, query
        assert (await site.web.get(f"{BASE}/{name}/accept", headers=act)).headers["allow"] == "POST"
        assert (await site.web.delete(f"{BASE}/{name}", headers=act)).status_code == 405
        assert (await site.web.post(BASE, headers=act)).status_code == 405
        form = {**act, "content-type": "text/plain"}
        assert (await site.web.post(f"{BASE}/{name}/accept", content=b"{}", headers=form)).status_code == 415
        assert (await site.web.get(f"{BASE}/absent", headers=act)).status_code == 404
        assert (await site.web.get(f"{BASE}/", headers=act)).status_code == 404
        assert (await site.web.get("/v1/monitors/absent/incidents", headers=act)).status_code == 404
        assert (await site.web.get(BASE, headers={**act, "host": "evil.example"})).status_code == 421

    run(home, talk)


def test_from_other_machines_a_token_is_always_wanted(home):
    read = bearer(home, "read")

    async def talk(site: Site) -> None:
        for monitor in ("churn", "m", "absent"):
            assert (await site.web.get(f"/v1/monitors/{monitor}/incidents")).status_code == 401
        assert (await site.web.get(BASE, headers=read)).status_code == 200

    run(home, talk, host="0.0.0.0")


def test_words_wait_for_each_other_and_too_many_are_sent_away(home, monkeypatch):
    act = bearer(home, "act")
    monkeypatch.setattr(desk, "MAX_WAITING", 2)

    async def talk(site: Site) -> None:
        name = await the_id(site, act)
        said: list[Any] = await asyncio.gather(
            *(site.web.post(f"{BASE}/{name}/note", json={"note": f"n{k}"}, headers=act) for k in range(4))
        )
        assert sorted(answer.status_code for answer in said) == [200, 200, 429, 429]
        assert all(a.headers["retry-after"] for a in said if a.status_code == 429)

    run(home, talk)
    assert len(read_actions(home.monitor("churn"))) == 2


def test_a_silent_daemon_is_told_and_events_are_taken_all_the_same(home):
    async def talk(site: Site) -> None:
        assert (await site.web.get("/healthz")).json() == {"status": "ok"}, "no daemon was ever there"
        now = datetime.now(UTC)
        for age, status in ((5, "ok"), (1000, "degraded")):
            beat(home, ["churn"], now - timedelta(seconds=age))
            answer = await site.web.get("/healthz")
            told = answer.json()
            assert (answer.status_code, told["status"]) == (200, status)
            assert age <= told["daemon_heartbeat"]["seconds"] < age + 60
        metrics = (await site.web.get("/metrics")).text
        line = next(line for line in metrics.splitlines() if line.startswith("sightline_daemon_heartbeat_age_seconds"))
        assert float(line.split()[-1]) >= 1000
        assert (await site.web.post("/v1/monitors/m/inferences", json=EVENT)).status_code == 200
        (home.data / "alerts" / "heartbeat.json").write_text("{")
        told = (await site.web.get("/healthz")).json()
        assert told == {"status": "degraded", "daemon_heartbeat": {"seconds": None, "late": True}}

    run(home, talk)


def test_operational_facts_stand_beside_the_incidents(home):
    at = datetime(2026, 3, 8, 9, tzinfo=UTC)
    fact = Seen("r1:delayed", "run:delayed", "run", at, True, ("2026-03-07",), "runs of delayed failed", "r1")
    record(home.monitor("churn"), [fact], at)

    async def talk(site: Site) -> None:
        listed = (await site.web.get(BASE)).json()
        assert listed["operations"][0]["words"] == "runs of delayed failed (since 2026-03-08 09:00)"
        assert listed["operations"][0]["since"] == "2026-03-08T09:00:00Z"
        whole = (await site.web.get(f"{BASE}/{listed['incidents'][0]['incident_id']}")).json()
        assert [fact["cause"] for fact in whole["operations"]] == ["run:delayed"]

    run(home, talk)
