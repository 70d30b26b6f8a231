"""The PostgreSQL storage by its settings: which URLs it takes, and what it says where it cannot open the database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration.dagster_private.batched_postgres import BatchedPostgresEventLogStorage, BatchedPostgresStorage
from sightline.errors import SightlineError
from tests.support import postgres
from tests.support.instances import instance_on, need_postgres, new_database, url_of


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    need_postgres()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postgres.server(Path(folder)) as server:
            yield server


def test_a_url_without_a_driver_takes_the_one_that_is_installed(server, tmp_path):
    url = new_database(server, "bare").replace("+psycopg2", "")
    with instance_on("batched_postgres", tmp_path, url) as instance:
        assert isinstance(instance.event_log_storage, BatchedPostgresEventLogStorage)
        assert instance.get_runs() == []


def test_a_run_worker_opens_the_same_storage_by_the_instance_s_reference(server, tmp_path):
    with instance_on("batched_postgres", tmp_path, new_database(server, "ref")) as instance:
        with dg.DagsterInstance.from_ref(instance.get_ref()) as again:
            assert isinstance(again.event_log_storage, BatchedPostgresEventLogStorage)
        data = instance.get_ref().storage_data
        assert data.class_name == BatchedPostgresStorage.__name__
        assert postgres.PASSWORD not in str(instance.get_ref().to_dict())


def test_an_instance_goes_from_dagster_s_storage_to_ours_and_back(server, tmp_path):
    url = new_database(server, "both")
    key = dg.AssetKey("a")
    for storage in ("plain_postgres", "batched_postgres", "plain_postgres"):
        with instance_on(storage, tmp_path, url) as instance:
            instance.report_runless_asset_event(dg.AssetMaterialization(key))
    with instance_on("batched_postgres", tmp_path, url) as instance:
        assert len(instance.fetch_materializations(key, limit=10).records) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda server: url_of(server, "postgres", "wr@ng"), "password authentication failed"),
        (lambda server: url_of(server, "missing"), 'database "missing" does not exist'),
        (lambda _: "postgresql://owner:wr%40ng@127.0.0.1:1/team", "refused"),
        (lambda _: "no url: wr@ng", "cannot be read"),
    ],
)
def test_what_cannot_be_opened_is_told_without_the_password(server, tmp_path, change, words):
    with (
        pytest.raises(SightlineError, match=words) as caught,
        instance_on("batched_postgres", tmp_path, change(server)),
    ):
        pass
    assert not {"wr@ng", "wr%40ng", postgres.PASSWORD} & set(str(caught.value).split())
    assert "wr@ng" not in str(caught.value)
    assert "wr%40ng" not in str(caught.value)
