"""Signed calls of a model registry: only true, new and timely ones count, and nobody learns more than they may."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
import uuid
from typing import Any

import pytest

from sightline.collector import signed_calls
from sightline.collector.signed_calls import MAX_BODY_BYTES, TOLERANCE_SECONDS, note, read_calls
from sightline.errors import SightlineError
from sightline.home import Home
from tests.support.collector_site import MONITOR, Site, make_home, run

PATH = "/v1/monitors/m/registry"
SECRET = "a secret of the webhook"
VARIABLE = "WEBHOOK_SECRET_OF_THIS_TEST"
EVENT = {
    "entity": "model_version",
    "action": "created",
    "timestamp": "2026-01-01T00:00:00+00:00",
    "data": {"name": "m", "version": "4", "source": "runs:/x/model"},
}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.setenv(VARIABLE, SECRET)
    home = make_home(tmp_path)
    text = MONITOR.format(name="m")
    text += f"registry: {{url: 'http://127.0.0.1:1', webhook_secret_env: {VARIABLE}}}\n"
    (home.monitors / "m.yaml").write_text(text)
    return home


def signed(body: bytes, *, secret: str = SECRET, at: float | None = None, name: str | None = None) -> dict[str, str]:
    """Headers as MLflow makes them."""
    name, told = name or str(uuid.uuid4()), str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"{name}.{told}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "x-mlflow-signature": f"v1,{base64.b64encode(digest).decode()}",
        "x-mlflow-delivery-id": name,
        "x-mlflow-timestamp": told,
    }


def body_of(**more: Any) -> bytes:
    return json.dumps({**EVENT, **more}).encode()


def test_a_true_call_asks_for_a_look_once(home):
    body = body_of()
    headers, before = signed(body), time.time()

    async def talk(site: Site) -> None:
        first = await site.web.post(PATH, content=body, headers=headers)
        assert (first.status_code, first.json()) == (200, {"look": True})
        again = await site.web.post(PATH, content=body, headers=headers)
        assert again.status_code == 409
        assert "come before" in again.json()["error"]
        metrics = (await site.web.get("/metrics")).text
        assert 'format="registry",status="409"' in metrics.replace(" ", "")

    run(home, talk)
    told = read_calls(home.monitor("m"))
    assert told.asked_at >= before
    assert told.why == "model_version.created"
    assert list(told.seen) == [headers["x-mlflow-delivery-id"]]


def test_a_call_that_came_before_is_known_after_a_restart(home):
    body = body_of()
    headers = signed(body)

    async def talk(site: Site, status: int) -> None:
        assert (await site.web.post(PATH, content=body, headers=headers)).status_code == status

    run(home, lambda site: talk(site, 200))
    run(home, lambda site: talk(site, 409))


BODY = body_of()
WRONG = {
    "no signature": lambda: {k: v for k, v in signed(BODY).items() if "signature" not in k},
    "another secret": lambda: signed(BODY, secret="guessed"),
    "another body": lambda: signed(body_of(action="deleted")),
    "another version": lambda: {
        **signed(BODY),
        "x-mlflow-signature": signed(BODY)["x-mlflow-signature"].replace("v1", "v2"),
    },
    "another time": lambda: {**signed(BODY), "x-mlflow-timestamp": "1780000000"},
    "another id": lambda: {**signed(BODY), "x-mlflow-delivery-id": str(uuid.uuid4())},
    "too old": lambda: signed(BODY, at=time.time() - TOLERANCE_SECONDS - 60),
    "far ahead": lambda: signed(BODY, at=time.time() + TOLERANCE_SECONDS + 600),
    "no text": lambda: {**signed(BODY), "x-mlflow-signature": "v1,\xff"},
    "an id that is none": lambda: signed(BODY, name="../../x"),
}
"""Made when asked for: signatures hold for some minutes, and a run of all tests takes longer."""


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_signed_now_by_the_secret_is_refused(home, name):
    async def talk(site: Site) -> None:
        headers = [(key.encode(), value.encode("latin-1")) for key, value in WRONG[name]().items()]
        answer = await site.web.post(PATH, content=BODY, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"] == "no valid signature for this monitor"

    run(home, talk)
    assert read_calls(home.monitor("m")).asked_at == 0.0


def test_nobody_learns_which_monitors_have_a_registry(home, monkeypatch, caplog):
    body = body_of()

    async def talk(site: Site) -> None:
        told = [
            (
                await site.web.post(f"/v1/monitors/{name}/registry", content=body, headers=signed(body, secret="x"))
            ).json()
            for name in ("m", "other", "absent")
        ]
        assert told[0] == told[1] == told[2]
        monkeypatch.delenv(VARIABLE)
        assert (await site.web.post(PATH, content=body, headers=signed(body, secret=""))).status_code == 401
        assert (await site.web.post(PATH, content=body, headers=signed(body))).status_code == 401

    with caplog.at_level(logging.WARNING):
        run(home, talk)
    assert f"{VARIABLE} is not set in the environment of the collector" in caplog.text
    assert "the signature is missing or wrong" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("more", "is_about"),
    [
        ({"data": {"name": "another", "version": "4"}}, False),
        ({"entity": "prompt", "data": {"name": "m"}}, False),
        ({"entity": "model_version_tag", "action": "set", "data": {"name": "m", "key": "sightline.verdict"}}, False),
        ({"entity": "model_version_tag", "action": "set", "data": {"name": "m", "key": "ready"}}, True),
        ({"entity": "model_version_alias", "data": {"name": "m", "alias": "challenger", "version": "4"}}, True),
    ],
)
def test_only_calls_about_the_model_ask_for_a_look(home, more, is_about):
    body = body_of(**more)

    async def talk(site: Site) -> None:
        assert (await site.web.post(PATH, content=body, headers=signed(body))).json() == {"look": is_about}

    run(home, talk)
    assert bool(read_calls(home.monitor("m")).asked_at) == is_about


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x" * (MAX_BODY_BYTES + 1), {}, 413),
        (BODY, {"content-type": "text/plain"}, 415),
        (BODY, {"content-encoding": "gzip"}, 415),
        (b"no json", {}, 422),
        (b"[" * 60_000, {}, 422),
        (b"[]", {}, 422),
        (b'{"data": 5}', {}, 422),
    ],
)
def test_calls_that_are_none(home, content, headers, status):
    async def talk(site: Site) -> None:
        answer = await site.web.post(PATH, content=content, headers={**signed(content), **headers})
        assert answer.status_code == status, answer.text
        assert (await site.web.get(PATH)).status_code == 405
        assert (await site.web.post(f"{PATH}/more", content=BODY, headers=signed(BODY))).status_code == 404

    run(home, talk)


def test_what_is_kept_is_bounded_and_forgotten(home, monkeypatch):
    paths = home.monitor("m")
    monkeypatch.setattr(signed_calls, "MOST_KEPT", 3)
    assert all(note(paths, (f"c{k}", 1000.0 + k), "x", 1000.0 + k) for k in range(3))
    with pytest.raises(SightlineError, match="more than 3 calls"):
        note(paths, ("c3", 1003.0), "x", 1003.0)
    assert note(paths, ("c4", 2000.0), "", 2000.0)
    told = read_calls(paths)
    assert (list(told.seen), told.asked_at) == (["c4"], 1002.0)
    (paths.root / "registry_calls.json").write_text("{")
    with pytest.raises(SightlineError, match="cannot be read"):
        read_calls(paths)
