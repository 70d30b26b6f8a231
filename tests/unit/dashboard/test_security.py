"""Who gets in: names, tokens, proxies, forms of other sites, headers."""

from __future__ import annotations

import re

import httpx
import pytest

from sightline.dashboard.server.security import HEADERS, Access
from sightline.results.actions import read_actions
from tests.support.dashboard import served
from tests.support.published import make_published

READ, ACT = "r" * 20, "a" * 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    return make_published(tmp_path_factory.mktemp("secured") / "home", days=50)


def test_every_answer_has_the_headers(world):
    with served(world.home) as client:
        for address in ("/", "/monitors/churn", "/monitors/nix", "/index.json", "/static/sightline.css", "/healthz"):
            answer = client.get(address)
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, address
        policy = HEADERS["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:3001", "127.0.0.1.evil.example", "", "[::2]", "[::1].evil.example", "[::1]:x"],
)
def test_other_names_are_refused(world, host):
    with served(world.home) as client:
        answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421 and "churn" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:3001", "127.0.0.1:9", "[::1]:3001", "models.example"])
def test_own_names_are_known(world, host):
    access = Access(hosts=frozenset({"models.example"}))
    with served(world.home, access) as client:
        assert client.get("/", headers={"host": host}).status_code == 200


def test_without_a_token_nothing_is_shown(world):
    with served(world.home, Access(read_token=READ, act_token=ACT)) as client:
        for address in ("/", "/monitors/churn", "/monitors/churn/incidents"):
            answer = client.get(address)
            assert answer.status_code == 303 and answer.headers["location"].startswith("/login")
        assert client.get("/index.json").status_code == 401
        assert client.get("/index.json", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/index.json", headers={"authorization": f"Bearer {READ}"}).status_code == 200


def test_a_token_becomes_a_cookie_that_no_script_reads(world):
    with served(world.home, Access(read_token=READ)) as client:
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        answer = client.post("/login?next=//evil.example/", data={"token": READ})
        assert answer.status_code == 303 and answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert client.get("/").status_code == 200


def form_of(client: httpx.Client, world, **headers: str) -> dict[str, str]:
    text = client.get(f"/monitors/churn/incident?incident={world.incident}", headers=headers).text
    key = re.search(r'name="key" value="([0-9a-f]{64})"', text)
    found = {"incident": world.incident, "action": "note", "note": "x"}
    return {**found, "key": key[1]} if key else found


def test_who_may_look_may_not_act(world):
    with served(world.home, Access(read_token=READ, act_token=ACT)) as client:
        shown = {"authorization": f"Bearer {READ}"}
        form = form_of(client, world, **shown)
        assert "key" not in form
        answer = client.post("/monitors/churn/say", data=form, headers=shown)
        assert answer.status_code == 403 and "may look, not act" in answer.text
        assert client.post("/monitors/churn/say", data=form).status_code == 403


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"origin": "http://evil.example"}, None),
        ({"sec-fetch-site": "cross-site"}, None),
        ({}, "0" * 64),
        ({}, ""),
    ],
)
def test_forms_of_other_sites_change_nothing(world, headers, key):
    with served(world.home) as client:
        form = form_of(client, world)
        if key is not None:
            form["key"] = key
        before = read_actions(world.home.monitor("churn"))
        assert client.post("/monitors/churn/say", data=form, headers=headers).status_code == 403
        assert read_actions(world.home.monitor("churn")) == before


def test_large_and_odd_forms_are_refused(world):
    with served(world.home) as client:
        form = form_of(client, world)
        assert client.post("/monitors/churn/say", data={**form, "note": "x" * 70_000}).status_code == 400
        assert client.post("/monitors/churn/say", files={"f": b"x"}, data=form).status_code == 400
        assert client.post("/monitors/churn/say", data={**form, "action": "split"}).status_code == 400
        assert client.post("/monitors/churn/say", data={**form, "action": "fixed", "from": "soon"}).status_code == 400
        assert client.get("/monitors/churn/say").status_code in (404, 405)


def test_a_trusted_proxy_names_the_person(world):
    with served(world.home, Access(proxy_header="x-forwarded-user")) as client:
        assert client.get("/").status_code == 303
        named = {"x-forwarded-user": "eve"}
        form = form_of(client, world, **named)
        answer = client.post("/monitors/churn/say", data={**form, "by": "somebody else"}, headers=named)
        assert answer.status_code == 303
        assert read_actions(world.home.monitor("churn"))[-1]["user"] == "eve"


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"])
def test_only_static_files_are_served(world, path):
    with served(world.home) as client:
        assert client.get(path).status_code == 404
