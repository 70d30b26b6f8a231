"""Who may write: tokens, scopes, addresses."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn

from sightline.collector.auth import create_token, open_monitor, read_tokens, revoke_token, tokens_path
from sightline.collector.limits import Limits
from sightline.collector.server import is_loopback, make_collector
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.log.events import InferenceEvent
from sightline.log.resend import Replayed, logged_events, replay_to_url
from sightline.log.writer import SegmentWriter
from tests.support.collector_site import EVENT, INFER, LABEL, Site, logged, make_home, run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_a_monitor_with_tokens_wants_one(home):
    token = create_token(home.monitor("m"), note="serving")
    reader = create_token(home.monitor("m"), scope="read")
    elsewhere = create_token(home.monitor("other"))

    async def talk(site: Site) -> None:
        assert (await site.post(INFER, EVENT)).status_code == 401
        for bad in (
            "Bearer x",
            f"Basic {token}",
            f"Bearer {token}x",
            f"Bearer {token[:-1]}",
            f"Bearer {elsewhere}",
            "Bearer slt_é",
        ):
            answer = await site.web.post(INFER, json=EVENT, headers=[(b"authorization", bad.encode())])
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", bad
        assert (await site.post(INFER, EVENT, authorization=f"Bearer {reader}")).status_code == 403
        assert (await site.post(INFER, EVENT, authorization=f"bearer {token}")).status_code == 200
        revoke_token(home.monitor("m"), token.split("_")[1])
        site.collector.registry.monitors["m"].tokens.reload()
        assert (await site.post(INFER, EVENT, authorization=f"Bearer {token}")).status_code == 401

    run(home, talk)
    text = tokens_path(home.monitor("m")).read_text()
    assert reader not in text and reader.split("_", 2)[2] not in text
    assert tokens_path(home.monitor("m")).stat().st_mode & 0o077 == 0
    assert [record.scope for record in read_tokens(home.monitor("m"))] == ["read"]
    with pytest.raises(SightlineError, match="no token"):
        revoke_token(home.monitor("m"), "absent")


def test_other_addresses_than_loopback_need_tokens(home):
    with pytest.raises(SightlineError, match="sightline token create"):
        make_collector(home, host="0.0.0.0", guards=False)
    token = create_token(home.monitor("m"))

    async def talk(site: Site) -> None:
        for path in (INFER, "/v1/monitors/other/inferences", "/v1/monitors/absent/inferences"):
            assert (await site.post(path, EVENT)).status_code == 401  # nobody learns which monitors exist
        assert (
            await site.post(INFER, EVENT, authorization=f"Bearer {token}", host="monitoring.example")
        ).status_code == 200
        assert (await site.web.get("/metrics")).status_code == 401
        assert (await site.web.get("/metrics", headers={"authorization": f"Bearer {token}"})).status_code == 200
        assert (await site.web.get("/healthz")).status_code == 200

    run(home, talk, host="0.0.0.0")
    assert [is_loopback(h) for h in ("127.0.0.1", "127.1.2.3", "localhost", "::1", "0.0.0.0", "192.168.0.1",
     "example")] == [
        True, True, True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["{", "[1]", '[{"id": 1}]', "", b"\xff", "folder"])
def test_a_damaged_token_file_keeps_its_door_shut_and_no_other(home, damage):
    token = create_token(home.monitor("m"))
    path = tokens_path(home.monitor("m"))

    def break_it() -> None:
        path.unlink()
        if damage == "folder":
            path.mkdir()
        else:
            path.write_bytes(damage if isinstance(damage, bytes) else damage.encode())

    async def known(site: Site) -> None:
        break_it()
        site.collector.registry.monitors["m"].tokens.reload()
        assert (await site.post(INFER, EVENT, authorization=f"Bearer {token}")).status_code == 200
        assert (await site.post(INFER, EVENT)).status_code == 503

    async def unknown(site: Site) -> None:
        for headers in ({}, {"authorization": f"Bearer {token}"}):
            answer = await site.post(INFER, EVENT, **headers)
            assert answer.status_code == 503 and "token file" in answer.text
        assert (await site.post("/v1/monitors/other/inferences", EVENT)).status_code == 200

    run(home, known)
    run(home, unknown)
    run(home, lambda site: site.web.get("/healthz"), host="0.0.0.0")
    if damage != "folder":
        with pytest.raises(SightlineError, match="damaged"):
            read_tokens(home.monitor("m"))


def test_a_monitor_without_its_last_token_stays_closed_until_it_is_opened(home):
    paths = home.monitor("m")
    token = create_token(paths)

    async def talk(site: Site) -> None:
        tokens = site.collector.registry.monitors["m"].tokens
        with pytest.raises(SightlineError, match="has tokens"):
            open_monitor(paths)
        revoke_token(paths, token.split("_")[1])
        tokens.reload()
        with pytest.raises(SightlineError, match="no monitor has a token"):
            make_collector(home, host="0.0.0.0", guards=False)
        for headers in ({}, {"authorization": f"Bearer {token}"}):
            assert (await site.post(INFER, EVENT, **headers)).status_code == 401
        assert (await site.post("/v1/monitors/other/inferences", EVENT)).status_code == 200
        open_monitor(paths)
        tokens.reload()
        assert (await site.post(INFER, EVENT)).status_code == 200

    run(home, talk)
    make_collector(home, host="127.0.0.1", guards=False)


def test_only_a_replay_token_sets_the_time_of_receipt(home):
    writer, replayer = create_token(home.monitor("m")), create_token(home.monitor("m"), scope="replay")
    then = "2026-01-31T07:00:00Z"
    row = {**EVENT, "received_at": then, "source": "otlp"}

    async def talk(site: Site) -> None:
        def headers(token: str, **more: str) -> dict[str, str]:
            return {"authorization": f"Bearer {token}", **more}

        for token in (writer, replayer):  # without the header the field is unknown, whoever sends it
            answer = (await site.post(INFER, row, **headers(token))).json()
            assert answer["rejected"] == 1 and answer["errors"][0]["reason"] == "unknown_field", answer
        answer = await site.post(INFER, row, **headers(writer, x_sightline_replay="1"))
        assert answer.status_code == 403 and "scope replay" in answer.text
        answer = await site.post("/v1/monitors/other/inferences", row, x_sightline_replay="1")
        assert answer.status_code == 403, "nor may anybody where no token is needed"
        answer = await site.post("/v1/monitors/m/otlp", row, **headers(replayer, x_sightline_replay="1"))
        assert answer.status_code == 400
        halves = [{**row, "id": "h", "part": part} for part in ("request", "response")]
        label = {"id": "a", "value": 1, "received_at": then}
        sent = headers(replayer, x_sightline_replay="1")
        assert (await site.post(INFER, [row, *halves], **sent)).json()["accepted"] == 3
        assert (await site.post(INFER, [row, *halves], **sent)).json()["duplicate"] == 3
        assert (await site.post(LABEL, label, **sent)).json()["accepted"] == 1
        bad = {**row, "received_at": "2999-01-01T00:00:00Z"}
        assert (await site.post(INFER, bad, **sent)).json()["errors"][0]["reason"] == "timestamp_out_of_range"
        assert (await site.post(INFER, {"id": "new"}, **headers(replayer))).json()["accepted"] == 1

    run(home, talk)
    received = datetime(2026, 1, 31, 7, tzinfo=UTC)
    assert [(e.id, e.part, e.source, e.received_at == received) for e in logged(home)] == [
        ("a", None, "otlp", True), ("h", "request", "otlp", True), ("h", "response", "otlp", True),
        ("new", None, "native", False),
    ]  # fmt: skip
    assert [e.received_at for e in logged(home, "labels")] == [received]


def test_a_replay_over_http_keeps_times_with_a_replay_token_and_says_when_it_cannot(home, tmp_path):
    at = datetime(2026, 1, 31, 6, tzinfo=UTC)
    log = tmp_path / "log"
    with SegmentWriter(log, "m", "inferences", clock=lambda: at) as writer:
        writer.append([InferenceEvent(id=f"{i}", features={"distance": i}) for i in range(1200)], source="mlflow")
    tokens = [create_token(home.monitor("m"), scope=scope) for scope in ("replay", "write")]

    async def talk(site: Site) -> None:
        server = uvicorn.Server(uvicorn.Config(site.collector, port=0, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.001)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        for token, keeps in zip(tokens, (True, False), strict=True):
            counts = await asyncio.to_thread(
                replay_to_url,
                logged_events(log, "inferences", on_unreadable=pytest.fail),
                url,
                "m",
                "inferences",
                token,
            )
            assert counts == Replayed(keeps, accepted=1200)
        server.should_exit = True
        await serving

    run(home, talk)
    events = logged(home)
    assert events[:1200] == list(logged_events(log, "inferences", on_unreadable=pytest.fail))
    assert {e.source for e in events[1200:]} == {"native"} and min(e.received_at for e in events[1200:]) > at


def test_a_replay_over_http_sends_less_at_once_to_a_collector_that_takes_less(home, tmp_path):
    at = datetime(2026, 1, 31, 6, tzinfo=UTC)
    log = tmp_path / "log"
    with SegmentWriter(log, "m", "inferences", clock=lambda: at) as writer:
        writer.append([InferenceEvent(id=f"{i}", features={"note": "x" * 100}) for i in range(700)], source="mlflow")
    token = create_token(home.monitor("m"), scope="replay")
    huge = InferenceEvent(id="huge", features={"note": "x" * 20_000}, received_at=at)

    async def talk(site: Site) -> None:
        server = uvicorn.Server(uvicorn.Config(site.collector, port=0, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.001)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        events = logged_events(log, "inferences", on_unreadable=pytest.fail)
        counts = await asyncio.to_thread(replay_to_url, events, url, "m", "inferences", token)
        assert counts == Replayed(keeps_times=True, accepted=700)
        with pytest.raises(SightlineError, match=r"413.*one event alone, 'huge'"):
            await asyncio.to_thread(replay_to_url, iter([huge]), url, "m", "inferences", token)
        server.should_exit = True
        await serving

    run(home, talk, limits=Limits(max_body_bytes=10_000, min_free_bytes=0))
    assert [e.id for e in logged(home)] == [f"{i}" for i in range(700)], "in their order, each once"
