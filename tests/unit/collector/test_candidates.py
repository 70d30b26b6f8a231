"""Evaluation sets over HTTP: parts wait where nobody evaluates, a set lands whole, names and rights are checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import time
from typing import Any

import polars as pl
import pytest

from sightline.collector import candidates as desk
from sightline.collector.auth import create_token
from sightline.errors import SightlineError
from sightline.evaluation.landed import candidates
from sightline.home import Home
from sightline.version_names import check_version, flaw_of
from tests.support.collector_site import Site, make_home, run

BASE = "/v1/monitors/m/candidates"
BYTES = {"content-type": "application/octet-stream"}
HOSTILE = [
    "", " ", "../x", "..", ".", "a/b", "a\\b", "a,b", "x" * 129, "ж" * 100, "a\nb", "a\x00b", "\u202eabc", "a\u200bb",
    ".hidden", "a...b", " a", "a ", "x.tmp", "e\u0301", "\ud800",
]  # fmt: skip
FINE = ["4.2", "2026-01-31-rc1", "модель-2", "a b", "v1+cuda", "x" * 128, "<b>", "é"]


@pytest.fixture
def home(tmp_path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(desk, "PART_BYTES", 1000)


def parquet(seed: int, n: int = 1500) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"flight": [f"{seed}-{k}" for k in range(n)], "p_late": [0.5] * n}).write_parquet(buffer)
    return buffer.getvalue()


def about(content: bytes, version: str = "v2", form: str = "parquet", **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"version": version, "sha256": digest, "bytes": len(content), "format": form, **more}


async def send(site: Site, content: bytes, parts: list[int] | None = None, **more: Any) -> None:
    size = desk.PART_BYTES
    for part in range(-(-len(content) // size)) if parts is None else parts:
        body = content[part * size : (part + 1) * size]
        answer = await site.web.post(BASE, params=about(content, part=part, **more), content=body, headers=BYTES)
        assert answer.status_code == 200, answer.text


@pytest.mark.usefixtures("small_parts")
def test_parts_are_no_candidate_and_the_whole_is_one(home):
    content, paths = parquet(1), home.monitor("m")

    async def talk(site: Site) -> None:
        n = -(-len(content) // desk.PART_BYTES)
        assert n >= 3
        start = (await site.web.get(BASE, params=about(content))).json()
        assert start == {"part_bytes": 1000, "parts": [], "landed": False}
        await send(site, content, parts=[0, n - 1])
        assert (await site.web.get(BASE, params=about(content))).json()["parts"] == [0, n - 1]
        early = await site.web.post(BASE, params=about(content))
        assert early.status_code == 409
        assert "first 1" in early.json()["error"]
        assert candidates(paths) == ([], {})
        await send(site, content, parts=list(range(1, n - 1)))
        assert candidates(paths) == ([], {})
        landed = await site.web.post(BASE, params=about(content))
        assert landed.status_code == 200
        assert landed.json()["landed"] is True
        assert (await site.web.get(BASE, params=about(content))).json()["landed"] is True
        again = await site.web.post(BASE, params=about(content))
        assert again.status_code == 200

    run(home, talk)
    [found] = candidates(paths)[0]
    assert found.version == "v2"
    assert found.path.read_bytes() == content
    assert list((paths.landing_candidates / ".uploads").iterdir()) == []


@pytest.mark.usefixtures("small_parts")
def test_other_content_of_a_version_is_another_candidate_and_never_the_sum_of_two_files(home):
    paths = home.monitor("m")
    marks: list[str] = []
    rows = gzip.decompress(gzip.compress(b'{"flight": "a", "p_late": 0.5}\n' * 5))

    async def talk(site: Site) -> None:
        for content, form in (
            (parquet(1), "parquet"),
            (parquet(2), "parquet"),
            (rows, "ndjson"),
            (parquet(1), "parquet"),
        ):
            await send(site, content, form=form)
            answer = await site.web.post(BASE, params=about(content, form=form))
            assert answer.status_code == 200, answer.text
            [found] = candidates(paths)[0]
            assert found.path.is_file()
            assert found.path.read_bytes() == content
            marks.append(found.mark)

    run(home, talk)
    assert len(set(marks)) == 4


@pytest.mark.usefixtures("small_parts")
def test_a_wrong_hash_lands_nothing_and_a_file_put_there_by_hand_is_not_joined(home):
    paths, content = home.monitor("m"), parquet(1)

    async def talk(site: Site) -> None:
        wrong = {**about(content), "sha256": "0" * 64}
        for part in range(-(-len(content) // 1000)):
            body = content[part * 1000 : (part + 1) * 1000]
            assert (
                await site.web.post(BASE, params={**wrong, "part": part}, content=body, headers=BYTES)
            ).status_code == 200
        assert (await site.web.post(BASE, params=wrong)).status_code == 422
        assert candidates(paths) == ([], {})
        assert (await site.web.get(BASE, params=wrong)).json()["parts"] == []
        folder = paths.landing_candidates / "v2"
        (folder / "training.parquet").write_bytes(content)
        await send(site, content)
        assert (await site.web.post(BASE, params=about(content))).status_code == 200
        (folder / "evaluation.parquet").unlink()
        (folder / "training.parquet").unlink()
        (folder / "mine.parquet").write_bytes(content)
        await send(site, content)
        answer = await site.web.post(BASE, params=about(content))
        assert answer.status_code == 409
        assert "mine.parquet" in answer.json()["error"]
        assert sorted(file.name for file in folder.iterdir()) == ["mine.parquet"]

    run(home, talk)


@pytest.mark.parametrize("version", HOSTILE)
def test_hostile_versions_are_refused_everywhere(version, tmp_path):
    assert flaw_of(version)
    with pytest.raises(SightlineError, match="cannot name a version"):
        check_version(version)
    from sightline_client import Client, SightlineClientError

    with (
        Client("m", path=tmp_path) as client,
        pytest.raises(SightlineClientError, match=r"cannot name a version: .*") as said,
    ):
        client.evaluation(version, [{"flight": "a"}])
    assert flaw_of(version) in str(said.value)
    assert not list(tmp_path.rglob("*.ndjson"))


@pytest.mark.parametrize("version", FINE)
def test_what_people_call_versions_lands(version, tmp_path):
    from sightline_client import Client

    home = make_home(tmp_path)
    with Client("m", path=tmp_path) as client:
        client.evaluation(version, [{"flight": "a", "p_late": 0.5}])
    found, refused = candidates(home.monitor("m"))
    assert ([each.version for each in found], refused) == ([version], {})


def test_hostile_parameters_over_http(home):
    content = b"x" * 100
    good = about(content)
    bad: list[tuple[dict[str, Any], int]] = [({**good, "version": v}, 400) for v in HOSTILE if v != "\ud800"]
    bad += [({name: value for name, value in good.items() if name != gone}, 400) for gone in good]
    bad += [({**good, "sha256": "../../x"}, 400), ({**good, "format": "csv"}, 400), ({**good, "bytes": "-1"}, 400)]
    bad += [({**good, "bytes": 0}, 400), ({**good, "bytes": desk.MAX_BYTES + 1}, 413), ({**good, "part": 7}, 400)]
    bad += [({**good, "part": "٣"}, 400), ({**good, "more": 1}, 400), ({**good, "version": ["a", "b"]}, 400)]

    async def talk(site: Site) -> None:
        for parameters, status in bad:
            for method in ("GET", "POST"):
                if method == "GET" and "part" in parameters:
                    continue
                answer = await site.web.request(method, BASE, params=parameters, headers=BYTES)
                assert answer.status_code == status, (parameters, answer.text)
        short = await site.web.post(BASE, params={**good, "part": 0}, content=b"x" * 99, headers=BYTES)
        assert short.status_code == 400
        assert "99 bytes, not 100" in short.json()["error"]
        plain = await site.web.post(
            BASE, params={**good, "part": 0}, content=content, headers={"content-type": "text/plain"}
        )
        assert plain.status_code == 415
        large = b"x" * (desk.PART_BYTES + 1)
        assert (await site.web.post(BASE, params={**good, "part": 0}, content=large, headers=BYTES)).status_code == 413
        bomb = {**BYTES, "content-encoding": "gzip"}
        packed = gzip.compress(b"\0" * (desk.PART_BYTES * 2))
        assert (await site.web.post(BASE, params={**good, "part": 0}, content=packed, headers=bomb)).status_code == 413
        assert (await site.web.delete(BASE, params=good)).status_code == 405
        assert (await site.web.get(f"{BASE}/v2", params=good)).status_code == 404
        assert (await site.web.get("/v1/monitors/none/candidates", params=good)).status_code == 404

    run(home, talk)
    assert not home.monitor("m").landing_candidates.exists()


@pytest.mark.usefixtures("small_parts")
def test_half_sent_sets_are_bounded_and_old_ones_make_room(home):
    uploads = home.monitor("m").landing_candidates / ".uploads"

    async def talk(site: Site) -> None:
        for seed in range(desk.MAX_UPLOADS):
            await send(site, parquet(seed), parts=[0])
        more = parquet(99)
        refused = await site.web.post(BASE, params=about(more, part=0), content=more[:1000], headers=BYTES)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        await send(site, parquet(3), parts=[1])  # one that is under way goes on
        old = time.time() - desk.STALE_SECONDS - 60
        os.utime(next(iter(sorted(uploads.iterdir()))), (old, old))
        await send(site, more, parts=[0])

    run(home, talk)
    assert len(list(uploads.iterdir())) == desk.MAX_UPLOADS


def test_the_right_is_one_of_its_own(home):
    content = b"x" * 10
    tokens = {scope: create_token(home.monitor("m"), scope, "ann") for scope in ("write", "read", "act", "evaluate")}

    async def talk(site: Site) -> None:
        assert (await site.web.get(BASE, params=about(content))).status_code == 401
        for scope, status in (("write", 403), ("read", 403), ("act", 403), ("evaluate", 200)):
            headers = {"authorization": f"Bearer {tokens[scope]}"}
            assert (await site.web.get(BASE, params=about(content), headers=headers)).status_code == status
        headers = {"authorization": f"Bearer {tokens['evaluate']}"}
        events = await site.post("/v1/monitors/m/inferences", [], **headers)
        assert events.status_code == 403
        assert (await site.web.get("/v1/monitors/m/incidents", headers=headers)).status_code == 403

    run(home, talk)
