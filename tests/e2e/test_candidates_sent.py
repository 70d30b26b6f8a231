"""Evaluation sets sent to a real collector that is killed meanwhile: whole or not at all, and sent on from there."""

from __future__ import annotations

import random

import pytest
from sightline_client import Client, SightlineClientError
from sightline_client import candidates as sent
from sightline_client.transports import HttpTransport

from sightline.evaluation.landed import candidates
from sightline.home import Home
from tests.support.collector_process import CollectorProcess, until

pytestmark = pytest.mark.e2e
N_PARTS = 5


def rows(seed: int) -> list[dict[str, object]]:
    """About 18 MB that do not compress: five parts."""
    rng = random.Random(seed)
    return [
        {"id": f"id-{k}", "score": rng.random(), "late": k % 2, "x": rng.randbytes(3000).hex()} for k in range(2900)
    ]


def test_a_killed_collector_leaves_no_half_set_and_the_next_call_sends_the_rest(tmp_path, monkeypatch):
    paths = Home(tmp_path).monitor("m")
    asked: list[str] = []
    ask = HttpTransport.ask
    with CollectorProcess(tmp_path, "--no-guards") as collector:

        def killing(self, method, path, body, headers):
            asked.append(method)
            if len(asked) == 4:  # GET, two parts, and now
                collector.kill()
            return ask(self, method, path, body, headers)

        with Client("m", url=collector.url, spool=False) as client:
            monkeypatch.setattr(HttpTransport, "ask", killing)
            with pytest.raises(SightlineClientError):
                client.evaluation("v2", rows(1), patience=0.1)
            monkeypatch.setattr(HttpTransport, "ask", ask)
            assert candidates(paths) == ([], {})
            waiting = list((paths.landing_candidates / ".uploads").rglob("0*"))
            assert len(waiting) == 2
            collector.start()
            content, _ = sent.to_file(rows(1))
            done = client.evaluation("v2", rows(1))
            assert done["landed"] is True
            assert done["sent_bytes"] == len(content) - 2 * 4 * 1024 * 1024
            [found] = candidates(paths)[0]
            assert found.path.read_bytes() == content
            assert client.evaluation("v2", rows(1))["sent_bytes"] == 0
            assert candidates(paths)[0][0].mark == found.mark, "the same content is no new evaluation"
            other = client.evaluation("v2", rows(2))
            assert other["sent_bytes"] > 0
            assert candidates(paths)[0][0].mark != found.mark


@pytest.mark.long
def test_kills_at_any_moment_never_show_a_set_that_is_not_whole(tmp_path):
    paths = Home(tmp_path).monitor("m")
    contents = {sent.to_file(rows(seed))[0] for seed in (1, 2)}
    rng = random.Random(7)
    with CollectorProcess(tmp_path, "--no-guards") as collector:
        import threading

        for k in range(10):
            client = Client("m", url=collector.url, spool=False)
            failed: list[SightlineClientError] = []

            def go(client=client, failed=failed, seed=1 + k % 2) -> None:
                try:
                    client.evaluation("v2", rows(seed), patience=0.1)
                except SightlineClientError as error:
                    failed.append(error)

            sender = threading.Thread(target=go)
            sender.start()
            sender.join(rng.uniform(0.3, 1.2))
            collector.kill()
            sender.join(30)
            found, refused = candidates(paths)
            assert refused == {}
            assert [each.path.read_bytes() in contents for each in found] == [True] * len(found)
            collector.start()
            client.close()
        with Client("m", url=collector.url, spool=False) as client:
            assert client.evaluation("v2", rows(1))["landed"]
        until(lambda: candidates(paths)[0], 1)
        assert candidates(paths)[0][0].path.read_bytes() == sent.to_file(rows(1))[0]
